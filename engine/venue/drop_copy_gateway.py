"""KalshiDC: queries for past reports (venue.md section 6).

One request, one answer: the account's reports of the range under new numbers, then EventResendComplete with their
count, or EventResendReject with the reason. Every session of the account is in it.

A long range is given in pages, as fast as its reader takes them, so that nobody else waits for it: `advance` at `due`.
What is asked meanwhile is answered in turn; who asks for too much at once is refused (21004=1).
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from engine.common.clock import MS, Now
from engine.errors import JournalError
from engine.kalshi.messages import EventResendComplete, EventResendReject, EventResendRequest
from engine.venue.history import NOT_ENABLED, SERVER_ERROR, TOO_MANY_REQUESTS, History, Key
from engine.venue.sessions import Connection

INCORRECT_VALUE: Final = 5
BEGIN_EXEC_ID: Final = 21001
END_EXEC_ID: Final = 21002
_PARTS_MAX: Final = 3
_DIGITS_MAX: Final = 18
PAGE: Final = 500  # reports: some 10 ms of work
ASKED_MAX: Final = 16  # requests of one connection that wait for their answer
UNREAD_MAX: Final = 1 << 20  # bytes that wait for a reader before it gets more
_AGAIN_NS: Final = 5 * MS


class _Answer:
    """A range that is being given."""

    __slots__ = ("begin", "connection", "count", "end", "seq")

    def __init__(self, connection: Connection, seq: int, begin: Key, end: Key) -> None:
        self.connection = connection
        self.seq = seq
        self.begin = begin
        self.end = end
        self.count = 0


class DropCopyGateway:
    """Answers EventResendRequests.

    Args:
        history: what can be looked back on.
        enabled: the account may use it; else 21004=5. any_begin: a range may begin before the window ([?] both).

    Attributes:
        refuse_with: EventResendRejectReason(21004) for the next requests, and how many of them: a fault on command.
        due: mono_ns at which `advance` is wanted, or None.
    """

    __slots__ = ("_answers", "_any_begin", "_enabled", "_history", "due", "refuse_with")

    def __init__(self, history: History, *, enabled: bool = True, any_begin: bool = False) -> None:
        self._history = history
        self._enabled = enabled
        self._any_begin = any_begin
        self._answers: dict[str, deque[_Answer]] = {}  # by link
        self.refuse_with: list[int] = []
        self.due: int | None = None

    def on_request(
        self, connection: Connection, request: EventResendRequest, seq: int, latest: Key, now: Now
    ) -> None:
        """Take an EventResendRequest (35=U1)."""
        assert connection.owner is not None, "only a session that is logged on is served"
        begin = parse_key(request.begin_exec_id)
        end = parse_key(request.end_exec_id) if request.end_exec_id else None
        if begin is None or (request.end_exec_id and end is None):
            tag = BEGIN_EXEC_ID if begin is None else END_EXEC_ID
            connection.session_reject(seq, "U1", INCORRECT_VALUE, tag, "not an ExecID: clock;event", now)
            return
        self._history.mark(latest, now.wall_ns)  # what is older than the window goes, however quiet it was
        waiting = self._answers.get(connection.link)
        refused = self.refuse_with.pop(0) if self.refuse_with else None
        if refused is None and not self._enabled:
            refused = NOT_ENABLED
        if refused is None and waiting is not None and len(waiting) >= ASKED_MAX:
            refused = TOO_MANY_REQUESTS
        if refused is None:
            if self._any_begin:
                begin = max(begin, self._history.first)
            refused = self._history.refusal(begin, end, latest)
        if refused is not None:
            self._refuse(connection, seq, refused, now)
            return
        answer = _Answer(connection, seq, begin, latest if end is None else end)
        if waiting is not None:
            waiting.append(answer)
        elif not self._give(answer, now):
            self._answers[connection.link] = deque([answer])
            self.due = now.mono_ns

    @staticmethod
    def _refuse(connection: Connection, seq: int, reason: int, now: Now) -> None:
        connection.send(EventResendReject(ref_seq_num=seq, event_resend_reject_reason=reason), now)

    def _give(self, answer: _Answer, now: Now) -> bool:
        """Send the next page; True when that was the last one."""
        connection = answer.connection
        assert connection.owner is not None, "only a session that is logged on is served"
        try:
            found, following = self._history.page(connection.owner.account, answer.begin, answer.end, PAGE)
        except JournalError:
            self._refuse(connection, answer.seq, SERVER_ERROR, now)
            return True
        for report in found:
            connection.send(report, now)
        answer.count += len(found)
        if following is not None:
            answer.begin = following
            return False
        connection.send(EventResendComplete(ref_seq_num=answer.seq, resend_event_count=answer.count), now)
        return True

    def advance(self, unsent: Callable[[str], int], now: Now) -> list[Connection]:
        """Give one more page of each answer whose reader keeps up; return the connections that were sent to."""
        sent = []
        for link, answers in list(self._answers.items()):
            if unsent(link) > UNREAD_MAX:
                continue
            sent.append(answers[0].connection)
            if self._give(answers[0], now):
                answers.popleft()
                if not answers:
                    del self._answers[link]
        if not self._answers:
            self.due = None
        elif sent:
            self.due = now.mono_ns
        else:
            self.due = now.mono_ns + _AGAIN_NS
        return sent

    def gone(self, connection: Connection) -> None:
        """Forget what a connection asked for."""
        self._answers.pop(connection.link, None)
        if not self._answers:
            self.due = None


def parse_key(text: str) -> Key | None:
    """Parse `clock;event` or `clock;event;index`, or return None."""
    parts = text.split(";")
    if not 2 <= len(parts) <= _PARTS_MAX:
        return None
    if not all(part.isascii() and part.isdigit() and len(part) <= _DIGITS_MAX for part in parts):
        return None
    return int(parts[0]), int(parts[1])

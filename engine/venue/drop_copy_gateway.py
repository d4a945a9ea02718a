"""KalshiDC: queries for past reports (venue.md section 6).

One request, one answer: the account's reports of the range under new numbers, then EventResendComplete with their
count, or EventResendReject with the reason. Every session of the account is in it.
"""

from typing import Final

from engine.common.clock import Now
from engine.kalshi.messages import EventResendComplete, EventResendReject, EventResendRequest
from engine.venue.history import NOT_ENABLED, History, Key
from engine.venue.sessions import Connection

INCORRECT_VALUE: Final = 5
BEGIN_EXEC_ID: Final = 21001
END_EXEC_ID: Final = 21002
_PARTS_MAX: Final = 3
_DIGITS_MAX: Final = 18


class DropCopyGateway:
    """Answers EventResendRequests.

    Args:
        history: what can be looked back on.
        enabled: the account may use it; else 21004=5. any_begin: a range may begin before the window ([?] both).

    Attributes:
        refuse_with: EventResendRejectReason(21004) for the next requests, and how many of them: a fault on command.
    """

    __slots__ = ("_any_begin", "_enabled", "_history", "refuse_with")

    def __init__(self, history: History, *, enabled: bool = True, any_begin: bool = False) -> None:
        self._history = history
        self._enabled = enabled
        self._any_begin = any_begin
        self.refuse_with: list[int] = []

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
        found: object = self.refuse_with.pop(0) if self.refuse_with else None
        if found is None and not self._enabled:
            found = NOT_ENABLED
        if found is None:
            if self._any_begin:
                begin = max(begin, self._history.first)
            found = self._history.select(connection.owner.account, begin, end, latest)
        if isinstance(found, int):
            connection.send(EventResendReject(ref_seq_num=seq, event_resend_reject_reason=found), now)
            return
        assert isinstance(found, list), "a range is reports or a reason"
        for report in found:
            connection.send(report, now)
        connection.send(EventResendComplete(ref_seq_num=seq, resend_event_count=len(found)), now)


def parse_key(text: str) -> Key | None:
    """Parse `clock;event` or `clock;event;index`, or return None."""
    parts = text.split(";")
    if not 2 <= len(parts) <= _PARTS_MAX:
        return None
    if not all(part.isascii() and part.isdigit() and len(part) <= _DIGITS_MAX for part in parts):
        return None
    return int(parts[0]), int(parts[1])

"""KalshiRT over restarts: MsgSeqNum(34) is given in order entry's step, and committed with what the step did.

Rules (design sections 5, 7 and 8; session scenarios 12.1 to 12.3):

* At the end of each batch that used or took a number one `SessionNumbers` is recorded. The runtime commits it together
  with the batch's events, before a byte leaves: what the venue got, the journal knows; what the journal says was
  processed, was. A number of the venue's is stored exactly when its message's effect is.
* After a restart the session goes on with the stored numbers, and orders that the venue has acknowledged are not in
  doubt: what became of them comes by its retransmission. A request that was committed and never left is a gap to the
  venue; it is gap-filled, never sent again, and is NOT_SENT by the venue's own word.
* Nothing is asked about, and nothing new is let through, before the venue's retransmission is through and a second has
  passed: the venue's own ResendRequest follows its Logon, and what it is about must not be mixed with new requests.
* Numbers that are missing, of another session, given up, or older than the retention are not gone on with: 141=Y, every
  live order in doubt, everything reconciled by drop copy, and that is said loudly.
"""

import hashlib
from collections import OrderedDict
from typing import Final

import msgspec

from engine.common.actor import Outbox
from engine.common.clock import SECOND, Now
from engine.config import SessionConfig
from engine.fix.snapshot import SessionSnapshot
from engine.messages.executions import EventKind
from engine.order_entry.desk import Client, Desk
from engine.order_entry.records import SentRequest, SessionNumbers

SETTLE_NS: Final = SECOND
SENT_KEPT: Final = 20_000
"""Requests remembered by number over a restart. An older one without an answer is in doubt for long, and asked about."""


def fingerprint(config: SessionConfig) -> str:
    """Return what tells one session from another in the journal; the API key can't be read from it."""
    return hashlib.sha256(f"{config.target_comp_id}|{config.key_id}".encode()).hexdigest()[:16]


class Stored:
    """The numbers as the journal has them, whatever session order entry is on; moved by entries alone.

    Attributes:
        last: the newest entry. sent: requests by number, the newest of them.
    """

    def __init__(self) -> None:
        self.last: SessionNumbers | None = None
        self.sent: OrderedDict[int, SentRequest] = OrderedDict()

    def take(self, entry: SessionNumbers) -> None:
        """Take in a committed entry, or one that was just recorded."""
        last = self.last
        if last is not None and (
            not entry.goes_on or entry.next_sender < last.next_sender or entry.session != last.session
        ):
            self.sent.clear()
        for request in entry.sent:
            self.sent[request.seq] = request
        while len(self.sent) > SENT_KEPT:
            self.sent.popitem(last=False)
        self.last = entry

    def save(self) -> SessionNumbers | None:
        """Return all of it as one entry, for `take`."""
        if self.last is None:
            return None
        return msgspec.structs.replace(self.last, sent=list(self.sent.values()))

    def give_up(self, out: Outbox) -> None:
        """Let nobody go on with these numbers: what follows is not in that session's retransmission."""
        if self.last is not None and self.last.goes_on:
            entry = msgspec.structs.replace(self.last, goes_on=False, sent=[])
            out.record(entry)
            self.take(entry)


class Continuity:
    """Keeps and restores the numbers of one KalshiRT session.

    Args:
        config: of the session. desk: shared state. stored: of the journal.
    """

    def __init__(self, config: SessionConfig, desk: Desk, stored: Stored) -> None:
        self._desk = desk
        self._stored = stored
        self._name = config.target_comp_id
        self._session = fingerprint(config)
        self._settled_ns = 0

    # -- restart

    def begin(self, client: Client, now: Now) -> bool:
        """Give the session its stored numbers; False when it begins anew."""
        why, last = self._why_anew(), self._stored.last
        if why or last is None:
            if self._desk.ledger.tape_no:
                text = "numbers begin anew (141=Y), what was missed must come by drop copy"
                self._desk.out.log("alert", f"{self._name}: {why}: {text}")
            return False
        for request in self._stored.sent.values():
            if self._unanswered(request):
                self._desk.on_wire(
                    request.seq, request.msg_type, request.request_id, request.order, now.mono_ns
                )
        numbers = SessionSnapshot(
            next_sender_msg_seq_num=last.next_sender, next_target_msg_seq_num=last.next_target
        )
        client.restore(numbers, last.wall_ns)
        text = f"goes on with number {last.next_sender}, expects {last.next_target} of the venue"
        self._desk.out.log("info", f"{self._name}: {text}")
        return True

    def _why_anew(self) -> str:
        last = self._stored.last
        if last is None:
            return "there are no stored numbers"
        if last.session != self._session:
            return "the stored numbers are of another API key or session"
        return "" if last.goes_on else "the stored numbers had been given up"

    def _unanswered(self, request: SentRequest) -> bool:
        order = self._desk.ledger.find(request.request_id)
        if order is None or order.terminal:
            return False
        return request.request_id in order.requests or (request.msg_type == "D" and not order.heard_of)

    # -- each batch

    def note(self, now: Now) -> None:
        """Record the numbers if the batch changed them; at its end, before it is committed."""
        desk = self._desk
        if desk.client is None:
            return
        sender, target, goes_on = desk.client.numbers
        last, first = self._stored.last, 1
        if last is not None and last.session == self._session:
            if (sender, target, goes_on) == (last.next_sender, last.next_target, last.goes_on):
                return
            first = last.next_sender if sender >= last.next_sender else 1
        sent: list[SentRequest] = []
        for seq in reversed(desk.sent):
            if seq < first:
                break
            each = desk.sent[seq]
            sent.append(
                SentRequest(seq=seq, msg_type=each.msg_type, request_id=each.request_id, order=each.order)
            )
        entry = SessionNumbers(
            session=self._session,
            wall_ns=now.wall_ns,
            next_sender=sender,
            next_target=target,
            goes_on=goes_on,
            sent=sent[::-1],
        )
        desk.out.record(entry)
        self._stored.take(entry)

    # -- after a Logon

    def logged_on(self, now: Now) -> None:
        """Wait for the retransmission and for the venue's own ResendRequest."""
        self._settled_ns = now.mono_ns + SETTLE_NS

    def settled(self, now: Now) -> bool:
        """Nothing of before the Logon is on its way any more: orders may be asked about, new ones may leave."""
        client = self._desk.client
        return client is not None and client.caught_up and now.mono_ns >= self._settled_ns

    def doubt(self, begin: int, end: int, now: Now) -> None:
        """The venue asked for everything from a number on: whether it has these later requests can't be known."""
        desk = self._desk
        for seq in [seq for seq in desk.sent if begin <= seq <= end]:
            sent = desk.sent[seq]
            order = desk.ledger.find(sent.request_id) if sent.order else None
            if order is None or order.terminal or desk.is_unknown(order):
                continue
            text = "the venue asked for everything from before it on: whether it has this one is not known"
            desk.out.log("warning", f"order {sent.order}: {text}")
            desk.tell(order, EventKind.UNKNOWN, now, request_id=sent.request_id, text=text)

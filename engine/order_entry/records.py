"""What is in the order journal: the events of the tape, and KalshiRT's numbers after a step that changed them."""

import msgspec

from engine.messages.executions import OrderEvent


class SentRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A request under its MsgSeqNum(34): what a refusal by number, or a ResendRequest of the venue, is about."""

    seq: int
    msg_type: str
    request_id: str
    order: str = ""


class SessionNumbers(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="session"):
    """KalshiRT's session after a step, in the same transaction as the events of that step.

    Attributes:
        session: which one, without its API key (`continuity.fingerprint`).
        wall_ns: when.
        next_sender, next_target: the next MsgSeqNum(34), ours and the venue's.
        goes_on: the next Logon goes on with them; False: it resets, because they can't be continued.
        sent: requests that this step gave a number.
    """

    session: str
    wall_ns: int
    next_sender: int
    next_target: int
    goes_on: bool = True
    sent: list[SentRequest] = []


OrderJournalEntry = OrderEvent | SessionNumbers

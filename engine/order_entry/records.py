"""What is in the order journal: the events of the tape, KalshiRT's numbers after a step that changed them, order groups."""

import msgspec

from engine.messages.executions import GroupState, OrderEvent


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


class GroupRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="order_group"):
    """One change of a strategy's group, in the order journal.

    Attributes:
        slot: the strategy's. state: after it. group_id: the venue's, or empty. limit: contracts in 15 s, as the venue has it.
        why: for a human.
    """

    wall_ns: int
    slot: int
    state: GroupState
    group_id: str = ""
    limit: int = 0
    why: str = ""


OrderJournalEntry = OrderEvent | SessionNumbers | GroupRecord

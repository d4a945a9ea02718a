"""What drop_copy publishes (`dc.feed`), and what an operator tells it (`dc.ask`)."""

import msgspec

TOPIC_STATUS = "status"
TOPIC_BREAK = "break"
TOPIC_RECOVERED = "recovered"


class ReconciliationStatus(
    msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="status"
):
    """Every 500 ms, topic `status`.

    Attributes:
        session: state of the KalshiDC session in words.
        caught_up: the first sweep after the last (re)start or gap is complete, and all it showed is in the journal.
        watermark: ExecID up to which everything is confirmed, or empty.
        watermark_wall_ns: when the sweep that confirmed it began.
        wanted: order entry's sweep_wanted, as far as drop copy had heard of it when it said this.
        open_breaks: by class.
        gating: of them, those above the configured tolerance: these keep new orders out where `gate_on_break` says so.
        gap: text of a gap that no sweep can close (outside the window, not enabled), or empty.
        alarm: the watermark is older than `alarm_age_s`.
        listener: state of the listener session in words, empty when none is configured.
    """

    wall_ns: int
    session: str
    caught_up: bool
    watermark: str = ""
    watermark_wall_ns: int = 0
    sweeps: int = 0
    confirmed: int = 0
    recovered: int = 0
    foreign: int = 0
    open_breaks: dict[str, int] = {}
    gap: str = ""
    detail: str = ""
    wanted: int = 0
    gating: dict[str, int] = {}
    alarm: bool = False
    listener: str = ""


class BreakNote(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="break"):
    """A difference between two witnesses was found, changed or closed, topic `break`.

    Attributes:
        break_id: stable: the same difference has the same id in every run.
        kind: `missing_here`, `missing_there`, `different`, `duplicate`, `foreign`, `position`, `gap`.
        status: `open`, `explained` or `closed`.
        severity: `critical`, `major`, `minor` (within the configured tolerance) or `info`.
        first_ns: wall clock at which it was first seen; wall_ns: of this change.
        amount: how large the difference is, where that is a number: 1/100 contract of a position (the venue's less
            ours, signed), money of fees and collateral; -1 where it is none.
        who: of an explanation. about: the difference that was explained: another one is a break again.
        until_ns: of a gap, the end of the time that nothing is proven of (it begins at first_ns), 0 while it goes on.
    """

    break_id: str
    kind: str
    status: str
    wall_ns: int
    exec_id: str = ""
    cl_ord_id: str = ""
    symbol: str = ""
    text: str = ""
    severity: str = ""
    first_ns: int = 0
    amount: int = -1
    who: str = ""
    about: str = ""
    until_ns: int = 0


class RecoveredNote(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="recovered"):
    """A report was found by drop copy or the listener and given to order entry, topic `recovered`.

    Attributes:
        way: `drop_copy` or `listener`: by which it came back.
    """

    wall_ns: int
    exec_id: str
    cl_ord_id: str
    symbol: str
    exec_type: str
    way: str = "drop_copy"


class ExplainBreak(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="explain"):
    """`scripts/reconcile explain`: an operator takes responsibility for an open break; it stays on record.

    Attributes:
        note: the break as a report found it, where drop copy itself has none under this id.
    """

    request_id: str
    break_id: str
    why: str
    who: str
    note: BreakNote | None = None


class AssignExecution(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="assign"):
    """`scripts/reconcile assign`: a foreign fill counts for a strategy's slot in reports from now on."""

    request_id: str
    exec_id: str
    strategy: int
    why: str
    who: str


class EnterFunding(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="funding"):
    """`scripts/reconcile funding`: money that the venue paid (positive) or took, which FIX does not show.

    Attributes:
        key: names the payment, so that entering it twice changes nothing.
        amount: money, signed. at_ns: wall clock at which the venue booked it.
    """

    request_id: str
    key: str
    symbol: str
    amount: int
    at_ns: int
    why: str
    who: str


class AcceptDropCopyGap(
    msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="accept_gap"
):
    """`scripts/ctl arm --accept-gap`: what no sweep can prove is accepted as it is."""

    request_id: str
    why: str
    who: str


class ReconciliationReply(
    msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="reply"
):
    """What came of it; it is in drop copy's journal before this is said."""

    request_id: str
    ok: bool
    text: str = ""


AskReconciliation = ExplainBreak | AssignExecution | EnterFunding | AcceptDropCopyGap
ReconciliationMessage = ReconciliationStatus | BreakNote | RecoveredNote

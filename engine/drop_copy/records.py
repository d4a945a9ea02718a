"""What drop copy journals: watermark, sweeps, breaks, recovered reports.

Breaks and recovered reports are journalled as the notes that are published (`engine.messages.reconciliation`), so
that a reader of the journal and a reader of the bus see the same. `DropCopyJournalEntry` is the union that the journal decodes.

Each `SweepEnded` carries the head of the order journal as order entry had said it: a journal that ends before it has lost
its tail, which its own hash chain can't show (`scripts/journal verify` looks here).
"""

import msgspec

from engine.messages.reconciliation import BreakNote, RecoveredNote


class WatermarkMoved(
    msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="watermark"
):
    """Everything up to the newest mark of each exchange index is confirmed.

    Attributes:
        wall_ns: when the sweep that confirmed it began.
        marks: confirmed ExecIDs, oldest first: the watermark of each index and the `overlap` before it. Empty after an
            operator accepted a gap: what was before is not asked for any more.
        tape_no: tape number seen when it was confirmed.
        tape_from: first tape number to read again after a restart, so that the overlap can be compared.
        accepted_tape_no: tape number at which an operator accepted a gap last, or 0.
        confirmed: reports confirmed so far, over all runs.
        gone: the newest ExecID of each index that the operator's word covers; never compared again.
    """

    wall_ns: int
    marks: list[str]
    tape_no: int
    tape_from: int
    accepted_tape_no: int = 0
    confirmed: int = 0
    gone: list[str] = []


class SweepEnded(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="sweep"):
    """One sweep is over.

    Attributes:
        no: dense over all runs, from 1.
        began_ns, wall_ns: wall clock at its begin and end.
        wanted: order entry's sweep_wanted when it began.
        complete: from the watermark to the latest, count checked; else reason says why not.
        confirmed: as good as complete: what could not be asked for came by a session that was whole.
        begins: the BeginExecIDs that were asked with.
        reports: ExecutionReports that it showed; recovered: those that the tape did not have.
        tape_no: tape number seen at its end.
        order_journal_no, order_journal_head: row and hash (hex) up to which order entry had last said that its journal was
            committed: a journal that ends before, or has another row there, was cut or written anew.
        heard: reports that the listener heard in this life, -1 without one.
    """

    no: int
    began_ns: int
    wall_ns: int
    wanted: int
    complete: bool
    confirmed: bool = False
    reason: str = ""
    begins: list[str] = []
    reports: int = 0
    recovered: int = 0
    tape_no: int = 0
    order_journal_no: int = 0
    order_journal_head: str = ""
    heard: int = -1


class ExecutionAssigned(
    msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="assigned"
):
    """An operator said which strategy a foreign fill belongs to; the newest word on an ExecID holds."""

    wall_ns: int
    exec_id: str
    strategy: int
    why: str
    who: str


class FundingEntered(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="funding"):
    """Money that FIX does not show, as an operator entered it; one `key` counts once, the newest word on it holds.

    Attributes:
        amount: money that the account got (negative: paid). at_ns: when the venue booked it. wall_ns: when it was entered.
    """

    wall_ns: int
    key: str
    symbol: str
    amount: int
    at_ns: int
    why: str
    who: str


class ListenerChanged(
    msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="listener"
):
    """The listener session came up or went down: what it can be expected to have heard."""

    wall_ns: int
    up: bool
    heard: int = 0


DropCopyJournalEntry = (
    WatermarkMoved
    | SweepEnded
    | BreakNote
    | RecoveredNote
    | ExecutionAssigned
    | FundingEntered
    | ListenerChanged
)

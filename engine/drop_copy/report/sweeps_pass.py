"""One pass over drop copy's journal: what the report takes from it. Pure."""

from collections.abc import Iterable

from engine.drop_copy import breaks as brk
from engine.drop_copy.keys import Key, key_of
from engine.drop_copy.records import (
    DropCopyJournalEntry,
    ExecutionAssigned,
    FundingEntered,
    ListenerChanged,
    SweepEnded,
    WatermarkMoved,
)
from engine.messages.reconciliation import BreakNote, RecoveredNote


class SweepsPass:
    """Attributes:
    open: the open breaks by id. ended: the last note of those that are not. history: every note of each, in order.
    kinds: kinds of open and ended breaks about each ExecID.
    mark: the newest watermark; past: the newest confirmed or accepted key of each exchange index.
    tape_no: the highest tape number that was seen when something was journalled.
    """

    def __init__(self, records: Iterable[DropCopyJournalEntry]) -> None:
        self.open: dict[str, BreakNote] = {}
        self.ended: dict[str, BreakNote] = {}
        self.history: dict[str, list[BreakNote]] = {}
        self.closed: dict[str, int] = {}
        self.recovered: list[RecoveredNote] = []
        self.assigned: dict[Key, ExecutionAssigned] = {}
        self.funding: dict[str, FundingEntered] = {}
        self.sweeps = 0
        self.complete = 0
        self.rows = 0
        self.last: SweepEnded | None = None
        self.mark: WatermarkMoved | None = None
        self.listener: int | None = None
        self.tape_no = 0
        self._heard = 0  # in the present life of the listener's process
        for record in records:
            self.rows += 1
            self._add(record)
        self.past = self._past()

    def _add(self, record: DropCopyJournalEntry) -> None:
        match record:
            case BreakNote():
                self._note(record)
            case RecoveredNote():
                self.recovered.append(record)
            case SweepEnded():
                self.sweeps += 1
                self.complete += record.complete
                self.last = record
                self._hear(record.heard)
                self.tape_no = max(self.tape_no, record.tape_no)
            case WatermarkMoved():
                self.mark = record
                self.tape_no = max(self.tape_no, record.tape_no)
            case ExecutionAssigned():
                key = key_of(record.exec_id)
                if key is not None:
                    self.assigned[key] = record
            case FundingEntered():
                self.funding[record.key] = record
            case ListenerChanged():
                self._hear(record.heard)

    def _hear(self, heard: int) -> None:
        if heard < 0:
            return
        before = self.listener or 0
        self.listener = before + (heard - self._heard if heard >= self._heard else heard)
        self._heard = heard

    def _note(self, note: BreakNote) -> None:
        history = self.history.setdefault(note.break_id, [])
        history.append(note)
        if note.status == brk.OPEN:
            self.open[note.break_id] = note
            self.ended.pop(note.break_id, None)
            return
        if self.open.pop(note.break_id, None) is not None:
            self.closed[note.kind] = self.closed.get(note.kind, 0) + 1
        self.ended[note.break_id] = note

    @property
    def explanations(self) -> dict[str, BreakNote]:
        """What an operator explained and nothing opened again, by id."""
        return {
            break_id: note
            for break_id, note in self.ended.items()
            if note.status == brk.EXPLAINED and note.about
        }

    def keys_of(self, kind: str) -> set[Key]:
        """Return the ExecIDs that an open or explained break of a kind is about."""
        notes = [*self.open.values(), *(n for n in self.ended.values() if n.status == brk.EXPLAINED)]
        keys = (key_of(note.exec_id) for note in notes if note.kind == kind)
        return {key for key in keys if key is not None}

    def _past(self) -> dict[int, Key]:
        past: dict[int, Key] = {}
        for text in [*self.mark.gone, *self.mark.marks] if self.mark is not None else []:
            key = key_of(text)
            if key is not None:
                past[key[2]] = max(key, past.get(key[2], key))
        return past

    def is_confirmed(self, key: Key) -> bool:
        """Say whether a report is at or before the watermark of its exchange index."""
        past = self.past.get(key[2])
        return past is not None and key <= past

    @property
    def watermark(self) -> str:
        """The newest mark, or empty."""
        texts = self.mark.marks if self.mark is not None else []
        keys = [(key, text) for text in texts if (key := key_of(text)) is not None]
        return max(keys)[1] if keys else ""

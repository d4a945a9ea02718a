"""What an operator tells drop copy (`dc.ask`), turned into journal entries; the answer leaves after they are committed."""

from collections.abc import Callable
from typing import Any

from engine.common.actor import Outbox
from engine.common.clock import Now
from engine.drop_copy import breaks as brk
from engine.drop_copy.keys import key_of, text_of
from engine.drop_copy.reconciler import Reconciler
from engine.drop_copy.records import ExecutionAssigned, FundingEntered
from engine.messages.reconciliation import (
    AcceptDropCopyGap,
    AssignExecution,
    BreakNote,
    EnterFunding,
    ExplainBreak,
    ReconciliationReply,
)


class OperatorDesk:
    """Carries out what an operator says.

    Args:
        out: where effects go. reconciler: holds the breaks.
        accept_gap: takes an operator's word for what no sweep can prove; returns what was accepted.
    """

    def __init__(
        self, out: Outbox, reconciler: Reconciler, accept_gap: Callable[[str, str, Now], list[str]]
    ) -> None:
        self._out = out
        self._reconciler = reconciler
        self._accept_gap = accept_gap

    def on_message(self, peer: str, message: Any, now: Now) -> None:
        """Take one request and answer it."""
        if not message.why.strip():
            ok, text = False, "a reason is needed"
        else:
            ok, text = self._carry_out(message, now)
        if ok:
            self._out.log("alert", f"{message.who}: {text}")
        self._out.send(
            "dc.ask", ReconciliationReply(request_id=message.request_id, ok=ok, text=text), to=peer
        )

    def _carry_out(self, message: Any, now: Now) -> tuple[bool, str]:
        match message:
            case ExplainBreak():
                return self._explain(message, now)
            case AssignExecution():
                return self._assign(message, now)
            case EnterFunding():
                self._out.record(funding(message, now.wall_ns))
                return True, f"funding {message.key} of {message.symbol or 'the account'} is entered"
            case AcceptDropCopyGap():
                gaps = self._accept_gap(message.why, message.who, now)
                return True, f"gap accepted: {'; '.join(gaps)}" if gaps else "there is no open gap"
            case _:
                return False, "not understood"

    def _explain(self, message: ExplainBreak, now: Now) -> tuple[bool, str]:
        breaks = self._reconciler.breaks
        known = breaks.open.get(message.break_id)
        if known is None:
            if message.break_id in breaks.explained:
                return True, f"{message.break_id} was explained already"
            if message.note is None or message.note.kind == brk.GAP:
                return False, f"there is no open break {message.break_id[:100]} here"
            self._out.record(explanation(message.note, message.why, message.who, now.wall_ns))
            return True, f"{message.break_id[:100]} is explained"
        if known.kind == brk.GAP:
            return False, "a gap is accepted with `scripts/ctl arm --accept-gap --why TEXT`, not explained"
        breaks.end(message.break_id, message.why, now.wall_ns, brk.EXPLAINED, message.who)
        return True, f"{message.break_id} is explained"

    def _assign(self, message: AssignExecution, now: Now) -> tuple[bool, str]:
        key = key_of(message.exec_id)
        if key is None:
            return False, f"{message.exec_id[:60]} is no ExecID"
        self._out.record(
            ExecutionAssigned(
                wall_ns=now.wall_ns,
                exec_id=text_of(key),
                strategy=message.strategy,
                why=message.why,
                who=message.who,
            )
        )
        return True, f"{text_of(key)} counts for slot {message.strategy} in reports"


def funding(message: EnterFunding, wall_ns: int) -> FundingEntered:
    """Return the journal entry of a funding that was entered."""
    return FundingEntered(
        wall_ns=wall_ns,
        key=message.key,
        symbol=message.symbol,
        amount=message.amount,
        at_ns=message.at_ns,
        why=message.why,
        who=message.who,
    )


def explanation(known: BreakNote, why: str, who: str, wall_ns: int) -> BreakNote:
    """Return the journal entry that explains a break that only a report knows."""
    return brk.ended(known, why, wall_ns, brk.EXPLAINED, who)

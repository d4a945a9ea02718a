"""What drop_copy publishes (`dc.feed`)."""

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
        gap: text of a gap that no sweep can close (outside the window, not enabled), or empty.
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


class BreakNote(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="break"):
    """A difference between two witnesses was found, changed or closed, topic `break`.

    Attributes:
        break_id: stable: the same difference has the same id in every run.
        kind: `missing_here`, `missing_there`, `different`, `duplicate`, `foreign`, `position`, `gap`.
        status: `open`, `explained` or `closed`.
    """

    break_id: str
    kind: str
    status: str
    wall_ns: int
    exec_id: str = ""
    cl_ord_id: str = ""
    symbol: str = ""
    text: str = ""


class RecoveredNote(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="recovered"):
    """A report was found by drop copy and given to order entry, topic `recovered`."""

    wall_ns: int
    exec_id: str
    cl_ord_id: str
    symbol: str
    exec_type: str


ReconciliationMessage = ReconciliationStatus | BreakNote | RecoveredNote

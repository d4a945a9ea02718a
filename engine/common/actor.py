"""The Actor: a state machine without I/O, and the Outbox through which it acts.

Every part of the engine (market data, order entry, drop copy, guard, strategy worker, the embedded venue) is an Actor.
It takes messages, bytes and the time; it emits messages, bytes and journal records into the `Outbox` that it was
given. It opens no socket, reads no clock and starts no task, so that two runtimes can drive it: the process runtime
(real sockets, real time) and the virtual runtime (everything in one process on virtual time, seeded).

The runtime's contract, which the invariants rest on:

* It replays the actor's journal through `replay`, entry by entry, then calls `start` once.
* It drains what is waiting, steps the actor once per input, then calls `on_drained` once; commits everything that was
  recorded in one transaction; and only then releases what was written and sent, links before channels. So `record`
  before `write` or `send` means: the journal has it before anyone else does.
* It calls `on_idle`, for work that nobody should wait for, when nothing has come for about 1 ms, or 5 ms after the last call
  under load; what that emits is released, too.
* If the commit fails, the batch is held, its links are cut, and the actor is told (`on_journal_failed`). While the journal
  can't be written, a batch with records is held until it can; one without leaves, so that cancels and halts still go,
  except from an actor that `tells_only_committed`: what that says from memory might not be in its journal yet.
* A message that follows no record or write of its batch may leave at once.
* `on_halt_file` is called within 50 ms of a change of the file, whatever else works or doesn't.
* `on_deadline` is called at or after `deadline` (mono_ns), never before; the actor moves its deadline itself.
* An exception that leaves a handler stops the process: an impossible state is not traded on.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from engine.common.clock import Now


class LinkEvent(StrEnum):
    """What can happen to a link besides bytes."""

    CONNECTED = "connected"  # TLS is up and verified; bytes may be written
    DISCONNECTED = "disconnected"  # closed by the peer, by an error or by us; reason says which
    REFUSED = "refused"  # no connection came about; reason is for a human
    ACCEPTED = "accepted"  # a listener got a connection; the link's name is new, like `KalshiNR/7`


class PeerEvent(StrEnum):
    """What can happen to a peer on a ROUTER/DEALER channel."""

    JOINED = "joined"
    GONE = "gone"
    REFUSED = "refused"  # its queue is full or it isn't there: the message given with the event was not sent


class Outbox(Protocol):
    """Where an actor's effects go. All calls return at once; nothing happens before the batch's records are committed."""

    def send(self, channel: str, message: msgspec.Struct, to: str | None = None, topic: str = "") -> None:
        """Send on a channel: `to` names the peer on a channel that we bind as ROUTER, `topic` the topic on one we publish."""

    def write(self, link: str, data: bytes, trigger_ns: int = 0) -> None:
        """Write bytes to a link. A trigger_ns (mono) makes the runtime measure trigger to bytes written."""

    def unsent(self, link: str) -> int:
        """Return how many bytes wait on a link for its peer to read, so that long answers can be given in pieces."""

    def record(self, entry: msgspec.Struct, *, cl_ord_id: str = "", exec_id: str = "") -> None:
        """Append to the actor's journal. A non-empty exec_id is a unique key: a second one raises in the runtime."""

    def connect(self, link: str) -> None:
        """Open a link that the configuration names; the answer comes as a LinkEvent."""

    def close(self, link: str, reason: str = "") -> None:
        """Close a link once what was written to it is out; a DISCONNECTED follows."""

    def keep_halts(self, text: str) -> None:
        """Make the halt file (`engine.common.halt_file`) say this; empty: there shall be none. The guard's alone."""

    def log(self, level: str, text: str) -> None:
        """Say something to the operator (`info`, `warning`, `error`, `alert`). Not for the path tick to order."""


class Status(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What an actor tells its supervisor with each heartbeat.

    Attributes:
        state: STARTING, RECOVERING, READY, TRADING, PAUSED, HALTED, STOPPING or STOPPED.
        detail: one short line for a human: why it isn't further.
        sessions: FIX session name to its state (`logged on`, `connecting`, `waiting 58 s: already exists`...).
        metrics: counters and gauges by name, plain numbers.
    """

    state: str
    detail: str = ""
    sessions: dict[str, str] = {}
    metrics: dict[str, int | float] = {}


def _nothing() -> tuple[int, bytes]:
    return 0, b""


class Actor:
    """Base of all actors; every handler may be left out.

    Attributes:
        name: the process's name: `market_data`, `guard`, `order_entry`, `drop_copy`, `strategy.<name>`, `venue`.
        deadline: mono_ns at which `on_deadline` is wanted, or None.
        quiesced: after `quiesce`: it does nothing new of its own any more (orders cancelled by policy, last sweep done).
        tells_only_committed: while the journal can't be written nothing it says may leave (order entry: the tape).
        committed: asks the runtime for number and hash of the last row in this actor's journal; (0, b"") without one.
        stopped: after `stop`: sessions are logged out; the process may exit.
    """

    name: str = ""
    tells_only_committed: bool = False
    takes_snapshots: bool = False

    def __init__(self, out: Outbox) -> None:
        self.out = out
        self.deadline: int | None = None
        self.committed: Callable[[], tuple[int, bytes]] = _nothing
        self.quiesced = False
        self.stopped = False

    def replay(self, entry: msgspec.Struct) -> None:
        """Take one committed journal entry back in, before `start`; must not emit."""

    def dump(self) -> bytes:
        """Return all that `replay` made, for a snapshot: `load` into a new actor, it goes on as if it had replayed."""
        raise NotImplementedError

    def load(self, state: bytes) -> None:
        """Take what `dump` returned, instead of the entries before it. Raises msgspec.MsgspecError and has taken nothing."""
        raise NotImplementedError

    def snapshot_of(self) -> str:
        """Name the configured facts that `replay` depends on: a snapshot made with others is worth nothing."""
        return ""

    def start(self, now: Now) -> None:
        """Begin work, after the journal was replayed."""

    def on_message(self, channel: str, peer: str, message: Any, now: Now) -> None:
        """Take one decoded message. `peer` is the sender's name on a ROUTER channel, else empty."""

    def on_peer(self, channel: str, peer: str, event: PeerEvent, message: Any, now: Now) -> None:
        """A peer came, went, or could not take `message`."""

    def on_link(self, link: str, event: LinkEvent, reason: str, now: Now) -> None:
        """A link changed; `reason` is text for a human."""

    def on_bytes(self, link: str, data: bytes, now: Now) -> None:
        """Bytes arrived on a link, in any chunking."""

    def on_malformed(self, channel: str, peer: str, now: Now) -> None:
        """A peer sent bytes that are no message of the channel; they were dropped."""

    def on_flood(self, channel: str, peer: str, discarded: int, now: Now) -> None:
        """A peer sends faster than it may: so many of its messages were dropped undecoded since the last word of it."""

    def on_deadline(self, now: Now) -> None:
        """`deadline` has come; move it."""

    def on_drained(self, now: Now) -> None:
        """All inputs that were waiting have been stepped; deferred work goes here."""

    def on_idle(self, now: Now) -> None:
        """Nothing waits; work that may come some ms later goes here."""

    def on_halt_file(self, text: str | None, now: Now) -> None:
        """What the halt file says, None without one: right after `start`, and whenever somebody changed it."""

    def on_journal_failed(self, reason: str, now: Now) -> None:
        """The batch could not be committed: nothing it emitted has left. Close the gate."""

    def on_journal_ok(self, now: Now) -> None:
        """The journal takes records again."""

    def quiesce(self, now: Now) -> None:
        """Stop doing anything new and finish what is open, by the shutdown policy; then set `quiesced`."""
        self.quiesced = True

    def stop(self, now: Now) -> None:
        """Log out of sessions and finish; then set `stopped`. `quiesce` came before unless the stop is forced."""
        self.stopped = True

    def status(self, now: Now) -> Status:
        """Say how it goes; called for each heartbeat (default every 250 ms), so it must be cheap."""
        return Status(state="READY")

"""The strategy workers as the guard knows them: who they are, whether they live, and their ways to the markets.

A worker beats every 200 ms. One that is silent for worker_silent_ms, or whose connection goes, gets no new orders
through, and its resting orders are cancelled if its configuration says so. It is back with its hello, or with a plain
beat once none of its orders is open (it was only stalled, and nothing that it left behind is at work any more).
"""

from engine.common.clock import MS
from engine.config import Config
from engine.guard.exposure import Exposure
from engine.guard.kill_switch import KillSwitch
from engine.guard.limits import Way, way_of
from engine.guard.lines import Line

ABSENT = "absent"
ALIVE = "trading"
SILENT = "silent"


class Worker:
    """One configured strategy.

    Attributes:
        peer: its name on guard.orders. ways: by symbol. line: of its first market, to count open orders by.
        message_rate: messages a second that it may send. discarded: of a flood that is not answered for yet;
            flood_ns: mono_ns of its last part.
        queue_ns: how long its requests may wait for tokens; 0: they are refused at once.
        state: `absent` (no beat since the guard's start), `trading` or `silent`.
        beat_ns: mono_ns of its last sign of life.
    """

    __slots__ = (
        "beat_ns",
        "cancel_on_exit",
        "discarded",
        "flood_ns",
        "lines",
        "message_rate",
        "name",
        "peer",
        "queue_ns",
        "slot",
        "state",
        "strangers",
        "ways",
    )

    def __init__(
        self, name: str, slot: int, ways: dict[str, Way], *, cancel_on_exit: bool, queue_ns: int = 0
    ) -> None:
        self.name = name
        self.peer = f"strategy.{name}"
        self.slot = slot
        self.ways = ways
        self.lines: list[Line] = [way.line for way in ways.values()]
        self.cancel_on_exit = cancel_on_exit
        self.queue_ns = queue_ns
        self.message_rate = 0
        self.discarded = 0
        self.flood_ns = 0
        self.beat_ns = 0
        self.strangers = 0
        self.state = ""
        self.set_state(ABSENT)

    def set_state(self, state: str) -> None:
        """Change the state; only a living worker's orders pass."""
        self.state = state
        text = {ABSENT: "the worker has not reported yet", SILENT: "the worker is silent"}.get(state, "")
        for way in self.ways.values():
            way.silent = text

    @property
    def open_orders(self) -> int:
        """Orders of it that are not over."""
        return sum(line.open_orders for line in self.lines)

    def beat(self, mono_ns: int, *, hello: bool) -> bool:
        """Take a sign of life; return whether the worker came (back) to life."""
        self.beat_ns = mono_ns
        if self.state == ALIVE:
            return hello
        if self.state == SILENT and not hello and self.cancel_on_exit and self.open_orders:
            return False
        self.set_state(ALIVE)
        return True


class Workers:
    """All configured workers, by their peer name."""

    def __init__(self, config: Config, exposure: Exposure) -> None:
        self._silent_ns = config.risk.worker_silent_ms * MS
        self._warn_percent = config.risk.warn_percent
        self.by_peer: dict[str, Worker] = {}
        self.by_slot: dict[int, Worker] = {}
        for name, strategy in config.strategies.items():
            ways = {symbol: way_of(exposure, strategy.slot, symbol) for symbol in strategy.markets}
            queue_ns = strategy.queue_ms * MS if strategy.over_budget == "queue" else 0
            worker = Worker(
                name, strategy.slot, ways, cancel_on_exit=strategy.cancel_on_exit, queue_ns=queue_ns
            )
            worker.message_rate = strategy.max_messages_per_s
            self.by_peer[worker.peer] = self.by_slot[strategy.slot] = worker
        self.soften()

    def silent(self, mono_ns: int) -> list[Worker]:
        """Return the workers that have just become silent."""
        found = []
        for worker in self.by_peer.values():
            if worker.state == ALIVE and mono_ns - worker.beat_ns > self._silent_ns:
                worker.set_state(SILENT)
                found.append(worker)
        return found

    def forgive(self, late_ns: int, mono_ns: int) -> None:
        """The guard itself was not running for so long, until now (mono_ns): what waited for it is not silence."""
        for worker in self.by_peer.values():
            worker.beat_ns = min(mono_ns, worker.beat_ns + late_ns)

    def soften(self) -> None:
        """Work out the soft levels anew: a limit has changed."""
        for worker in self.by_peer.values():
            for way in worker.ways.values():
                way.soften(self._warn_percent)

    def latch(self, kill: KillSwitch) -> None:
        """Write into every way what its strategy is latched for."""
        for worker in self.by_peer.values():
            for symbol, way in worker.ways.items():
                way.latched = kill.why(worker.slot, symbol)

"""The engine under measurement: real processes started by the launcher, against the measuring peer or the embedded venue."""

import argparse
import contextlib
import functools
import gc
import itertools
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from engine.messages import control
from engine.net import keys, tls
from engine.tools.bench import bare_chain
from engine.tools.bench.peer import SYMBOL, GatewayPeer, PeerLink, field

_BLOCK: Final = 50  # ticks of one chain in a row
_WARMING: Final = 10  # before them, not counted
_BLOCK_S: Final = 0.4  # an engine that was stopped for longer would call its books stale, and order once more
_WAKING_S: Final = 0.05  # for what an engine that was stopped has to catch up with
_LIMITS = """max_order_qty = "1000000"
max_order_notional = "100000000"
max_position = "100000000"
max_open_orders = 100000
max_gross_notional = "1000000000000"
max_unacknowledged = 100000
max_loss = "1000000000"
"""


class Trips(msgspec.Struct):
    """What one engine gave beside a bare chain, in turns: round trips of both in ns, and medians of single hops in us."""

    bare: list[int]
    engine: list[int]
    hops: dict[str, float]


def _config(strategy: str, sessions: str, extra: str, engine: str) -> str:
    return f"""
[engine]
name = "bench"
shutdown = "cancel"
shutdown_s = 2
{engine}
{sessions}
[instruments."{SYMBOL}"]
collar_bp = 5000
[opening."{SYMBOL}"]
qty = "0"
[rate]
tier = "unlimited"
[risk]
kill_within_s = 1000000
unreconciled_gate_s = 100000
[risk.account]
{_LIMITS}
[risk.markets."{SYMBOL}"]
{_LIMITS}
[reconciliation]
sweep_s = 3600
[strategies.bench]
strategy = "engine.tools.bench.strategy:{strategy}"
slot = 1
markets = ["{SYMBOL}"]
[strategies.bench.limits]
{_LIMITS}
{extra}
"""


_PROCESSES = ("market_data", "guard", "order_entry", "drop_copy", "strategy.bench")


def _peer_config(directory: str, peer: GatewayPeer, *, journal: bool, cpu: int | None) -> str:
    names = {"order_entry": "KalshiNR", "market_data": "KalshiMD", "drop_copy": "KalshiDC"}
    sessions = ""
    for name, target in names.items():
        key = os.path.join(directory, f"{name}.key")
        if not os.path.exists(key):
            keys.make_rsa_key(key, key + ".pub")
        sessions += (
            f'[sessions.{name}]\nhost = "127.0.0.1"\nport = {peer.ports[target]}\ntarget_comp_id = "{target}"\n'
            f'key_id = "{uuid.uuid4()}"\nkey_file = "{key}"\nca_file = "{os.path.join(directory, "ca.pem")}"\nheart_bt_int_s = 60\n'
        )
    engine = f'environment = "demo"\njournal_sync = "{"normal" if journal else "off"}"\n'
    if cpu is not None:
        engine += "[engine.cpus]\n" + "".join(f'"{name}" = {cpu}\n' for name in _PROCESSES)
    return _config("OneOrderPerTick", sessions, "", engine)


@contextlib.contextmanager
def _launched(directory: str, text: str, cpu: int | None) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start an engine on a configuration; kill what is left of it at the end."""
    path = os.path.join(directory, "bench.toml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    run = os.path.join(directory, f"run-{uuid.uuid4().hex[:8]}")
    command = [sys.executable, "-m", "engine", "launch", path, "--run", run, "--plain"]
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    environment = {**os.environ, "PYTHONPATH": root}
    log = os.path.join(directory, "launch.log")
    with open(log, "w", encoding="utf-8") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, text=True, env=environment, start_new_session=True
        )
    if cpu is not None:
        os.sched_setaffinity(process.pid, {cpu})
    try:
        yield process, run
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(0.2)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # forced: the measuring peer answers no Logout
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def engine_state(run: str) -> control.EngineState | None:
    """Ask a running engine for its state; None when it does not answer yet."""
    from engine.bus.sockets import tool_socket
    from engine.errors import NotRunningError

    try:
        tool = tool_socket(run, "control", f"tool.bench.{os.getpid()}")
    except NotRunningError:
        return None
    try:
        answer = tool.request(
            control.EngineQuery(request_id="bench"), lambda m: isinstance(m, control.EngineState), 500
        )
    finally:
        tool.close()
    return answer if isinstance(answer, control.EngineState) else None


def _wait_trading(run: str, process: subprocess.Popen[str], timeout_s: float = 30) -> control.EngineState:
    deadline = time.monotonic() + timeout_s
    state = None
    while time.monotonic() < deadline and process.poll() is None:
        state = engine_state(run)
        if state is not None and state.state == "TRADING":
            return state
        time.sleep(0.02)
    reasons = state.reasons if state is not None else "no answer"
    raise TimeoutError(f"the engine did not get to TRADING: {reasons}; see {os.path.dirname(run)}/launch.log")


def one_round(directory: str, number: int, arguments: argparse.Namespace) -> Iterator[tuple[str, Trips]]:
    """Measure each kind of engine once, in an order that turns with the round."""
    certificates = os.path.join(directory, "tls")
    if not os.path.exists(certificates):
        os.makedirs(certificates, mode=0o700)
        keys.make_certificates(certificates, ["127.0.0.1"])
    server = tls.server_context(
        os.path.join(certificates, "server.pem"), os.path.join(certificates, "server.key")
    )
    cpu = arguments.cpu if arguments.cpu >= 0 else None
    usual = os.sched_getaffinity(0)
    kinds = ["engine", "engine, no journal"]
    for name in kinds[number % 2 :] + kinds[: number % 2]:
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})
        try:
            place = os.path.join(directory, f"bare-{uuid.uuid4().hex[:8]}")
            os.makedirs(place, mode=0o700)
            ca_file = os.path.join(certificates, "ca.pem")
            with (
                bare_chain.started(place, server, ca_file, cpu=cpu) as bare,
                _started(certificates, server, cpu, journal=name == "engine") as (engine, run, process),
            ):
                bare_trips, trips = _in_turns(
                    bare, engine, _Asleep(run, process), arguments.count, arguments.gap_us / 1e6
                )
                time.sleep(0.6)  # two heartbeats, so that the processes' own figures are in
                yield name, Trips(bare_trips, trips, _hops(engine_state(run)))
        finally:
            os.sched_setaffinity(0, usual)


@contextlib.contextmanager
def _started(
    directory: str, server: ssl.SSLContext, cpu: int | None, *, journal: bool
) -> Iterator[tuple[Callable[[], int], str, subprocess.Popen[str]]]:
    """Start an engine that trades; give what sends one tick and returns its round trip in ns, its directory and launcher."""
    peer = GatewayPeer(server)
    peer.start()
    try:
        with _launched(directory, _peer_config(directory, peer, journal=journal, cpu=cpu), cpu) as (
            process,
            run,
        ):
            peer.wait()
            _wait_trading(run, process)
            peer.links["KalshiNR"].link.settimeout(5)
            yield functools.partial(_trip, peer, itertools.count()), run, process
    finally:
        peer.close()


class _Asleep:
    """Stops an engine's processes for the time of a `with`, so that nothing of it takes part in what is measured meanwhile."""

    def __init__(self, run: str, launcher: subprocess.Popen[str]) -> None:
        state = engine_state(run)
        assert state is not None, "it trades"
        self._pids = [launcher.pid, *(process.pid for process in state.processes)]

    def __enter__(self) -> None:
        for pid in self._pids:
            os.kill(pid, signal.SIGSTOP)

    def __exit__(self, *_: object) -> None:
        for pid in reversed(self._pids):
            os.kill(pid, signal.SIGCONT)


def _in_turns(
    bare: Callable[[], int], engine: Callable[[], int], asleep: _Asleep, count: int, gap_s: float
) -> tuple[list[int], list[int]]:
    """Return `count` round trips of each, in blocks that take turns, so that both meet the machine in the same moods."""
    bare_trips: list[int] = []
    trips: list[int] = []
    gc.disable()
    fits = max(2, min(_BLOCK + _WARMING, int(_BLOCK_S / max(gap_s, 1e-6))))
    warming = min(_WARMING, fits // 2)
    while len(trips) < count:
        size = min(fits - warming, count - len(trips))
        with asleep:
            _block(bare, bare_trips, warming, size, gap_s)
        time.sleep(_WAKING_S)
        _block(engine, trips, warming, size, gap_s)
    gc.enable()
    return bare_trips, trips


def _block(trip: Callable[[], int], trips: list[int], warming: int, size: int, gap_s: float) -> None:
    for number in range(warming + size):
        time.sleep(gap_s)
        took_ns = trip()
        if number >= warming:
            trips.append(took_ns)


def _hops(state: control.EngineState | None) -> dict[str, float]:
    hops: dict[str, float] = {}
    for process in state.processes if state is not None else []:
        metrics = process.status.metrics if process.status is not None else {}
        if process.name == "order_entry":
            for name, key in (
                ("read to written p50", "tick_to_trade_p50_us"),
                ("commit p50", "commit_p50_us"),
                ("commit p99", "commit_p99_us"),
            ):
                if key in metrics:
                    hops[name] = float(metrics[key])
        for key, name in (
            ("hop_worker_p50_us", "read to worker"),
            ("hop_guard_p50_us", "read to guard"),
            ("hop_order_entry_p50_us", "read to order entry"),
        ):
            if key in metrics:
                hops[name] = float(metrics[key])
    return hops


def _trip(peer: GatewayPeer, numbers: Iterator[int]) -> int:
    """Send one tick, take the order, answer it; return the time between the first two in ns."""
    md, oe = peer.links["KalshiMD"], peer.links["KalshiNR"]
    number = next(numbers)
    body = f"268=1\x01279=1\x0155={SYMBOL}\x01269=0\x01270=19.5000\x01271={1 + number % 50}.00\x01"
    tick = md.message("X", body)
    begin = time.perf_counter_ns()
    md.link.sendall(tick)
    order = oe.read_of(b"D")
    took_ns = oe.read_ns - begin  # as of the bare chain: to the moment that the bytes are there
    assert took_ns > 0, "the order is this tick's"
    _report(oe, order, number)
    return took_ns


def _report(oe: PeerLink, order: bytes, number: int) -> None:
    """Answer an IOC order that did not trade: New, then Canceled."""
    cl_ord_id, price = field(order, 11), field(order, 44)
    common = f"6=0.0000\x0111={cl_ord_id}\x0114=0.00\x01%s37=order-{number}\x0138=1.00\x01%s44={price}\x0154=1\x0155={SYMBOL}\x01%s"
    oe.send("8", common % (f"17={number + 1};1\x01", "39=0\x01", "150=0\x01151=1.00\x01"))
    oe.send(
        "8",
        common % (f"17={number + 1};2\x01", "39=4\x01", "150=4\x01151=0.00\x0158=IMMEDIATE_OR_CANCELLED\x01"),
    )


def orders_and_start(directory: str) -> dict[str, Any]:
    """Measure order round trip, sustained rate, time to TRADING and memory against the embedded venue."""
    sessions = "".join(
        f'[sessions.{name}]\ntarget_comp_id = "{target}"\n'
        for name, target in (
            ("order_entry", "KalshiNR"),
            ("market_data", "KalshiMD"),
            ("drop_copy", "KalshiDC"),
        )
    )
    venue = (
        f'[venue]\ntier = "unlimited"\nbook_changes_per_s = 20\n[venue.markets."{SYMBOL}"]\nprice = "19.5"\n'
    )
    text = _config("RoundTrips", sessions, venue, "")
    begin = time.monotonic()
    with _launched(directory, text, None) as (process, run):
        state = _wait_trading(run, process)
        trading_s = time.monotonic() - begin
        memory = {p.name: round(p.rss_bytes / (1 << 20), 1) for p in state.processes}
        figures = _figures(os.path.join(run, "logs", "strategy.bench.log"), process)
    result = {"orders": figures, "start": {"trading_s": round(trading_s, 2)}, "memory_mib": memory}
    print(
        f"orders: round trip p50 {figures['round_trip_p50_us']} us, sustained {figures['sustained_per_s']} a second (embedded venue, no token limit)"
    )
    print(f"start: TRADING after {trading_s:.2f} s; memory MiB: " + json.dumps(memory))
    return result


def _figures(log: str, process: subprocess.Popen[str]) -> dict[str, float]:
    deadline = time.monotonic() + 120
    found: dict[str, float] = {}
    while time.monotonic() < deadline and process.poll() is None and len(found) < 2:
        time.sleep(0.1)
        with contextlib.suppress(OSError), open(log, encoding="utf-8") as file:
            found = {
                name: float(value)
                for name, value in re.findall(r"(round_trip_p50_us|sustained_per_s)=([0-9.]+)", file.read())
            }
    if len(found) < 2:
        raise TimeoutError(f"the measuring strategy did not finish; see {log}")
    return found

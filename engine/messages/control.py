"""What goes between the supervisor and every process, and tools (`control`); and the embedded venue's own (`venue.ask`)."""

import msgspec

from engine.common.actor import Status


class Hello(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="hello"):
    """A process reports for duty. A schema, version or config_hash that differs from the supervisor's is refused."""

    name: str
    pid: int
    schema: int
    version: str
    config_hash: str


class Welcome(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="welcome"):
    """Answer to `Hello`; when not ok the process exits with `text`."""

    ok: bool
    text: str = ""


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="heartbeat"):
    """A process is alive (every 250 ms)."""

    name: str
    pid: int
    mono_ns: int
    status: Status
    quiesced: bool = False
    stopped: bool = False


class SupervisorBeat(
    msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="supervisor_beat"
):
    """The supervisor is alive (every 250 ms). Silence means: children stop in safe order, by themselves."""

    mono_ns: int


class Quiesce(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="quiesce"):
    """Do nothing new; finish what is open by the shutdown policy; say so in the heartbeat."""

    why: str


class Stop(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="stop"):
    """Log out and exit."""

    why: str


class Notice(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="notice"):
    """A line for the operator from a process."""

    name: str
    level: str
    text: str
    wall_ns: int


class EngineQuery(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="engine?"):
    """Tool: ask for the state of everything."""

    request_id: str


class ProcessState(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One process as the supervisor sees it: `starting`, `running`, `silent`, `killed`, `restarting`, `stopped`, `failed`."""

    name: str
    pid: int
    state: str
    restarts: int = 0
    uptime_ns: int = 0
    rss_bytes: int = 0
    status: Status | None = None


class EngineState(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="engine"):
    """Answer to `EngineQuery`."""

    request_id: str
    name: str
    environment: str
    state: str
    version: str
    config_hash: str
    started_wall_ns: int
    processes: list[ProcessState]
    reasons: list[str] = []


class RestartProcess(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="restart"):
    """Tool: stop and start one process."""

    request_id: str
    name: str


class StopEngine(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="stop_engine"):
    """Tool: end the engine in safe order."""

    request_id: str
    why: str


class Reply(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="reply"):
    """Answer to a tool."""

    request_id: str
    ok: bool
    text: str = ""


ControlUp = Hello | Heartbeat | Notice | EngineQuery | RestartProcess | StopEngine
ControlDown = Welcome | SupervisorBeat | Quiesce | Stop | EngineState | Reply


class VenueQuery(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="venue?"):
    """Ask the embedded venue for the truth about an account (all accounts when empty). Tools and tests only."""

    request_id: str
    account: str = ""


class VenueOrder(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A resting order as the venue has it."""

    cl_ord_id: str
    order_id: str
    symbol: str
    side: int
    price: int
    qty: int
    cum_qty: int
    leaves_qty: int


class VenueAccount(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """An account as the venue has it; cash in money, positions signed in 1/100 contract."""

    account: str
    cash: int
    positions: dict[str, int]
    fees: int
    fills: int
    orders: list[VenueOrder]
    exec_ids: list[str] = []


class VenueTruth(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="venue"):
    """Answer to `VenueQuery`."""

    request_id: str
    accounts: list[VenueAccount]


class VenueFault(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="fault"):
    """Make the embedded venue misbehave: `kind` and its arguments as docs/venue.md lists them."""

    request_id: str
    kind: str
    session: str = ""
    arguments: dict[str, str] = {}


class VenueReply(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="venue_reply"):
    """Answer to `VenueFault`."""

    request_id: str
    ok: bool
    text: str = ""


AskVenue = VenueQuery | VenueFault
VenueAnswer = VenueTruth | VenueReply

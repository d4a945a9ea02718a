"""The one table of channels: who binds, who connects, what goes which way, and how it is read.

Sockets, the virtual runtime's network, the subscriber tool and docs/bus.md are all built from `CHANNELS`.

Roles are process names, but `strategy` stands for every `strategy.<name>` worker and `tool` for every tool.
"""

import re
from enum import StrEnum
from typing import Any, Final

import msgspec

from engine.config import Config
from engine.messages import commands, control, decisions, executions, market_data, reconciliation

Union = Any  # a union of struct classes, as a value


class Pattern(StrEnum):
    """How a channel's sockets are joined."""

    PUBSUB = "PUB/SUB"
    ROUTED = "ROUTER/DEALER"


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table.

    Attributes:
        up: what connectors send to the binder (None on PUB/SUB).
        down: what the binder sends to connectors.
        idle: roles that read it only when idle (or after 10 ms): what is some ms old serves them as well.
        topics: topic prefixes that a role subscribes to, when not all (`{symbol}` and `{slot}` are filled in).
        high_water: messages that a queue holds; a PUB drops beyond, a DEALER or ROUTER refuses.
        bytes_max: of one message to the binder; a sender of a longer one is disconnected.
        only_from: message type to the roles that may send it, where not everyone connected may.
    """

    name: str
    pattern: Pattern
    bound_by: str
    connected_by: tuple[str, ...]
    up: Union = None
    down: Union
    idle: tuple[str, ...] = ()
    topics: dict[str, tuple[str, ...]] = {}
    high_water: int = 100_000
    bytes_max: int = 1 << 16
    only_from: dict[type, tuple[str, ...]] = {}
    carries: str = ""


CHANNELS: Final = {
    channel.name: channel
    for channel in (
        Channel(
            name="md.feed",
            pattern=Pattern.PUBSUB,
            bound_by="market_data",
            connected_by=("strategy", "guard", "supervisor", "drop_copy", "tool"),
            down=market_data.FeedMessage,
            idle=("guard", "supervisor", "drop_copy"),
            topics={
                "strategy": ("book", "beat", "state"),
                "guard": ("top.", "beat", "state"),
                "supervisor": ("top.",),
                "drop_copy": ("state",),
            },
            carries="book updates, trades, market state; numbered",
        ),
        Channel(
            name="md.ask",
            pattern=Pattern.ROUTED,
            bound_by="market_data",
            connected_by=("strategy", "guard", "tool"),
            up=market_data.AskMarketData,
            down=market_data.MarketDataAnswer,
            carries="snapshots on request (late join, gap)",
        ),
        Channel(
            name="guard.orders",
            pattern=Pattern.ROUTED,
            bound_by="guard",
            connected_by=("strategy", "tool"),
            up=commands.IntentMessage,
            down=commands.IntentAnswer,
            carries="order intents in; refusals and answers back",
        ),
        Channel(
            name="guard.feed",
            pattern=Pattern.PUBSUB,
            bound_by="guard",
            connected_by=("supervisor", "tool"),
            down=decisions.GuardMessage,
            carries="refusals, limit use, tokens, kill-switch changes",
        ),
        Channel(
            name="oe.orders",
            pattern=Pattern.ROUTED,
            bound_by="order_entry",
            connected_by=("guard",),
            up=commands.CommandMessage,
            down=commands.CommandAnswer,
            carries="approved commands; what was not accepted back",
        ),
        Channel(
            name="oe.tape",
            pattern=Pattern.PUBSUB,
            bound_by="order_entry",
            connected_by=("guard", "strategy", "drop_copy", "tool"),
            down=executions.TapeMessage,
            idle=("drop_copy",),
            topics={"strategy": ("slot.{slot}", "beat")},
            carries="every order event, numbered without gaps; a beat with the last number when idle",
        ),
        Channel(
            name="oe.ask",
            pattern=Pattern.ROUTED,
            bound_by="order_entry",
            connected_by=("guard", "strategy", "drop_copy", "tool"),
            up=executions.AskOrders,
            down=executions.OrdersAnswer,
            bytes_max=16 << 20,
            only_from={executions.RecoveredReports: ("drop_copy",), executions.SweepDone: ("drop_copy",)},
            carries="replay of the tape, snapshots; recovered reports from drop_copy",
        ),
        Channel(
            name="dc.feed",
            pattern=Pattern.PUBSUB,
            bound_by="drop_copy",
            connected_by=("guard", "supervisor", "tool"),
            down=reconciliation.ReconciliationMessage,
            idle=("guard",),
            carries="recovered reports, breaks, reconciled-up-to",
        ),
        Channel(
            name="dc.ask",
            pattern=Pattern.ROUTED,
            bound_by="drop_copy",
            connected_by=("tool",),
            up=reconciliation.AskReconciliation,
            down=reconciliation.ReconciliationReply,
            carries="breaks explained, foreign fills assigned, funding entered, gaps accepted by an operator",
        ),
        Channel(
            name="control",
            pattern=Pattern.ROUTED,
            bound_by="supervisor",
            connected_by=("market_data", "guard", "order_entry", "drop_copy", "strategy", "venue", "tool"),
            up=control.ControlUp,
            down=control.ControlDown,
            only_from={
                control.EngineQuery: ("tool",),
                control.RestartProcess: ("tool",),
                control.StopEngine: ("tool",),
            },
            carries="hello, heartbeat with metrics, state, stop, restart",
        ),
        Channel(
            name="venue.ask",
            pattern=Pattern.ROUTED,
            bound_by="venue",
            connected_by=("tool",),
            up=control.AskVenue,
            down=control.VenueAnswer,
            carries="the embedded venue's truth, and faults on command",
        ),
    )
}


_TOOL: Final = re.compile(r"tool\.[a-z0-9_.-]{1,64}", re.ASCII).fullmatch


def may_send(channel: Channel, peer: str, message: object, names: frozenset[str]) -> bool:
    """Say whether a peer of a ROUTER channel may send a message to its binder.

    Args:
        peer: the name that the sender's socket has; a process of `names`, or a tool.
        names: the processes of the engine.
    """
    role = role_of(peer)
    if role not in channel.connected_by or (peer not in names and not (role == "tool" and _TOOL(peer))):
        return False
    roles = channel.only_from.get(type(message))
    return roles is None or role in roles


def role_of(name: str) -> str:
    """Return the role of a process name: `strategy.quote_maker` is `strategy`, `tool.tail.123` is `tool`."""
    head = name.partition(".")[0]
    return head if head in {"strategy", "tool"} else name


def process_names(config: Config) -> list[str]:
    """Return the names of all processes that a configuration asks for, in the order in which they are started."""
    names = ["venue"] if config.engine.environment == "embedded" else []
    names += ["order_entry", "market_data", "drop_copy", "guard"]
    return names + [f"strategy.{name}" for name in config.strategies]

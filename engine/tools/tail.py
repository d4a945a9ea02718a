"""`scripts/tail CHANNEL`: decode any published channel of a running engine, and never disturb it.

A tail subscribes like any other reader; what it can't take in time it loses, and nobody waits for it. A channel between
two parties (ROUTER/DEALER) can't be listened to: what comes of it is published on another one, which the refusal names.
"""

import argparse
import contextlib
import difflib
import os
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from engine.bus.sockets import ToolBus, tool_socket
from engine.common.clock import iso_time
from engine.common.ids import slot_of
from engine.errors import EXIT_OK, UsageError
from engine.messages.decisions import GuardStatus
from engine.messages.executions import tape_topic
from engine.messages.market_data import MarketUpdate
from engine.messages.topology import CHANNELS, Channel, Pattern
from engine.runtime.plain_text import plain
from engine.tools.arguments import duration
from engine.tools.running import running_config, running_run

# Where to look for what a channel between two parties leads to.
_INSTEAD: Final = {
    "md.ask": "md.feed has what it would answer",
    "guard.orders": "what comes of an intent is on oe.tape, refusals on guard.feed",
    "oe.orders": "what comes of a command is on oe.tape",
    "oe.ask": "oe.tape has what it would answer",
    "control": "scripts/ctl status shows what goes over it",
    "dc.ask": "what comes of it is on dc.feed",
    "venue.ask": "it answers tests and tools only",
}
_PUBLISHED: Final = [name for name, channel in CHANNELS.items() if channel.pattern is Pattern.PUBSUB]
Keep = Callable[[msgspec.Struct], msgspec.Struct | None]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/tail", description="Decode a channel of a running engine.")
    parser.add_argument("channel", help=f"one of {', '.join(_PUBLISHED)}")
    parser.add_argument(
        "--run", default="", metavar="DIR", help="the engine's run directory (default: the one below .run)"
    )
    parser.add_argument("--strategy", default="", metavar="S", help="only what concerns this strategy")
    parser.add_argument("--market", default="", metavar="M", help="only what concerns this market")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--for", dest="duration", default="", metavar="TIME", help="end after 10s, 1m ...")
    parser.add_argument("--count", type=int, default=0, metavar="N", help="end after so many messages")
    return parser


def _channel(name: str) -> Channel:
    channel = CHANNELS.get(name)
    if channel is None:
        close = difflib.get_close_matches(name, _PUBLISHED, 1)
        hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(_PUBLISHED)}"
        raise UsageError(f"there is no channel {name!r}; {hint}")
    if channel.pattern is not Pattern.PUBSUB:
        raise UsageError(
            f"{name} is {channel.pattern}: each message has one receiver, so nobody else can listen; {_INSTEAD.get(name, '')}"
        )
    return channel


def _mentions(value: Any, market: str) -> bool:
    """Whether a message concerns a market; one that names no market at all concerns none."""
    if isinstance(value, str):
        return value == market
    if isinstance(value, dict):
        return any(_mentions(part, market) for item in value.items() for part in item)
    if isinstance(value, list):
        return any(_mentions(part, market) for part in value)
    return False


def keep_market(market: str) -> Keep:
    """Return a filter for one market; of a message about several it keeps that market's part."""

    def keep(message: msgspec.Struct) -> msgspec.Struct | None:
        if isinstance(message, MarketUpdate):
            parts = [part for part in message.markets if part.symbol == market]
            return msgspec.structs.replace(message, markets=parts) if parts else None
        if isinstance(message, GuardStatus):
            return msgspec.structs.replace(
                message, strategies=[use for use in message.strategies if use.symbol == market]
            )
        return message if _mentions(msgspec.to_builtins(message), market) else None

    return keep


def keep_strategy(slot: int) -> Keep:
    """Return a filter for one strategy, by its slot: its own messages, and what names an order of it."""

    def keep(message: msgspec.Struct) -> msgspec.Struct | None:
        if isinstance(message, GuardStatus):
            return msgspec.structs.replace(
                message, strategies=[use for use in message.strategies if use.strategy == slot]
            )
        strategy = getattr(message, "strategy", None)
        if strategy is None:
            strategy = slot_of(getattr(message, "cl_ord_id", ""))
        return message if strategy == slot else None

    return keep


def line_of(topic: str, message: msgspec.Struct, wall_ns: int) -> str:
    """Write a message as one line for people; what has its default is left out."""
    fields = msgspec.to_builtins(message)
    kind = fields.pop("type", "")
    parts = [f"{key}={value}" for key, value in fields.items() if value not in ("", 0, [], {}, False)]
    text = " ".join([iso_time(wall_ns), topic, kind, *parts])
    return plain(text, len(text))


def _filters(arguments: argparse.Namespace, channel: Channel, run: str) -> tuple[list[Keep], str]:
    """Return what to keep and the topic to subscribe to."""
    keeps: list[Keep] = []
    topic = ""
    config = running_config(run) if arguments.strategy or arguments.market else None
    if arguments.strategy and config is not None:
        if channel.name == "md.feed":
            raise UsageError("md.feed knows no strategies; leave --strategy out")
        if arguments.strategy not in config.strategies:
            known = ", ".join(config.strategies)
            raise UsageError(f"there is no strategy {arguments.strategy!r}; there are: {known}")
        slot = config.strategies[arguments.strategy].slot
        topic = tape_topic(slot) if channel.name == "oe.tape" else ""
        keeps.append(keep_strategy(slot))
    if arguments.market and config is not None:
        if arguments.market not in config.instruments:
            known = ", ".join(config.instruments)
            raise UsageError(f"there is no market {arguments.market!r}; there are: {known}")
        keeps.append(keep_market(arguments.market))
    return keeps, topic


def _follow(bus: ToolBus, keeps: list[Keep], arguments: argparse.Namespace, until: float | None) -> None:
    shown = 0
    for item in bus.stream(100):
        if until is not None and time.monotonic() >= until:
            return
        if item is None:
            continue
        topic, message = item
        for keep in keeps:
            if message is not None:
                message = keep(message)
        if message is None:
            continue
        text = (
            msgspec.json.encode(message).decode()
            if arguments.json
            else line_of(topic, message, time.time_ns())
        )
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
        shown += 1
        if arguments.count and shown >= arguments.count:
            return


def main(argv: list[str]) -> int:
    """Print messages until told to stop. Raises UsageError, NotRunningError."""
    arguments = _parser().parse_args(argv)
    channel = _channel(arguments.channel)
    run = running_run(arguments.run)
    keeps, topic = _filters(arguments, channel, run)
    until = time.monotonic() + duration(arguments.duration) if arguments.duration else None
    bus = tool_socket(run, channel.name, f"tool.tail.{os.getpid()}", (topic,))
    try:
        with contextlib.suppress(KeyboardInterrupt):
            _follow(bus, keeps, arguments, until)
    finally:
        bus.close()
    return EXIT_OK

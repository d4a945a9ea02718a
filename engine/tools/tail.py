"""`scripts/tail CHANNEL`: decode any published channel of a running engine, and never disturb it.

A tail subscribes like any other reader; what it can't take in time it loses, and nobody waits for it.
"""

import argparse
import os
import sys
import time

import msgspec

from engine.bus.sockets import tool_socket
from engine.common.clock import iso_time
from engine.errors import EXIT_OK, UsageError
from engine.messages.executions import tape_topic
from engine.messages.topology import CHANNELS, Pattern
from engine.tools.arguments import duration
from engine.tools.running import default_run, running_config


def _parser() -> argparse.ArgumentParser:
    published = [name for name, channel in CHANNELS.items() if channel.pattern is Pattern.PUBSUB]
    parser = argparse.ArgumentParser(prog="scripts/tail", description="Decode a channel of a running engine.")
    parser.add_argument("channel", help=f"one of {', '.join(published)}")
    parser.add_argument(
        "--run",
        default="",
        metavar="DIR",
        help="the engine's run directory (default: the one that runs below .run)",
    )
    parser.add_argument(
        "--strategy", default="", help="only this strategy's events (oe.tape), refusals and use (guard.feed)"
    )
    parser.add_argument("--market", default="", help="only what concerns this market")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--for", dest="duration", default="", metavar="TIME", help="end after 10s, 1m ...")
    parser.add_argument("--count", type=int, default=0, help="end after so many messages")
    return parser


def _mentions(value: object, market: str) -> bool:
    """Whether a message concerns a market; one that names no market at all concerns none."""
    if isinstance(value, str):
        return value == market
    if isinstance(value, dict):
        return any(_mentions(part, market) for item in value.items() for part in item)
    if isinstance(value, list):
        return any(_mentions(part, market) for part in value)
    return False


def _line(topic: str, message: msgspec.Struct) -> str:
    fields = msgspec.to_builtins(message)
    kind = fields.pop("type", "")
    parts = [f"{key}={value}" for key, value in fields.items() if value not in ("", 0, [], {}, False)]
    return f"{iso_time(time.time_ns())} {topic} {kind} " + " ".join(parts)


def main(argv: list[str]) -> int:
    """Print messages until told to stop. Raises UsageError, NotRunningError."""
    arguments = _parser().parse_args(argv)
    channel = CHANNELS.get(arguments.channel)
    if channel is None:
        raise UsageError(f"there is no channel {arguments.channel!r}; there are: {', '.join(CHANNELS)}")
    if channel.pattern is not Pattern.PUBSUB:
        raise UsageError(
            f"{channel.name} goes between two processes ({channel.carries}) and can't be listened to; what comes of it is on oe.tape and guard.feed"
        )
    run = arguments.run or default_run()
    slot: int | None = None
    if arguments.strategy:
        strategies = running_config(run).strategies
        if arguments.strategy not in strategies:
            raise UsageError(
                f"there is no strategy {arguments.strategy!r}; there are: {', '.join(strategies)}"
            )
        slot = strategies[arguments.strategy].slot
    topics = (tape_topic(slot),) if slot is not None and channel.name == "oe.tape" else ("",)
    until = time.monotonic() + duration(arguments.duration) if arguments.duration else None
    bus = tool_socket(run, channel.name, f"tool.tail.{os.getpid()}", topics)
    shown = 0
    try:
        for item in bus.stream():
            if until is not None and time.monotonic() >= until:
                break
            if item is None:
                continue
            topic, message = item
            if arguments.market and not _mentions(msgspec.to_builtins(message), arguments.market):
                continue
            if (
                slot is not None
                and channel.name == "guard.feed"
                and getattr(message, "strategy", slot) != slot
            ):
                continue
            text = msgspec.json.encode(message).decode() if arguments.json else _line(topic, message)
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
            shown += 1
            if arguments.count and shown >= arguments.count:
                break
    except KeyboardInterrupt:
        pass
    finally:
        bus.close()
    return EXIT_OK

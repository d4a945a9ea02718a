"""Documentation that is generated from the code, so that it can't be wrong: `python -m engine docs [--check]`.

docs/bus.md         channels from the topology, messages from their structs
docs/orders.md      an order's life from its transition table
docs/guard.md       the guard's controls, and the duties that they serve
configs/README.md   every configuration key from the configuration's structs
"""

import argparse
import inspect
import os
import re
import sys
import types
import typing
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from engine.config import Config
from engine.errors import EXIT_FAILURE, EXIT_OK
from engine.messages import SCHEMA
from engine.messages.topology import CHANNELS, Channel, Pattern
from engine.strategy.loader import load_strategy

_SUBSCRIBER: Final = """\
```python
import msgpack, zmq  # pip install pyzmq msgpack

sub = zmq.Context().socket(zmq.SUB)
sub.connect("ipc://.run/demo/bus/oe.tape")  # <run directory>/bus/<channel>
sub.subscribe(b"slot.001")  # a topic's beginning; b"" is everything
while True:
    topic, _, data = sub.recv().partition(b"\\0")  # one frame: topic, a zero byte, the message
    event = msgpack.unpackb(data)
    print(event["tape_no"], event["kind"], event["order"], event.get("last_px", 0) / 10_000)
```
"""
_BUS_HEAD: Final = f"""# The bus

Generated from `engine/messages` by `python -m engine docs`; schema version {SCHEMA}.

Every message is one msgpack map. Its `type` says which message it is; a field that is absent has the default given below.
Prices are ints in 1/10000 dollar, quantities ints in 1/100 contract, money ints in 1/1000000 dollar, times ints in ns
(`wall_ns`: since 1970, UTC; `mono_ns`, `made_ns`, `trigger_ns`, `expires_ns`: the machine's monotonic clock).

A PUB/SUB frame is the topic, a zero byte and the message. On ROUTER/DEALER channels a frame is the message, and the
sender is known by its socket's name: `tool.` and more for a tool; the engine's processes add the engine's seal to theirs
(`engine/bus/meter.py`), so that nobody takes such a name by mistake.

PUB/SUB may lose messages; numbers and beats show it. A reader that sees a gap in `tape_no` (or, for one strategy,
`strategy_no`) asks `oe.ask`; a gap in `feed_no` is asked for on `md.ask`.

## A subscriber in ten lines

{_SUBSCRIBER}
`scripts/tail CHANNEL` does the same for every published channel.
"""
_CONFIG_HEAD: Final = """# Configuration

Generated from `engine/config.py` by `python -m engine docs`.

One TOML file describes one engine. Unknown keys are refused, with the closest known one. Prices, quantities and dollars
are decimal text in quotes (`"19.50"`), never TOML floats. `--set a.b=value` overrides a key on the command line.

| file | what for |
|---|---|
| `demo.toml` | the embedded venue: no credentials, no network |
| `kalshi-demo.toml` | Kalshi's demo gateway: fill in key ids and key paths |
| `kalshi-production.toml` | Kalshi's production gateway: the same, and `--production` on the command line |
"""

ROOT: Final = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_STRATEGIES: Final = ("quote_maker:QuoteMaker", "momentum_taker:MomentumTaker")


def _type_text(kind: Any) -> str:
    if isinstance(kind, types.UnionType):
        return " or ".join(_type_text(part) for part in typing.get_args(kind))
    origin = typing.get_origin(kind)
    if origin is not None:
        inner = ", ".join(_type_text(part) for part in typing.get_args(kind))
        return f"{origin.__name__}[{inner}]"
    if kind is type(None):
        return "nil"
    return getattr(kind, "__name__", str(kind))


def _default_text(field: msgspec.structs.FieldInfo) -> str:
    if field.default is not msgspec.NODEFAULT:
        value = field.default
        return (
            "nil" if value is None else f"`{value!r}`" if not isinstance(value, str) else f"`{str(value)!r}`"
        )
    if field.default_factory is not msgspec.NODEFAULT:
        return f"`{field.default_factory()!r}`"
    return "required"


def _struct_lines(struct: type[msgspec.Struct], heading: str) -> Iterator[str]:
    tag = struct.__struct_config__.tag
    name = f"`{struct.__name__}`" + (f" · `type: {tag}`" if tag else "")
    yield f"{heading} {name}\n"
    about, _, attributes = inspect.cleandoc(struct.__doc__ or "").partition("Attributes:")
    yield about.strip() + "\n"
    for line in inspect.cleandoc(attributes).splitlines() if attributes else []:
        yield f"* {line.strip()}" if re.match(r"\s{0,4}\w[\w, ]*:", line) else f"  {line.strip()}"
    if attributes:
        yield ""
    yield "| field | type | default |\n|---|---|---|"
    for field in msgspec.structs.fields(struct):
        yield f"| `{field.encode_name}` | {_type_text(field.type)} | {_default_text(field)} |"
    yield ""


def members(union: Any) -> list[type[msgspec.Struct]]:
    """Return the messages of one way of a channel."""
    if union is None:
        return []
    parts = typing.get_args(union) if isinstance(union, types.UnionType) else (union,)
    return list(parts)


def _nested(struct: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    def walk(kind: Any) -> Iterator[type[msgspec.Struct]]:
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            yield kind
        for part in typing.get_args(kind):
            yield from walk(part)

    for field in msgspec.structs.fields(struct):
        yield from walk(field.type)


def _channel_lines(channel: Channel) -> Iterator[str]:
    yield f"## `{channel.name}`\n"
    yield f"{channel.carries.capitalize()}.\n"
    way = (
        "binds PUB, the others SUB"
        if channel.pattern is Pattern.PUBSUB
        else "binds ROUTER, the others DEALER"
    )
    yield f"`{channel.bound_by}` {way}: {', '.join(f'`{name}`' for name in channel.connected_by)}. High-water mark {channel.high_water:,}.\n"
    for role, topics in channel.topics.items():
        yield f"* `{role}` subscribes to {', '.join(f'`{topic}`' for topic in topics)}"
    if channel.topics:
        yield ""
    for title, union in (("to the binder", channel.up), ("from the binder", channel.down)):
        if union is not None:
            yield f"{title}: {', '.join(f'`{member.__name__}`' for member in members(union))}\n"


def bus() -> str:
    """Return docs/bus.md."""
    lines = [
        _BUS_HEAD,
        "## Channels\n",
        "| channel | pattern | bound by | connected by | carries |\n|---|---|---|---|---|",
    ]
    lines += [
        f"| `{channel.name}` | {channel.pattern} | {channel.bound_by} | {', '.join(channel.connected_by)} | {channel.carries} |"
        for channel in CHANNELS.values()
    ]
    lines.append("")
    structs: dict[str, type[msgspec.Struct]] = {}
    for channel in CHANNELS.values():
        lines += _channel_lines(channel)
        for struct in [*members(channel.up), *members(channel.down)]:
            for part in (struct, *_nested(struct)):
                structs.setdefault(part.__name__, part)
                for inner in _nested(part):
                    structs.setdefault(inner.__name__, inner)
    lines.append("# Messages\n")
    for struct in structs.values():
        lines += _struct_lines(struct, "##")
    return "\n".join(lines).rstrip() + "\n"


def _key_lines(struct: type[msgspec.Struct], path: str) -> Iterator[str]:
    about, _, attributes = inspect.cleandoc(struct.__doc__ or "").partition("Attributes:")
    yield f"\n## {about.strip()}\n" if path else f"\n{about.strip()}\n"
    meanings = _meanings(attributes)
    yield "| key | type | default | meaning |\n|---|---|---|---|"
    for field in msgspec.structs.fields(struct):
        meaning = meanings[field.name].replace("|", "\\|")
        yield f"| `{field.name}` | {_key_type(field.type)} | {_key_default(field)} | {meaning} |"


def _key_type(kind: Any) -> str:
    """Name a key's type as a TOML file shows it."""
    if list(_inner(kind)):
        return "tables by name" if typing.get_origin(kind) is dict else "table"
    return {
        str: "text",
        int: "whole number",
        bool: "true or false",
        list[str]: "list of texts",
        dict[str, int]: "table of whole numbers",
    }.get(kind, "table")


def _key_default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    if list(_inner(field.type)):
        return (
            "none" if field.default is None else "empty" if field.default_factory is dict else "its defaults"
        )
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def _inner(kind: Any) -> Iterator[type[msgspec.Struct]]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
    for part in typing.get_args(kind):
        yield from _inner(part)


def _meanings(attributes: str) -> dict[str, str]:
    """Split an Attributes block: `a, b: text` gives the text to both; several `x: ...` may share a line after a full stop."""
    found: dict[str, str] = {}
    names: list[str] = []
    text = re.sub(r"\. (?=[a-z_][a-z0-9_]*(?:, [a-z_0-9]+)*: )", ".\n", inspect.cleandoc(attributes))
    for line in text.splitlines():
        match = re.match(r"\s*([a-z_][a-z0-9_]*(?:, [a-z_][a-z0-9_]*)*): (.*)", line)
        if match:
            names = match[1].split(", ")
            for name in names:
                found[name] = match[2].strip()
        else:
            for name in names:
                found[name] += " " + line.strip()
    return found


def configuration() -> str:
    """Return configs/README.md."""
    lines = [_CONFIG_HEAD]
    done: set[type] = set()

    def walk(struct: type[msgspec.Struct], path: str) -> None:
        if struct in done:
            return
        done.add(struct)
        if path:
            lines.extend(_key_lines(struct, path))
        for field in msgspec.structs.fields(struct):
            for inner in _inner(field.type):
                walk(inner, f"{path}.{field.name}")

    walk(Config, "")
    root = os.path.join(ROOT, "strategies")
    lines.append("\n# The settings of the strategies in `strategies/`")
    for spec in _STRATEGIES:
        lines.extend(_key_lines(load_strategy(spec, spec, root).Config, spec))
    return "\n".join(lines).rstrip() + "\n"


def orders() -> str:
    """Return docs/orders.md."""
    from engine.orders.order import render_table

    head = "# An order's life\n\nGenerated from `engine/orders/order.py` by `python -m engine docs`.\n\n"
    return head + render_table().strip() + "\n"


_GUARD_HEAD: Final = """# The guard

Generated from `engine/guard` by `python -m engine docs`.

Nothing reaches the venue but what the guard approved. Every new and every replacing order runs through the controls
below, in this order; the first that says no refuses it, and the refusal names control, limit, value, scope and the
whole in one sentence. Cancels pass in every state. Limits exist for each strategy, each market and the account, are
required, and have no "unlimited" default. A replace counts at the larger of old and new until it is answered; an order
whose outcome is unknown counts in full.

**Soft levels.** At `risk.warn_percent` of a limit its use is warned of, once until it is left: in the log, and as a
`LimitNote` on `guard.feed`, topic `limit`. **Breakers** trip by themselves and latch their scope.

## Halting

`scripts/ctl halt [--strategy S | --market M] --why TEXT` latches, cancels what rests (a mass cancel first where the session
has one, then single cancels as tokens allow), and follows the count of orders still open until there is none. Only
`scripts/ctl arm` of the same scope releases it. The latch is in the guard's journal and in the plain file `<run>/halt`,
and order entry holds it too.

With everything else down, write that file: `touch <run>/halt` halts everything, a line halts its scope:

    all: why
    strategy quote_maker: why
    market BTC-PERP: why

Guard and order entry obey it within 50 ms, and whatever is started later starts halted. A line that can't be understood
halts everything; taking a line or the file away releases nothing. `ctl halt` writes the file by itself when the guard
does not answer or no engine runs. `scripts/ctl drill` tries all of this in the embedded venue.

In an exchange pause not even cancels work: the guard says which orders it can't cancel, tries one every two seconds, and
cancels the rest as soon as one is answered.

## Changing limits

`scripts/ctl limits show` lists every limit with its use; `scripts/ctl limits set NAME VALUE [--strategy S | --market M] --why
TEXT` changes one at once. A change is journalled with who, when and why, and holds over restarts until the configuration
says something else. Tightening below what is in use stops whatever would increase it, and forces no trade.
`limits set collateral DOLLARS` tells the margin watch what the venue shows: FIX has no message for balances, funding,
deposits and withdrawals.

## Pauses

The venue's weekly window (`risk.pause_window`) stops new orders `risk.pause_lead_s` before it begins and cancels what rests. Any
other pause is learned from a refusal that names it. After a pause orders wait for a book told since, and for a
reconciliation begun since.

## The controls
"""


def guard() -> str:
    """Return docs/guard.md."""
    from engine.guard.duties import DUTIES

    lines = [_GUARD_HEAD, "| control | scopes | unit | warns | stops |\n|---|---|---|---|---|"]
    lines += [f"| `{d.control}` | {d.scopes} | {d.unit} | {d.soft} | {d.hard} |" for d in DUTIES]
    lines.append("\n## What each protects from\n")
    said: set[int] = set()
    for duty in DUTIES:
        if id(duty.source) in said:
            continue
        said.add(id(duty.source))
        names = ", ".join(f"`{d.control}`" for d in DUTIES if d.source is duty.source)
        text = inspect.cleandoc(duty.source.__doc__ or "").partition("\n\nAttributes:")[0]
        lines.append(f"### {names}\n\n{text}\n")
    lines += [
        "## Duties\n",
        (
            "SEC: Rule 15c3-5 (17 CFR 240.15c3-5). RTS 6: Commission Delegated Regulation (EU) 2017/589. FIA: Guide to the "
            "Development and Operation of Automated Trading Systems, March 2015. The rules bind brokers and investment "
            "firms, the guide nobody; they are listed because they say what a careful desk does. A paragraph is named where the "
            "control does what it asks for, or a part of it; read the text itself before you rely on it. The accidents show what a "
            "control is for: none is said to have lacked just this one.\n"
        ),
        "| control | SEC 15c3-5 | RTS 6 | FIA | the accident it is meant against |\n|---|---|---|---|---|",
    ]
    lines += [f"| `{d.control}` | {d.sec} | {d.rts6} | {d.fia} | {d.accident} |" for d in DUTIES]
    return "\n".join(lines).rstrip() + "\n"


PAGES: Final = {
    "docs/bus.md": bus,
    "docs/orders.md": orders,
    "docs/guard.md": guard,
    "configs/README.md": configuration,
}


def stale(root: str) -> list[str]:
    """Return the generated files below root that are not current."""
    found = []
    for path, make in PAGES.items():
        try:
            with open(os.path.join(root, path), encoding="utf-8") as file:
                current = file.read()
        except OSError:
            current = ""
        if current != make():
            found.append(path)
    return found


def main(argv: list[str]) -> int:
    """Write the pages; with --check only say which are not current."""
    parser = argparse.ArgumentParser(prog="python -m engine docs", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 when a page is not current"
    )
    arguments = parser.parse_args(argv)
    old = stale(ROOT)
    if arguments.check:
        for path in old:
            print(f"error: {path} is not current; run python -m engine docs", file=sys.stderr)
        return EXIT_FAILURE if old else EXIT_OK
    for path in old:
        with open(os.path.join(ROOT, path), "w", encoding="utf-8") as file:
            file.write(PAGES[path]())
        print(f"wrote {path}")
    return EXIT_OK

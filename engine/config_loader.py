"""From a TOML file to a `Config`, or to one message that names everything that is wrong with it.

An unknown key, a wrong type and a value out of range are each named with file, dotted key, value and what would be
right. All problems are told at once: what doesn't fit the structs is taken as it was probably meant, so that the rest
can still be judged. Decimal numbers are text ("19.5000"), so that no float is ever read.
"""

import difflib
import hashlib
import tomllib
import types
import typing
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from engine.common import schedule
from engine.common.fixed_point import MONEY_DECIMALS, PRICE_DECIMALS, QTY_DECIMALS, parse_fixed
from engine.common.ids import SLOT_MAX
from engine.config import (
    BreakersConfig,
    Config,
    LimitsConfig,
    OpeningConfig,
    RiskConfig,
    SessionConfig,
    StrategyConfig,
)
from engine.errors import ConfigError

TIERS = ("Basic", "Advanced", "Expert", "Premier", "Paragon", "Prime", "Prestige", "unlimited")
_TARGETS = {
    "order_entry": ("KalshiNR", "KalshiRT"),
    "market_data": ("KalshiMD",),
    "drop_copy": ("KalshiDC",),
    "listener": ("KalshiNR", "KalshiRT"),
}
_VENUE_CHOICES = {
    "comp_id": ("session", "Kalshi"),
    "connections": ("per_key", "per_key_and_session"),
    "closed_cl_ord_id": ("refuse", "accept"),
    "logon_bucket": ("session", "write", "read"),
    "new_before_trade": ("accept", "ignore", "refuse"),
    "drop_copy": ("enabled", "not_enabled"),
    "drop_copy_begin": ("window", "any"),
    "mass_cancel_scope": ("session", "connection"),
    "amend_flags": ("keep", "drop"),
    "group_scope": ("subaccount", "account"),
    "rt_after_maintenance": ("continue", "reset"),
    "resend_on_nr": ("reject", "logout"),
    "unclean_drop": ("at_once", "by_heartbeat"),
    "maintenance": ("none", "pause", "disconnect", "closed"),
    "system_reports": ("sessions", "listeners"),
}
_PROCESSES = ("supervisor", "venue", "market_data", "order_entry", "guard", "drop_copy")
_SURELY_MEANT = 0.8  # likeness of two keys, 0 to 1; difflib suggests from 0.6 on
_ENVIRONMENTS = ("embedded", "demo", "production")


def load(path: str, overrides: list[str] | None = None, *, production: bool = False) -> Config:
    """Read, override, validate.

    Args:
        path: the TOML file.
        overrides: `a.b=value` each; the value is TOML, or text when it is no TOML.
        production: the command line allows environment `production`.

    Raises:
        ConfigError: with one line a problem.
    """
    try:
        with open(path, "rb") as file:
            data = tomllib.load(file)
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such configuration file") from None
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from None
    for override in overrides or []:
        _override(data, override)
    problems: list[str] = []
    fitting = _fitting(Config, data, "", problems)
    try:
        config = msgspec.convert(fitting, Config, strict=True)
    except msgspec.ValidationError as error:
        problems = problems or [str(error)]
    else:
        told = {problem.partition(":")[0] for problem in problems}
        found = _problems(config, production=production)
        problems += [problem for problem in found if problem.partition(":")[0] not in told]
        if not problems:
            return config
    raise ConfigError("\n".join(f"{path}: {problem}" for problem in problems))


def for_venue(config: Config, overrides: list[str], name: str) -> Config:
    """Return a configuration as the embedded venue alone needs it: overridden, its [venue] and [instruments] validated.

    Args:
        config: made in code, or loaded; its other sections are left alone. overrides: as of `load`.
        name: what the messages begin with.

    Raises:
        ConfigError: with one line a problem.
    """
    data = _without_none(msgspec.to_builtins(config))
    for override in overrides:
        _override(data, override)
    data["engine"]["name"], data["engine"]["environment"] = "venue", "embedded"
    problems: list[str] = []
    fitting = _fitting(Config, data, "", problems)
    try:
        found = msgspec.convert(fitting, Config, strict=True)
    except msgspec.ValidationError as error:
        problems = problems or [str(error)]
    else:
        problems += [*_market_problems(found), *_venue_problems(found)]
        if not problems:
            return found
    raise ConfigError("\n".join(f"{name}: {problem}" for problem in problems))


def _without_none(value: Any) -> Any:
    # what is not there is absent in a file, and None in a struct
    if isinstance(value, dict):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    return value


def encode(config: Config) -> bytes:
    """Return the effective configuration as JSON, for the processes of an engine."""
    return msgspec.json.format(msgspec.json.encode(config), indent=1)


def decode(data: bytes) -> Config:
    """Read what `encode` wrote."""
    return msgspec.json.decode(data, type=Config)


def digest(config: Config) -> str:
    """Return the SHA-256 of the effective configuration, hex."""
    return hashlib.sha256(msgspec.json.encode(config, order="sorted")).hexdigest()


def _override(data: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    parts = _key_parts(name.strip())
    if not equals or not all(parts):
        raise ConfigError(f"--set {override}: must be key=value, as --set engine.name=mine")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    if not isinstance(value, str) and _kind_of(parts) is str:
        value = text.strip()  # the shell took the quotes of a decimal: its text is exact all the same
    place = data
    for part in parts[:-1]:
        place = place.setdefault(part, {})
        if not isinstance(place, dict):
            raise ConfigError(f"--set {override}: {part} is a value, not a table")
    place[parts[-1]] = value


def _key_parts(name: str) -> list[str]:
    """Split a dotted key; quoted parts may hold dots."""
    parts, current, quoted = [], "", False
    for character in name:
        if character == '"':
            quoted = not quoted
        elif character == "." and not quoted:
            parts.append(current)
            current = ""
        else:
            current += character
    return [*parts, current]


def _kind_of(parts: list[str]) -> Any:
    """Return the type that a key must have, or None for one that isn't known."""
    struct: type | None = Config
    kind: Any = Config
    by_name = False
    for part in parts:
        if by_name:  # the name of a market or strategy
            by_name = False
            continue
        if struct is None:
            return None
        kind = next((field.type for field in msgspec.structs.fields(struct) if field.name == part), None)
        struct, by_name = _struct_of(kind)
    return kind


def _dotted(prefix: str, key: str) -> str:
    key = key if key.replace("_", "").replace("-", "").isalnum() else f'"{key}"'
    return f"{prefix}.{key}" if prefix else key


def _shown(key: str, value: Any) -> str:
    """Write a value for a message: short, and nothing that could be a secret."""
    text = repr(value)
    if "PRIVATE KEY" in text or any(word in key for word in ("secret", "password", "token")):
        return "***"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _struct_of(kind: Any) -> tuple[type | None, bool]:
    """Return (struct class, whether it is the value type of a table by name)."""
    options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    for option in options:
        if isinstance(option, type) and issubclass(option, msgspec.Struct):
            return option, False
        if typing.get_origin(option) is dict:
            value = typing.get_args(option)[1]
            if isinstance(value, type) and issubclass(value, msgspec.Struct):
                return value, True
    return None, False


_TYPE_NAMES = {
    str: "text in quotes",
    int: "a whole number",
    bool: "true or false",
    dict: "a table",
    list: "a list",
}


def _fitting(struct: type, data: Any, prefix: str, problems: list[str]) -> Any:
    """Return the part of data that fits a struct, with what is wrong added to problems."""
    if not isinstance(data, dict):
        problems.append(f"{prefix}: {_shown(prefix, data)} must be a table")
        return {}
    fields = {field.name: field for field in msgspec.structs.fields(struct)}
    fitting: dict[str, Any] = {}
    for given, value in data.items():
        key = _known_key(given, value, fields, prefix, problems)
        if key not in fields or (key != given and key in data):
            continue
        name, kind = _dotted(prefix, key), fields[key].type
        inner, by_name = _struct_of(kind)
        if inner is None:
            found = list(_type_problem(kind, value, name))
            problems += found
            if not found:
                fitting[key] = value
            elif kind is str and isinstance(value, (int, float)):
                fitting[key] = str(value)
        elif not by_name:
            fitting[key] = _fitting(inner, value, name, problems)
        elif isinstance(value, dict):
            fitting[key] = {
                sub: _fitting(inner, part, _dotted(name, sub), problems) for sub, part in value.items()
            }
        else:
            problems.append(f"{name}: {_shown(key, value)} must be a table")
    problems += [
        f"{_dotted(prefix, key)}: is missing and has no default"
        for key, field in fields.items()
        if field.required and key not in data and key not in fitting
    ]
    return fitting


def _known_key(key: str, value: Any, known: Iterable[str], prefix: str, problems: list[str]) -> str:
    """Return the key, or the one that was surely meant; empty when none is that close."""
    if key in known:
        return key
    close = difflib.get_close_matches(key, known, 1)
    hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"
    problems.append(f"{_dotted(prefix, key)}: unknown key (its value is {_shown(key, value)}); {hint}")
    return next(iter(difflib.get_close_matches(key, known, 1, _SURELY_MEANT)), "")


def _type_problem(kind: Any, value: Any, name: str) -> Iterator[str]:
    origin = typing.get_origin(kind) or kind
    if origin is Any:
        return
    if isinstance(value, float) and origin is str:
        yield f'{name}: {value!r} must be text in quotes, as "{value}": a float is not exact'
    elif (origin is int and isinstance(value, bool)) or not isinstance(value, origin):
        yield f"{name}: {value!r} must be {_TYPE_NAMES.get(origin, origin)}"
    elif origin in {list, dict} and value:
        inner = typing.get_args(kind)[-1]
        if inner is not Any and isinstance(inner, type):
            for number, part in enumerate(value.values() if isinstance(value, dict) else value):
                if not isinstance(part, inner) or (inner is int and isinstance(part, bool)):
                    yield f"{name}: item {number + 1}, {part!r}, must be {_TYPE_NAMES.get(inner, inner)}"


# -- what the values mean


def _problems(config: Config, *, production: bool) -> Iterator[str]:
    yield from _engine_problems(config, production=production)
    yield from _session_problems(config)
    yield from _market_problems(config)
    yield from _limit_problems(config)
    yield from _strategy_problems(config)
    yield from _alert_problems(config)
    yield from _venue_problems(config)


def _alert_problems(config: Config) -> Iterator[str]:
    alerts = config.alerts
    if alerts.command and not alerts.command[0]:
        yield 'alerts.command: its first part must name a program, as ["/usr/local/bin/page-me", "{text}"]'
    if alerts.webhook and not alerts.webhook.startswith(("http://", "https://")):
        yield "alerts.webhook: must begin with https:// or http:// (its value is not shown: it may be a secret)"
    yield from _at_least("alerts.unknown_s", alerts.unknown_s, 1)
    yield from _at_least("alerts.timeout_s", alerts.timeout_s, 1, 300)
    yield from _at_least("alerts.again_s", alerts.again_s, 0)


def _choice(name: str, value: str, known: tuple[str, ...]) -> Iterator[str]:
    if value not in known:
        yield f"{name}: {value!r} is not one of {', '.join(known)}"


def _at_least(name: str, value: int, low: int, high: int | None = None) -> Iterator[str]:
    if value < low or (high is not None and value > high):
        yield f"{name}: {value} must be {f'{low} to {high}' if high is not None else f'at least {low}'}"


def _decimal(name: str, text: str, decimals: int, *, low: int | None = None, unit: str = "") -> Iterator[str]:
    try:
        value = parse_fixed(text, decimals)
    except ValueError as error:
        yield f"{name}: {error}; {unit or 'a decimal number'} with at most {decimals} decimals is needed"
        return
    if low is not None and value < low:
        yield f"{name}: {text!r} is too small; it must be {'positive' if low else 'zero or more'}"


def _engine_problems(config: Config, *, production: bool) -> Iterator[str]:
    engine = config.engine
    if not engine.name or not engine.name.replace("-", "").replace("_", "").isalnum():
        yield f"engine.name: {engine.name!r} must be letters, digits, - and _"
    yield from _choice("engine.environment", engine.environment, _ENVIRONMENTS)
    yield from _choice("engine.shutdown", engine.shutdown, ("cancel", "leave"))
    yield from _choice("engine.guard_loss", engine.guard_loss, ("cancel", "hold"))
    yield from _choice("engine.journal_sync", engine.journal_sync, ("normal", "full", "off"))
    yield from _at_least("engine.shutdown_s", engine.shutdown_s, 1, 600)
    yield from _at_least("engine.snapshot_rows", engine.snapshot_rows, 100, 10_000_000)
    yield from _at_least("engine.guard_loss_ms", engine.guard_loss_ms, 300, 60_000)
    yield from _at_least("engine.silent_kill_s", engine.silent_kill_s, 2, 600)
    if engine.environment == "production":
        if not production:
            yield "engine.environment: 'production' also needs --production on the command line: it trades real money"
        if engine.journal_sync == "off":
            yield "engine.journal_sync: 'off' is for measuring only and not taken in production"
    elif production:
        yield f"engine.environment: is {engine.environment!r}, but --production was given; set it to 'production' or leave the flag out"
    if not engine.run_dir:
        yield "engine.run_dir: '' must name a directory, such as .run/mine"
    processes = (*_PROCESSES, *(f"strategy.{name}" for name in config.strategies))
    for name in engine.pass_environment:
        if not name.isascii() or not name.isidentifier():
            yield f"engine.pass_environment: {name!r} must be the name of an environment variable"
    for name, cpu in engine.cpus.items():
        yield from _choice("engine.cpus", name, processes)
        yield from _at_least(f"engine.cpus.{name}", cpu, 0, 4095)
    order_entry = config.sessions.order_entry
    if engine.shutdown == "leave" and order_entry.cancel_orders_on_disconnect:
        yield (
            "engine.shutdown: 'leave' needs sessions.order_entry.cancel_orders_on_disconnect = false, "
            "because that flag also acts on a graceful Logout"
        )


def _session_problems(config: Config) -> Iterator[str]:
    found: dict[str, SessionConfig | None] = {name: getattr(config.sessions, name) for name in _TARGETS}
    key_ids: dict[str, str] = {}
    for name, session in found.items():
        if session is None:
            continue
        prefix = f"sessions.{name}"
        yield from _choice(f"{prefix}.target_comp_id", session.target_comp_id, _TARGETS[name])
        yield from _at_least(f"{prefix}.heart_bt_int_s", session.heart_bt_int_s, 3, 600)
        yield from _at_least(f"{prefix}.logon_timeout_ms", session.logon_timeout_ms, 100, 600_000)
        yield from _at_least(f"{prefix}.message_retention_h", session.message_retention_h, 1, 72)
        for pin in ("pin_sha256", "next_pin_sha256"):
            text = getattr(session, pin).replace(":", "")
            if text and (len(text) != 64 or not all(c in "0123456789abcdefABCDEF" for c in text)):
                yield f"{prefix}.{pin}: {text[:20]!r}... must be 64 hex digits"
        if name == "listener" and not session.skip_pending_exec_reports:
            yield f"{prefix}.skip_pending_exec_reports: false, but a listener session needs 21011=Y"
        if config.engine.environment == "embedded":
            continue
        if not session.host:
            yield f"{prefix}.host: is missing; the gateway's host name is needed"
        yield from _at_least(f"{prefix}.port", session.port, 1, 65535)
        yield from _key_id_problems(prefix, session, key_ids)


def _key_id_problems(prefix: str, session: SessionConfig, seen: dict[str, str]) -> Iterator[str]:
    if not session.key_file:
        yield f"{prefix}.key_file: is missing; the path of the RSA private key (PEM, mode 0600) is needed"
    try:
        uuid.UUID(session.key_id)
    except ValueError:
        shown = f"{session.key_id[:4]}***" if session.key_id else "''"
        yield f"{prefix}.key_id: {shown} is not a UUID; the FIX API key's id is needed"
        return
    key_id = session.key_id.lower()
    if key_id in seen:
        yield f"{prefix}.key_id: is the key of {seen[key_id]} too; the venue takes one connection a key, so each session needs its own"
    seen.setdefault(key_id, prefix)


def _market_problems(config: Config) -> Iterator[str]:
    if not config.instruments:
        yield "instruments: at least one market is needed"
    for symbol, instrument in config.instruments.items():
        prefix = f'instruments."{symbol}"'
        if (
            not symbol
            or not symbol.isprintable()
            or not symbol.isascii()
            or "=" in symbol
            or " " in symbol
            or len(symbol) > 64
        ):
            yield f"{prefix}: {symbol!r} is no symbol: printable ASCII without spaces or '=', at most 64 characters"
        yield from _decimal(f"{prefix}.tick", instrument.tick, PRICE_DECIMALS, low=1, unit="dollars")
        yield from _decimal(f"{prefix}.lot", instrument.lot, 0, low=1, unit="whole contracts")
        yield from _at_least(f"{prefix}.contract_multiplier", instrument.contract_multiplier, 1, 1_000_000)
        yield from _at_least(f"{prefix}.collar_bp", instrument.collar_bp, 1, 10_000)
        yield from _at_least(f"{prefix}.initial_margin_bp", instrument.initial_margin_bp, 0, 10_000)
        yield from _at_least(f"{prefix}.maintenance_margin_bp", instrument.maintenance_margin_bp, 0, 10_000)
    for symbol, opening in config.opening.items():
        prefix = f'opening."{symbol}"'
        if symbol not in config.instruments:
            yield f'{prefix}: there is no [instruments."{symbol}"]'
        yield from _opening_problems(prefix, opening)


def _opening_problems(prefix: str, opening: OpeningConfig) -> Iterator[str]:
    found = [
        *_decimal(f"{prefix}.qty", opening.qty, QTY_DECIMALS, unit="contracts"),
        *_decimal(f"{prefix}.cost", opening.cost, MONEY_DECIMALS, unit="dollars"),
    ]
    yield from found
    if found:
        return
    qty, cost = parse_fixed(opening.qty, QTY_DECIMALS), parse_fixed(opening.cost, MONEY_DECIMALS)
    if (qty > 0) != (cost > 0) or (qty < 0) != (cost < 0):
        right = (
            "write what was paid in dollars, contracts * average price * contract_multiplier, negative when short, "
            'as cost = "-234.00" for qty = "-12" at 19.50; any other cost makes up profit or loss'
            if qty
            else "a flat position has no cost"
        )
        yield f"{prefix}.cost: {opening.cost!r} can't be right for qty = {opening.qty!r}: {right}"


def _limits(prefix: str, limits: LimitsConfig) -> Iterator[str]:
    for key, decimals in (
        ("max_order_qty", QTY_DECIMALS),
        ("max_position", QTY_DECIMALS),
        ("max_order_notional", MONEY_DECIMALS),
        ("max_gross_notional", MONEY_DECIMALS),
        ("max_loss", MONEY_DECIMALS),
    ):
        yield from _decimal(f"{prefix}.{key}", getattr(limits, key), decimals, low=1)
    yield from _at_least(f"{prefix}.max_open_orders", limits.max_open_orders, 1)
    yield from _at_least(f"{prefix}.max_unacknowledged", limits.max_unacknowledged, 1)
    if limits.max_drawdown:
        yield from _decimal(f"{prefix}.max_drawdown", limits.max_drawdown, MONEY_DECIMALS, low=1)


def _limit_problems(config: Config) -> Iterator[str]:
    risk, rate = config.risk, config.rate
    yield from _limits("risk.account", risk.account)
    for symbol, limits in risk.markets.items():
        yield from _limits(f'risk.markets."{symbol}"', limits)
        if symbol not in config.instruments:
            yield f'risk.markets."{symbol}": there is no [instruments."{symbol}"]'
    yield from _choice("risk.unknown_orders", risk.unknown_orders, ("block", "allow"))
    for key in (
        "intent_max_age_ms",
        "command_expiry_ms",
        "stale_feed_ms",
        "skew_gate_ms",
        "worker_silent_ms",
        "unreconciled_gate_s",
        "kill_within_s",
    ):
        yield from _at_least(f"risk.{key}", getattr(risk, key), 1)
    yield from _at_least("risk.duplicate_window_ms", risk.duplicate_window_ms, 0)
    yield from _at_least("risk.warn_percent", risk.warn_percent, 1, 100)
    yield from _at_least("risk.pause_lead_s", risk.pause_lead_s, 0, 86_400)
    yield from _calendar_problems(risk)
    yield from _breaker_problems(risk.breakers)
    margin = config.margin
    if margin.collateral:
        yield from _decimal("margin.collateral", margin.collateral, MONEY_DECIMALS, low=1, unit="dollars")
    yield from _at_least("margin.warn_percent", margin.warn_percent, 1, 100)
    yield from _at_least("margin.stop_percent", margin.stop_percent, margin.warn_percent, 100)
    yield from _choice("rate.tier", rate.tier, (*TIERS, "explicit"))
    if rate.tier == "explicit":
        for key in ("write_per_s", "write_capacity", "read_per_s", "read_capacity"):
            yield from _at_least(f"rate.{key}", getattr(rate, key), 1)
    yield from _at_least("rate.cost", rate.cost, 0)
    for name, cost in rate.costs.items():
        yield from _at_least(f"rate.costs.{name}", cost, 0)
    yield from _at_least("rate.cancel_reserve_percent", rate.cancel_reserve_percent, 0, 90)
    yield from _at_least("rate.drop_copy_read_percent", rate.drop_copy_read_percent, 1, 99)
    reconciliation = config.reconciliation
    yield from _at_least("reconciliation.sweep_s", reconciliation.sweep_s, 1)
    yield from _at_least("reconciliation.overlap", reconciliation.overlap, 0, 100_000)
    yield from _at_least("reconciliation.missing_there_s", reconciliation.missing_there_s, 1)
    yield from _at_least("reconciliation.alarm_age_s", reconciliation.alarm_age_s, 1)
    yield from _decimal(
        "reconciliation.tolerance", reconciliation.tolerance, MONEY_DECIMALS, low=0, unit="dollars"
    )
    yield from _decimal(
        "reconciliation.tolerance_qty", reconciliation.tolerance_qty, QTY_DECIMALS, low=0, unit="contracts"
    )


def _calendar_problems(risk: RiskConfig) -> Iterator[str]:
    checks: tuple[tuple[str, Callable[[], object]], ...] = (
        ("zone", lambda: schedule.zone(risk.zone)),
        ("day_start", lambda: schedule.parse_time(risk.day_start)),
        ("pause_window", lambda: risk.pause_window and schedule.Window(risk.pause_window, "UTC")),
    )
    for key, make in checks:
        try:
            make()
        except ValueError as error:
            yield f"risk.{key}: {error}"


def _breaker_problems(breakers: BreakersConfig) -> Iterator[str]:
    for key in (
        "reject_warn_percent", "reject_halt_percent", "cancels_per_fill_warn", "cancels_per_fill_halt", "repeat_max"
    ):  # fmt: skip
        yield from _at_least(f"risk.breakers.{key}", getattr(breakers, key), 0)
    for key in ("reject_window_s", "reject_min", "cancel_window_s", "cancel_min", "repeat_window_s"):
        yield from _at_least(f"risk.breakers.{key}", getattr(breakers, key), 1)
    for key in ("on_liquidation", "on_foreign_fill"):
        yield from _choice(f"risk.breakers.{key}", getattr(breakers, key), ("halt", "market", "alert"))


def _strategy_problems(config: Config) -> Iterator[str]:
    slots: dict[int, str] = {}
    for name, strategy in config.strategies.items():
        prefix = f"strategies.{name}"
        if not name.replace("_", "").replace("-", "").isalnum():
            yield f"{prefix}: the name must be letters, digits, - and _"
        yield from _at_least(f"{prefix}.slot", strategy.slot, 1, SLOT_MAX)
        if strategy.slot in slots:
            yield f"{prefix}.slot: {strategy.slot} is the slot of {slots[strategy.slot]} too; a slot is part of every ClOrdID and never shared"
        slots.setdefault(strategy.slot, name)
        module, colon, cls = strategy.strategy.partition(":")
        if not colon or not module or not cls.isidentifier():
            yield f"{prefix}.strategy: {strategy.strategy!r} must be module:Class"
        yield from _at_least(f"{prefix}.order_group_limit", strategy.order_group_limit, 0, 1_000_000)
        yield from _limits(f"{prefix}.limits", strategy.limits)
        yield from _choice(f"{prefix}.over_budget", strategy.over_budget, ("refuse", "queue"))
        yield from _at_least(f"{prefix}.queue_ms", strategy.queue_ms, 1, 3_600_000)
        yield from _at_least(f"{prefix}.max_messages_per_s", strategy.max_messages_per_s, 50, 1_000_000)
        yield from _at_least(f"{prefix}.max_message_burst", strategy.max_message_burst, 50, 1_000_000)
        yield from _strategy_markets(prefix, strategy, config)


def _strategy_markets(prefix: str, strategy: StrategyConfig, config: Config) -> Iterator[str]:
    if not strategy.markets:
        yield f"{prefix}.markets: at least one market is needed"
    for symbol in strategy.markets:
        if symbol not in config.instruments:
            close = difflib.get_close_matches(symbol, config.instruments, 1)
            yield f'{prefix}.markets: there is no [instruments."{symbol}"]' + (
                f"; did you mean {close[0]}?" if close else ""
            )
        elif symbol not in config.risk.markets:
            yield f'{prefix}.markets: {symbol} has no limits; [risk.markets."{symbol}"] is needed'


def _venue_problems(config: Config) -> Iterator[str]:
    venue = config.venue
    if config.engine.environment != "embedded":
        return
    if venue is None:
        yield "venue: is missing; environment 'embedded' needs a [venue]"
        return
    yield from _choice("venue.tier", venue.tier, (*TIERS, "explicit"))
    if venue.tier == "explicit":
        for key in ("write_per_s", "write_capacity", "read_per_s", "read_capacity"):
            yield from _at_least(f"venue.{key}", getattr(venue, key) or getattr(config.rate, key), 1)
    for key, choices in _VENUE_CHOICES.items():
        yield from _choice(f"venue.{key}", getattr(venue, key), choices)
    yield from _at_least("venue.sending_time_tolerance_s", venue.sending_time_tolerance_s, 1, 3600)
    yield from _at_least("venue.heart_bt_int_min_s", venue.heart_bt_int_min_s, 1, 60)
    yield from _at_least("venue.stale_code", venue.stale_code, 0, 99)
    for name in venue.accounts:
        if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
            yield f"venue.accounts: {name!r} must be letters, digits, - and _"
    yield from _decimal("venue.balance", venue.balance, MONEY_DECIMALS, low=0, unit="dollars")
    yield from _at_least("venue.book_changes_per_s", venue.book_changes_per_s, 0, 5000)
    yield from _at_least("venue.symbols_max", venue.symbols_max, 1)
    yield from _at_least("venue.rt_recent_max", venue.rt_recent_max, 4, 100_000)
    for key in ("maker_fee_bp", "taker_fee_bp"):
        yield from _at_least(f"venue.{key}", getattr(venue, key), -10_000, 100_000)
    for session, port in venue.ports.items():
        yield from _choice("venue.ports", session, ("KalshiNR", "KalshiRT", "KalshiDC", "KalshiMD"))
        yield from _at_least(f"venue.ports.{session}", port, 0, 65535)
    for symbol in dict.fromkeys(symbol for s in config.strategies.values() for symbol in s.markets):
        if symbol in config.instruments and symbol not in venue.markets:
            yield f'venue.markets: the embedded venue has no {symbol}, which is traded; [venue.markets."{symbol}"] is needed'
    for symbol, market in venue.markets.items():
        prefix = f'venue.markets."{symbol}"'
        yield from _decimal(f"{prefix}.price", market.price, PRICE_DECIMALS, low=1, unit="dollars")
        yield from _decimal(f"{prefix}.step", market.step, PRICE_DECIMALS, low=1, unit="dollars")
        for key in ("level_qty", "spread_ticks"):
            yield from _at_least(f"{prefix}.{key}", getattr(market, key), 1, 10_000)
        for key in ("levels", "volatility_bp", "trades_per_s", "position_max", "short_max"):
            yield from _at_least(f"{prefix}.{key}", getattr(market, key), 0, 10_000)

"""A strategy's own settings: the `config` table of its section, checked by the class's Config struct.

Every complaint names the strategy, the key, the value and what would be right, since the person who reads it looks at a
TOML file, not at this code.
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import msgspec

from engine.common.fixed_point import PRICE_DECIMALS, QTY_DECIMALS, parse_fixed
from engine.config import Config
from engine.errors import ConfigError
from engine.strategy.api import Instrument, Strategy

_PATH = re.compile(r"^(?P<what>.*) - at `\$\.(?P<path>[^`]+)`$", re.DOTALL)


def strategy_config(name: str, cls: type[Strategy], values: Mapping[str, Any]) -> msgspec.Struct:
    """Make a strategy's Config from its table.

    Raises:
        ConfigError: a key is unknown or missing, or a value is not what the Config struct takes.
    """
    where = f"[strategies.{name}.config]"
    struct: object = cls.Config
    if not (isinstance(struct, type) and issubclass(struct, msgspec.Struct)):
        raise ConfigError(
            f"{where}: {cls.__name__}.Config must be a subclass of StrategyConfigBase, it is {struct!r}"
        )
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    for key, value in values.items():
        if key not in fields:
            near = get_close_matches(key, fields, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            known = ", ".join(fields) or "no keys at all"
            raise ConfigError(
                f"{where}: unknown key {key!r} (value {value!r}); {hint}{cls.__name__} takes: {known}"
            )
    missing = [key for key, field in fields.items() if field.required and key not in values]
    if missing:
        raise ConfigError(f"{where}: missing key {missing[0]!r}, which {cls.__name__} needs")
    try:
        return msgspec.convert(dict(values), struct)
    except msgspec.ValidationError as problem:
        raise ConfigError(f"{where}: {_explain(str(problem), values)}") from problem


def _explain(text: str, values: Mapping[str, Any]) -> str:
    match = _PATH.match(text)
    if match is None:  # raised by the struct's own __post_init__: it speaks for itself
        return text
    value: Any = values
    for part in re.findall(r"[^.\[\]]+", match["path"]):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return f"{match['path']}: {match['what']}"
    what = match["what"]
    return f"{match['path']} = {value!r}: {what[:1].lower()}{what[1:]}"


def instruments_of(config: Config, symbols: list[str]) -> dict[str, Instrument]:
    """Return what is known of the named markets, in engine units.

    Raises:
        ConfigError: a market is not in [instruments], or its tick or lot is no such number.
    """
    found: dict[str, Instrument] = {}
    for symbol in symbols:
        known = config.instruments.get(symbol)
        if known is None:
            raise ConfigError(
                f"market {symbol!r} is not in [instruments]; known: {', '.join(config.instruments) or 'none'}"
            )
        numbers = []
        for key, text, decimals in (("tick", known.tick, PRICE_DECIMALS), ("lot", known.lot, QTY_DECIMALS)):
            try:
                number = parse_fixed(text, decimals)
            except ValueError as problem:
                raise ConfigError(f'[instruments."{symbol}"]: {key} = {text!r}: {problem}') from problem
            if number <= 0:
                raise ConfigError(f'[instruments."{symbol}"]: {key} = {text!r}: must be positive')
            numbers.append(number)
        found[symbol] = Instrument(
            symbol=symbol, tick=numbers[0], lot=numbers[1], contract_multiplier=known.contract_multiplier
        )
    return found

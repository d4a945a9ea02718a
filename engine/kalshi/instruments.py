"""The instrument table: what the configuration says of each market, as ints (FIX has no query for it)."""

from collections.abc import Mapping

import msgspec

from engine.common.fixed_point import ONE_CONTRACT, PRICE_DECIMALS, QTY_DECIMALS, parse_fixed
from engine.config import InstrumentConfig
from engine.errors import ConfigError


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """One market.

    Attributes:
        tick: 1/10000 dollar. lot: 1/100 contract. contract_multiplier: dollars a contract per dollar of price.
        initial_margin_bp, maintenance_margin_bp, collar_bp: basis points.
    """

    symbol: str
    tick: int
    lot: int
    contract_multiplier: int
    initial_margin_bp: int
    maintenance_margin_bp: int
    collar_bp: int


def _number(symbol: str, key: str, text: str, decimals: int) -> int:
    where = f'[instruments."{symbol}"] {key} = {text!r}'
    try:
        value = parse_fixed(text, decimals)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None
    if value <= 0:
        raise ConfigError(f"{where}: must be above 0")
    return value


def instrument(symbol: str, config: InstrumentConfig) -> Instrument:
    """Return one market of the table.

    Raises:
        ConfigError: a number is no decimal, not positive, or finer than the venue takes.
    """
    if not symbol or not symbol.isascii() or not symbol.isprintable() or " " in symbol:
        raise ConfigError(f"[instruments] {symbol!r} is no symbol: printable ASCII without blanks is needed")
    for key in ("contract_multiplier", "initial_margin_bp", "maintenance_margin_bp", "collar_bp"):
        if getattr(config, key) <= 0:
            raise ConfigError(f'[instruments."{symbol}"] {key} = {getattr(config, key)}: must be above 0')
    lot = _number(symbol, "lot", config.lot, QTY_DECIMALS)
    if lot % ONE_CONTRACT:
        raise ConfigError(
            f'[instruments."{symbol}"] lot = {config.lot!r}: the venue takes whole contracts only'
        )
    return Instrument(
        symbol=symbol,
        tick=_number(symbol, "tick", config.tick, PRICE_DECIMALS),
        lot=lot,
        contract_multiplier=config.contract_multiplier,
        initial_margin_bp=config.initial_margin_bp,
        maintenance_margin_bp=config.maintenance_margin_bp,
        collar_bp=config.collar_bp,
    )


def instruments(configs: Mapping[str, InstrumentConfig]) -> dict[str, Instrument]:
    """Return the table by symbol, in the configuration's order. Raises ConfigError as `instrument`."""
    return {symbol: instrument(symbol, config) for symbol, config in configs.items()}

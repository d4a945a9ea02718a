"""Whether the limits of a configuration can be held at all; asked before anything is started.

Above all: whatever may be open can be cancelled within `kill_within_s` at the tier's write rate, one order at a time.
A mass cancel and a full bucket make it faster, but nothing relies on them.
"""

from engine.common.ids import SLOT_MAX
from engine.config import Config, LimitsConfig
from engine.guard.lines import Scope
from engine.guard.markets import BP, Market
from engine.guard.rate_limit import EXPLICIT, write_rate
from engine.kalshi.rate_limits import TIERS


def _limits_problems(where: str, limits: LimitsConfig) -> list[str]:
    try:
        scope = Scope(where, limits)
    except ValueError as error:
        return [f"{where}: {error}"]
    names = ("max_order_qty", "max_order_notional", "max_position", "max_gross_notional", "max_loss")
    problems = [
        f"{where}.{name} must be above zero, it is {getattr(limits, name)!r}"
        for name in names
        if getattr(scope, name) <= 0
    ]
    return problems + [
        f"{where}.{name} must be at least 1, it is {getattr(limits, name)}"
        for name in ("max_open_orders", "max_unacknowledged")
        if getattr(limits, name) < 1
    ]


def _rate_problems(config: Config) -> list[str]:
    rate, risk = config.rate, config.risk
    try:
        per_s, capacity = write_rate(rate)
    except KeyError:
        return [f"rate.tier {rate.tier!r} is none of {', '.join(TIERS)}, unlimited, explicit"]
    if rate.tier == EXPLICIT and (per_s <= 0 or capacity <= 0):
        return ["rate.write_per_s and rate.write_capacity must be above zero with tier `explicit`"]
    if rate.cost < 0 or any(cost < 0 for cost in rate.costs.values()):
        return ["rate.cost and rate.costs must not be negative"]
    if not 0 <= rate.cancel_reserve_percent < 100:
        return [f"rate.cancel_reserve_percent must be 0 to 99, it is {rate.cancel_reserve_percent}"]
    if not capacity:
        return []
    problems = []
    reserve = capacity * rate.cancel_reserve_percent // 100
    dearest = max(rate.costs.get("D", rate.cost), rate.costs.get("G", rate.cost))
    if dearest + reserve > capacity:
        problems.append(
            f"rate: an order costs {dearest} tokens, but only {capacity - reserve} are ever there for it"
        )
    cancel = rate.costs.get("F", rate.cost)
    if cancel > capacity:
        problems.append(f"rate: a cancel costs {cancel} tokens, but the bucket holds {capacity}")
    if risk.account.max_open_orders * cancel > per_s * risk.kill_within_s:
        can = per_s * risk.kill_within_s // cancel
        problems.append(
            f"risk.account.max_open_orders is {risk.account.max_open_orders}, but at {per_s} tokens a second and {cancel} "
            f"a cancel a halt can cancel only {can} within risk.kill_within_s = {risk.kill_within_s}"
        )
    return problems


def _instrument_problems(config: Config) -> list[str]:
    problems = []
    for symbol, instrument in config.instruments.items():
        where = f"instruments.{symbol}"
        try:
            market = Market(symbol, instrument, configured=True)
        except ValueError as error:
            problems.append(f"{where}.tick: {error}")
            continue
        if market.tick <= 0 or market.multiplier <= 0:
            problems.append(f"{where}: tick and contract_multiplier must be above zero")
        if not 0 <= market.collar_bp < BP:
            problems.append(f"{where}.collar_bp must be 0 to {BP - 1}, it is {market.collar_bp}")
    return problems


def _strategy_problems(config: Config) -> list[str]:
    problems = []
    slots: dict[int, str] = {}
    for name, strategy in config.strategies.items():
        where = f"strategies.{name}"
        if not 1 <= strategy.slot <= SLOT_MAX:
            problems.append(f"{where}.slot must be 1 to {SLOT_MAX}, it is {strategy.slot}")
        if strategy.slot in slots:
            problems.append(f"{where}.slot {strategy.slot} is also that of {slots[strategy.slot]}")
        slots.setdefault(strategy.slot, name)
        problems += [
            f"{where}.markets: {symbol} has no [{table}]"
            for symbol in strategy.markets
            for table, known in (("instruments", config.instruments), ("risk.markets", config.risk.markets))
            if symbol not in known
        ]
        problems += _limits_problems(f"{where}.limits", strategy.limits)
    return problems


def check_config(config: Config) -> list[str]:
    """Return what is wrong with the limits of a configuration, one sentence each; empty when it can be held.

    Above all: everything that may be open can be cancelled within kill_within_s at the tier's write rate.
    """
    risk = config.risk
    problems = _limits_problems("risk.account", risk.account)
    for symbol, limits in risk.markets.items():
        problems += _limits_problems(f"risk.markets.{symbol}", limits)
        if symbol not in config.instruments:
            problems.append(f"risk.markets.{symbol} has no [instruments]")
    if risk.unknown_orders not in ("block", "allow"):
        problems.append(f"risk.unknown_orders is `block` or `allow`, not {risk.unknown_orders!r}")
    for name in (
        "intent_max_age_ms",
        "command_expiry_ms",
        "stale_feed_ms",
        "worker_silent_ms",
        "kill_within_s",
    ):
        if getattr(risk, name) < 1:
            problems.append(f"risk.{name} must be at least 1, it is {getattr(risk, name)}")
    if risk.duplicate_window_ms < 0:
        problems.append(f"risk.duplicate_window_ms must not be negative, it is {risk.duplicate_window_ms}")
    return problems + _strategy_problems(config) + _instrument_problems(config) + _rate_problems(config)

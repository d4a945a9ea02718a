"""From the configuration to the venue's parts: exchange, flow, token buckets."""

from engine.common.fixed_point import parse_fixed, parse_money
from engine.config import Config, VenueConfig
from engine.venue.accounts import Account, Market
from engine.venue.buckets import Buckets, Budget, budget_of
from engine.venue.exchange import Exchange
from engine.venue.flow import MAKER, TAKER, FlowMarket
from engine.venue.terms import Terms


def exchange_of(config: Config, venue: VenueConfig, names: list[str]) -> Exchange:
    """Make the exchange with its markets and the accounts `names`, each with the configured balance."""
    markets = []
    for symbol, market in venue.markets.items():
        instrument = config.instruments.get(symbol)
        terms: dict[str, int] = {}
        if instrument is not None:
            terms = {
                "tick": parse_fixed(instrument.tick, 4),
                "lot": parse_fixed(instrument.lot, 2),
                "multiplier": instrument.contract_multiplier,
                "initial_margin_bp": instrument.initial_margin_bp,
                "maintenance_margin_bp": instrument.maintenance_margin_bp,
            }
        markets.append(
            Market(
                symbol=symbol,
                price=parse_fixed(market.price, 4),
                position_max=market.position_max * 100,
                short_max=market.short_max * 100,
                **terms,
            )
        )
    balance = parse_money(venue.balance)
    accounts = [Account(name, balance) for name in names]
    accounts += [Account(name, 0, synthetic=True) for name in (MAKER, TAKER)]
    terms_of_trade = Terms(
        maker_fee=venue.maker_fee_bp,
        taker_fee=venue.taker_fee_bp,
        closed_ids_again=venue.closed_cl_ord_id == "accept",
        amend_keeps_flags=venue.amend_flags == "keep",
        group_subaccounts=venue.group_scope == "subaccount",
        stale_code=venue.stale_code,
    )
    return Exchange(markets, accounts, terms_of_trade)


def flow_markets(venue: VenueConfig) -> list[FlowMarket]:
    """Return the markets that have a synthetic flow."""
    return [
        FlowMarket(
            symbol=symbol,
            price=parse_fixed(market.price, 4),
            volatility_bp=market.volatility_bp,
            step=parse_fixed(market.step, 4),
            spread_steps=max(market.spread_ticks, 1),
            levels=market.levels,
            level_qty=market.level_qty,
            trades_per_s=market.trades_per_s,
        )
        for symbol, market in venue.markets.items()
        if market.levels
    ]


def buckets_of(config: Config, venue: VenueConfig) -> Buckets:
    """Return an account's token buckets; costs of [venue] stand before those of [rate], which the engine reckons with."""
    rate = config.rate
    explicit = Budget(
        venue.read_per_s or rate.read_per_s,
        venue.read_capacity or rate.read_capacity,
        venue.write_per_s or rate.write_per_s,
        venue.write_capacity or rate.write_capacity,
    )
    return Buckets(budget_of(venue.tier, explicit), rate.cost, {**rate.costs, **venue.costs})

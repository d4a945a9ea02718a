"""The configuration of a simulated run, drawn from its seed: every flag that changes how the venue or the engine behaves."""

import random
from typing import Any, Final

import msgspec

from engine.config import Config, SessionConfig, StrategyConfig
from engine.tools.simulation.restless import Restless

# Other readings of the venue's documents (`VenueConfig`), each drawn now and then.
_READINGS: Final[tuple[tuple[str, object], ...]] = (
    ("closed_cl_ord_id", "accept"),
    ("require_raw_data_length", True),
    ("entry_times", True),
    ("costs", {"F": 2}),
    ("logon_bucket", "write"),
    ("logon_bucket", "read"),
    ("sending_time_tolerance_s", 120),
    ("require_heart_bt_int", True),
    ("new_before_trade", "ignore"),
    ("stale_code", 8),
    ("security_status", False),
    ("drop_copy_begin", "any"),
    ("mass_cancel_scope", "connection"),
    ("amend_flags", "drop"),
    ("group_scope", "account"),
    ("rt_after_maintenance", "reset"),
    ("resend_on_nr", "logout"),
    ("unclean_drop", "by_heartbeat"),
    ("system_reports", "listeners"),
)
_READING = 0.08
_TIERS = ("Basic", "Advanced", "Expert", "Premier", "Premier")
_GROUP_LIMITS = (0, 5, 15, 40, 1000)  # 0: none; the smaller, the sooner it is triggered
_LISTENER = 0.3


def drawn(config: Config, seed: int) -> tuple[Config, dict[str, type]]:
    """Return a configuration with its flags drawn, and the strategy classes to run in it by name."""
    rng = random.Random(f"{seed}/settings")  # noqa: S311 - a repeatable run is the point
    modes = random.Random(f"{seed}/modes")  # noqa: S311
    replace = msgspec.structs.replace
    leave = rng.random() < 0.4
    sessions = config.sessions
    heart_bt_int_s = rng.choice((3, 4, 6))
    order_entry = replace(
        sessions.order_entry,
        target_comp_id="KalshiRT" if rng.random() < 0.4 else "KalshiNR",
        cancel_orders_on_disconnect=not leave and rng.random() < 0.5,
        enable_ioc_cancel_report=rng.random() < 0.6,
        preserve_original_order_qty=rng.random() < 0.7,
        skip_pending_exec_reports=rng.random() < 0.6,
        use_expired_ord_status=rng.random() < 0.7,
        always_emit_new_before_trade=rng.random() < 0.2,
        heart_bt_int_s=heart_bt_int_s,
    )
    tier = rng.choice(_TIERS)
    assert config.venue is not None, "only an embedded venue can be simulated"
    markets = {symbol: replace(market, trades_per_s=6) for symbol, market in config.venue.markets.items()}
    strategies, classes = _strategies(config, seed, rng, modes)
    readings: dict[str, Any] = {name: value for name, value in _READINGS if rng.random() < _READING}
    drawn_config = replace(
        config,
        engine=replace(
            config.engine,
            shutdown="leave" if leave else "cancel",
            guard_loss=rng.choice(("cancel", "hold")),
            guard_loss_ms=rng.choice((500, 2000)),
        ),
        sessions=replace(
            sessions,
            order_entry=order_entry,
            market_data=replace(sessions.market_data, heart_bt_int_s=heart_bt_int_s),
            drop_copy=replace(sessions.drop_copy, heart_bt_int_s=heart_bt_int_s),
            listener=_listener(modes, heart_bt_int_s),
        ),
        rate=replace(config.rate, tier=tier),
        risk=replace(config.risk, unknown_orders=rng.choice(("block", "block", "allow"))),
        reconciliation=replace(config.reconciliation, sweep_s=rng.choice((2, 5))),
        strategies=strategies,
        venue=replace(
            config.venue,
            seed=seed,
            tier=tier,
            markets=markets,
            book_changes_per_s=20,
            comp_id=rng.choice(("session", "Kalshi")),
            connections=rng.choice(("per_key", "per_key_and_session")),
            **readings,
        ),
    )
    return drawn_config, classes


def _listener(rng: random.Random, heart_bt_int_s: int) -> SessionConfig | None:
    if rng.random() >= _LISTENER:
        return None
    return SessionConfig(
        target_comp_id=rng.choice(("KalshiNR", "KalshiRT")),
        skip_pending_exec_reports=True,
        heart_bt_int_s=heart_bt_int_s,
    )


def _strategies(
    config: Config, seed: int, rng: random.Random, modes: random.Random
) -> tuple[dict[str, StrategyConfig], dict[str, type]]:
    grouped = modes.random() < 0.5
    strategies = {}
    classes: dict[str, type] = {}
    for name, strategy in config.strategies.items():
        restless = rng.random() < 0.75
        settings = {"seed": seed, "percent": rng.randint(5, 50)} if restless else strategy.config
        limits = msgspec.structs.replace(
            strategy.limits, max_position=rng.choice((strategy.limits.max_position, "25", "15"))
        )
        strategies[name] = msgspec.structs.replace(
            strategy,
            limits=limits,
            config=settings,
            conflate=rng.random() < 0.7,
            cancel_on_exit=rng.random() < 0.7,
            over_budget=modes.choice(("refuse", "queue")),
            queue_ms=modes.choice((50, 500, 3000)),
            order_group_limit=modes.choice(_GROUP_LIMITS) if grouped else 0,
        )
        if restless:
            classes[name] = Restless
    return strategies, classes

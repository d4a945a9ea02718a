"""What can be configured: one TOML file into frozen structs; unknown keys are refused.

Durations are in the unit that the key's name ends with. Prices, quantities and money are written as decimal text
("19.5000", "10", "2500.00"), never as TOML floats, and become ints in the engine's units on loading. The table in
configs/README.md is generated from these structs: the comment line after a field (its docstring under `Attributes`)
is what a user reads there.
"""

from typing import Any

import msgspec


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[engine]: the engine as a whole.

    Attributes:
        name: what this engine is called in process titles, logs and reports.
        environment: `embedded`, `demo` or `production`; production also needs `--production` on the command line.
        run_dir: where sockets, journals, logs and keys of this engine live; relative to where the command is run.
        shutdown: `cancel` (cancel resting orders, wait for the venue's word) or `leave` (let them rest while the engine is down, with `cancel_orders_on_disconnect = false`; the next start cancels them, because FIX has no query for open orders); required.
        shutdown_s: how long a stop may wait for cancels and logouts before it says what still rests.
        guard_loss: what order entry does when the guard is lost: `cancel` or `hold`.
        guard_loss_ms: silence after which the guard counts as lost.
        silent_kill_s: a process silent for so long is killed and started again.
        journal_sync: `normal` (survives a killed process) or `full` (survives a power cut).
        snapshot_rows: so many rows of the order journal after its last snapshot the next one is made; a start replays no more than about that.
        raw_fix_log: write each session's FIX messages, masked, to the log directory.
        cpus: process name to the CPU it is pinned to (`guard`, `order_entry`, `strategy.quote_maker`...).
        pass_environment: environment variables that processes and alert hooks get besides PATH, HOME, the locale, TZ and SSL_CERT_FILE (what PYTHONPATH names is importable for strategies only); strategy code can read them.
    """

    name: str
    shutdown: str
    environment: str = "embedded"
    run_dir: str = ".run/engine"
    shutdown_s: int = 10
    guard_loss: str = "cancel"
    guard_loss_ms: int = 2000
    silent_kill_s: int = 5
    journal_sync: str = "normal"
    snapshot_rows: int = 50_000
    raw_fix_log: bool = True
    cpus: dict[str, int] = {}
    pass_environment: list[str] = []


class SessionConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[sessions.order_entry], [sessions.market_data], [sessions.drop_copy], [sessions.listener].

    Attributes:
        host, port: of the gateway; empty and 0 with the embedded venue, which says them itself.
        target_comp_id: `KalshiNR` or `KalshiRT`, `KalshiMD`, `KalshiDC`.
        key_id: the FIX API key (a UUID): SenderCompID(49).
        key_file: the RSA private key, PEM PKCS#8, readable by its owner only.
        server_name: name to verify the certificate for, when it isn't the host.
        ca_file: certificate authorities to trust, PEM; empty means the system's.
        pin_sha256, next_pin_sha256: SHA-256 of the server's public key (SubjectPublicKeyInfo), hex; either passes.
        heart_bt_int_s: HeartBtInt(108), at least 3.
        cancel_orders_on_disconnect: tag 8013 (order entry).
        enable_ioc_cancel_report: tag 21007; false: a partly filled IOC counts as open until drop copy has shown its fills.
        preserve_original_order_qty: tag 21008.
        skip_pending_exec_reports: tag 21011. use_expired_ord_status: tag 21012.
        always_emit_new_before_trade: tag 21026, documented for event contracts only; sent only when true.
        message_retention_h: tag 20200 (KalshiRT).
        send_raw_data_length: send RawDataLength(95) before RawData(96).
        logon_timeout_ms: how long a Logon may stay unanswered.
    """

    target_comp_id: str
    host: str = ""
    port: int = 0
    key_id: str = ""
    key_file: str = ""
    server_name: str = ""
    ca_file: str = ""
    pin_sha256: str = ""
    next_pin_sha256: str = ""
    heart_bt_int_s: int = 10
    cancel_orders_on_disconnect: bool = True
    enable_ioc_cancel_report: bool = True
    preserve_original_order_qty: bool = True
    skip_pending_exec_reports: bool = True
    use_expired_ord_status: bool = True
    always_emit_new_before_trade: bool = False
    message_retention_h: int = 24
    send_raw_data_length: bool = True
    logon_timeout_ms: int = 10_000


class SessionsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[sessions]: the FIX sessions; each needs an API key of its own.

    Attributes:
        order_entry: KalshiNR or KalshiRT.
        market_data: KalshiMD.
        drop_copy: KalshiDC.
        listener: an optional listener session (20126=Y), an independent live witness.
    """

    order_entry: SessionConfig
    market_data: SessionConfig
    drop_copy: SessionConfig
    listener: SessionConfig | None = None


class InstrumentConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[instruments."BTC-PERP"]: what the engine must know about a market; FIX has no query for it.

    Attributes:
        tick: smallest price step in dollars, a multiple of 0.0001.
        contract_multiplier: dollars per contract per dollar of price.
        lot: smallest quantity step in contracts; only whole contracts are taken for now.
        initial_margin_bp, maintenance_margin_bp: margin in basis points of notional, for the embedded venue and margin watch.
        collar_bp: how far an aggressive price may be from the market, in basis points; the venue has no such limit.
    """

    tick: str = "0.0001"
    contract_multiplier: int = 1
    lot: str = "1"
    initial_margin_bp: int = 1000
    maintenance_margin_bp: int = 500
    collar_bp: int = 200


class OpeningConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[opening."BTC-PERP"]: the position that was held before the journal began; used only while the journal has none.

    Attributes:
        qty: contracts, signed.
        cost: dollars paid for them, contracts * average price * contract_multiplier (negative when short); needed unless qty is 0, for profit and loss.
        as_of: date or time at which it was read at the venue, for the report.
    """

    qty: str
    cost: str = "0"
    as_of: str = ""


class LimitsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[risk.account], [risk.markets."BTC-PERP"], [strategies.NAME.limits]: pre-trade limits of one scope.

    Attributes:
        max_order_qty: contracts in one order; of a replace, what it would leave open.
        max_order_notional: dollars in one order; of a replace, what it would leave open.
        max_position: contracts, worst case: position and every open or unknown order of one side filled.
        max_open_orders: orders not terminal. max_gross_notional: dollars, positions and open orders.
        max_loss: dollars lost today, realised, marked and fees, before the scope latches.
        max_drawdown: dollars below the highest profit that was ever reached, before the scope latches; empty: twice max_loss.
        max_unacknowledged: requests in flight that nothing has answered.
    """

    max_order_qty: str
    max_order_notional: str
    max_position: str
    max_open_orders: int
    max_gross_notional: str
    max_loss: str
    max_unacknowledged: int = 50
    max_drawdown: str = ""


class BreakersConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[risk.breakers]: what no healthy strategy does for long; warned of, then latched until an operator arms it. 0: never.

    Attributes:
        reject_warn_percent, reject_halt_percent: share of a strategy's answered requests that the venue refused.
        reject_window_s: over how long it is counted. reject_min: refusals in it before it counts.
        cancels_per_fill_warn, cancels_per_fill_halt: cancels and replaces of a strategy for each of its fills.
        cancel_window_s: over how long they are counted. cancel_min: cancels in it before they count.
        repeat_max: identical orders (side, price, quantity) of a strategy in a market within repeat_window_s; one more halts it.
        repeat_window_s: over how long they are counted.
        on_liquidation: what a liquidation by the venue does: `halt` everything, halt its `market`, or only `alert`.
        on_foreign_fill: the same, of a fill by an order that this engine did not send.
    """

    reject_warn_percent: int = 20
    reject_halt_percent: int = 50
    reject_window_s: int = 60
    reject_min: int = 20
    cancels_per_fill_warn: int = 500
    cancels_per_fill_halt: int = 0
    cancel_window_s: int = 600
    cancel_min: int = 1000
    repeat_max: int = 0
    repeat_window_s: int = 10
    on_liquidation: str = "halt"
    on_foreign_fill: str = "alert"


class MarginConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[margin]: the account's collateral, watched by what trades say of it (1704) and the instruments' initial_margin_bp.

    Attributes:
        collateral: dollars of collateral when the journal began, read at the venue; empty: not watched. FIX tells nothing of funding, deposits and withdrawals: after those say `ctl limits set collateral`.
        warn_percent: of the equity that margin may take before it is alarmed.
        stop_percent: of the equity that margin may take; beyond only what reduces passes.
    """

    collateral: str = ""
    warn_percent: int = 70
    stop_percent: int = 90


class RateConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[rate]: the venue's token buckets for this account.

    Attributes:
        tier: `Basic`, `Advanced`, `Expert`, `Premier`, `Paragon`, `Prime`, `Prestige`, `unlimited`, or `explicit`.
        write_per_s, write_capacity, read_per_s, read_capacity: tokens, with tier `explicit`.
        cost: tokens a message.
        costs: MsgType to tokens, where one differs.
        cancel_reserve_percent: part of the Write bucket that only cancels, group triggers and Logon may use.
        drop_copy_read_percent: drop copy's share of the Read bucket; market data has the rest.
    """

    tier: str = "Basic"
    write_per_s: int = 0
    write_capacity: int = 0
    read_per_s: int = 0
    read_capacity: int = 0
    cost: int = 10
    costs: dict[str, int] = {}
    cancel_reserve_percent: int = 20
    drop_copy_read_percent: int = 50


class RiskConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[risk]: what the guard holds everything to.

    Attributes:
        account: limits over all strategies and markets.
        markets: limits of each traded market, over all strategies.
        intent_max_age_ms: an intent older than this is refused.
        command_expiry_ms: an approved command older than this is refused by order entry.
        stale_feed_ms: silence of market_data after which its markets count as stale.
        unknown_orders: `block` (an order with an unknown outcome keeps the gate closed) or `allow` (it only counts at its worst).
        unreconciled_gate_s: new orders stop when nothing was reconciled for so long.
        skew_gate_ms: new orders stop when the venue's clock is further from ours.
        worker_silent_ms: a worker silent for so long gets no new orders through and its resting ones are cancelled.
        duplicate_window_ms: the same order again from the same strategy within this time is refused (0: never).
        kill_within_s: a halt must be able to cancel everything within this time at the configured rate.
        warn_percent: of a limit at which its use is warned of, once.
        zone: time zone of day_start and pause_window.
        day_start: when a new day's profit and loss begins, HH:MM.
        pause_window: the venue's weekly maintenance, during which nothing new is sent; empty: none. Without effect where the embedded venue has none either.
        pause_lead_s: so long before it nothing new is sent any more.
        pause_cancel: what rests is cancelled at that moment.
        breakers: what trips by itself.
    """

    account: LimitsConfig
    markets: dict[str, LimitsConfig]
    intent_max_age_ms: int = 500
    command_expiry_ms: int = 500
    stale_feed_ms: int = 1000
    unknown_orders: str = "block"
    unreconciled_gate_s: int = 7200
    skew_gate_ms: int = 5000
    worker_silent_ms: int = 1000
    duplicate_window_ms: int = 0
    kill_within_s: int = 10
    warn_percent: int = 80
    zone: str = "America/New_York"
    day_start: str = "00:00"
    pause_window: str = "Thu 03:00-05:00"
    pause_lead_s: int = 60
    pause_cancel: bool = True
    breakers: BreakersConfig = BreakersConfig()


class ReconciliationConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[reconciliation]: drop copy.

    Attributes:
        sweep_s: a sweep every so many seconds.
        overlap: how far a sweep reaches back before the watermark, in reports.
        missing_there_s: a report of the session that drop copy does not show after so long is a break.
        gate_on_break: an open break of kind position, different or missing_there above the tolerance keeps new orders out.
        tolerance: dollars that two witnesses' fees and collateral of one report may differ by without keeping orders out.
        tolerance_qty: contracts that our position may differ by from 704/705 without keeping orders out.
        alarm_age_s: nothing was reconciled for so long: an alarm; `risk.unreconciled_gate_s` keeps new orders out.
    """

    sweep_s: int = 10
    overlap: int = 20
    missing_there_s: int = 30
    gate_on_break: bool = True
    tolerance: str = "0"
    tolerance_qty: str = "0"
    alarm_age_s: int = 3600


class StrategyConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[strategies.NAME]: one worker process.

    Attributes:
        strategy: `module:Class`, from strategies/ or any installed package.
        slot: 1 to 4095, explicit, never given to another strategy: it is part of every ClOrdID.
        markets: symbols that it sees and may trade.
        config: handed to the class, validated by its Config struct.
        limits: pre-trade limits of this strategy.
        conflate: apply all queued book updates before the strategy is called once; trades are never conflated.
        cancel_on_exit: the guard cancels its resting orders when the worker is gone.
        over_budget: what becomes of a request when the Write bucket has no tokens for it: `refuse` (at once) or `queue` (it waits in the guard, is judged again when it leaves, and refused after queue_ms).
        queue_ms: how long a request may wait with over_budget `queue`.
        order_group_limit: contracts that may be filled within 15 s before the venue itself cancels what rests and takes
            nothing more of this strategy; 1 to 1000000; 0: no order group.
        max_messages_per_s, max_message_burst: messages to the guard, lasting and at once; a worker that sends more is halted, and what is over it dropped undecoded.
        run_as: Unix user that the worker runs as, against malice and not only faults; it reaches nothing of the engine but its own sockets, which no other user can open. The engine must be started by root.
    """

    strategy: str
    slot: int
    markets: list[str]
    limits: LimitsConfig
    config: dict[str, Any] = {}
    conflate: bool = True
    cancel_on_exit: bool = True
    over_budget: str = "refuse"
    queue_ms: int = 1000
    order_group_limit: int = 0
    max_messages_per_s: int = 5000
    max_message_burst: int = 15_000
    run_as: str = ""


class AlertsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[alerts]: who is told of a halt, a trip, a liquidation, a break, an UNKNOWN order, a session that is down, a closed gate.

    Attributes:
        command: program and arguments, run once an alert, without a shell; `{kind}`, `{key}`, `{text}` and `{engine}` in an argument are filled in (without any of them the text is added as the last argument), the alert as JSON is its standard input.
        webhook: http:// or https:// address to which each alert is posted as JSON.
        unknown_s: an order with an unknown outcome is alerted after so long.
        timeout_s: a hook that runs longer is killed.
        again_s: a condition that ended and begins again is not told again within this time.
    """

    command: list[str] = []
    webhook: str = ""
    unknown_s: int = 30
    timeout_s: int = 10
    again_s: int = 60


class VenueMarketConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[venue.markets."BTC-PERP"]: a market of the embedded venue and its synthetic flow.

    Attributes:
        price: where the random walk starts, dollars. volatility_bp: its standard deviation per square root of a second.
        spread_ticks: distance of the synthetic best bid and offer, in `step`s. step: distance of synthetic levels, dollars.
        levels: synthetic levels a side; 0: no synthetic flow in this market. level_qty: contracts on each, at most.
        trades_per_s: synthetic aggressive orders a second.
        position_max: contracts an account may hold either way, EXCEEDED_PER_MARKET_RISK_LIMIT beyond; 0: any.
        short_max: contracts an account may be short, EXCEEDED_SELL_POSITION_FLOOR beyond; 0: any.
    """

    price: str
    volatility_bp: int = 3
    step: str = "0.0100"
    spread_ticks: int = 2
    levels: int = 8
    level_qty: int = 50
    trades_per_s: int = 4
    position_max: int = 0
    short_max: int = 0


class VenueConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[venue]: the embedded venue; used when [engine] environment is `embedded`.

    Attributes:
        seed: of the synthetic flow.
        markets: symbol to market.
        book_changes_per_s: of the synthetic flow over all markets, 20 to 2000.
        balance: dollars in the engine's account at first.
        tier: Read and Write buckets that it enforces, by name as in [rate].
        maker_fee_bp, taker_fee_bp: of notional, in hundredths of a basis point (150 is 1.5 bp).
        comp_id: what it puts into SenderCompID(49): `session` (the session's name) or `Kalshi`.
        connections: one connection `per_key` or `per_key_and_session`.
        closed_cl_ord_id: whether the id of a closed order may come again: `refuse` or `accept`.
        require_raw_data_length: refuse a Logon without RawDataLength(95).
        entry_times: add MDEntryDate(272) and MDEntryTime(273) to incremental entries.
        symbols_max: symbols of one market-data session.
        host: address that it listens on. ports: session name to port; 0 or absent takes a free one.
        read_per_s, read_capacity, write_per_s, write_capacity: its buckets in tokens, with tier `explicit`; 0: as in [rate].
        costs: MsgType to tokens that it takes, where they differ from [rate].
        logon_bucket: which bucket a Logon drains: its `session`'s, `write` or `read`.
        sending_time_tolerance_s: how far SendingTime(52) may be off: 30, or 120 by another page.
        heart_bt_int_min_s: least HeartBtInt(108): 3, or 4 by another page.
        require_heart_bt_int: refuse a Logon without HeartBtInt(108), which has a default of 30.
        new_before_trade: flag 21026 at Logon: `accept`, `ignore`, or `refuse` with Reject 373=2.
        stale_code: OrdRejReason(103) of a stale order: 5, or 8 by another page.
        security_status: whether 35=e is known; else 35=j 380=3.
        drop_copy: `enabled` or `not_enabled` (every request is refused with 21004=5).
        drop_copy_begin: a BeginExecID before the window is refused (`window`) or cut to it (`any`).
        mass_cancel_scope: 530=6 reaches all orders of the `session`, or those of this `connection`.
        amend_flags: after an amend post only, group and pause flag are kept (`keep`) or gone (`drop`).
        group_scope: an order group made with a subaccount binds its orders to it: `subaccount` or `account`.
        rt_after_maintenance: KalshiRT may `continue` its numbers after maintenance, or must `reset`.
        resend_on_nr: a ResendRequest without retransmission gets a Reject (`reject`) or ends the session (`logout`).
        unclean_drop: a connection that ends without Logout is noticed `at_once` or `by_heartbeat`.
        maintenance: Thursdays 03:00 to 05:00 New York: `none`, `pause` (trading pause), `disconnect` (sessions end as it
            begins) or `closed` (and no Logon until it is over).
        system_reports: liquidations and exit triggers go to the account's order-entry `sessions`, or to `listeners` only.
        accounts: more accounts, each with `balance` and API keys of its own.
        keep_state: accounts, orders and KalshiRT's messages survive its own restart.
        rt_recent_max: messages of a KalshiRT session in memory; older ones are read from the journal when asked for.
    """

    markets: dict[str, VenueMarketConfig]
    seed: int = 1
    book_changes_per_s: int = 40
    balance: str = "1000000"
    tier: str = "Premier"
    maker_fee_bp: int = 100
    taker_fee_bp: int = 300
    comp_id: str = "session"
    connections: str = "per_key_and_session"
    closed_cl_ord_id: str = "refuse"
    require_raw_data_length: bool = False
    entry_times: bool = False
    symbols_max: int = 200
    host: str = "127.0.0.1"
    ports: dict[str, int] = {}
    read_per_s: int = 0
    read_capacity: int = 0
    write_per_s: int = 0
    write_capacity: int = 0
    costs: dict[str, int] = {}
    logon_bucket: str = "session"
    sending_time_tolerance_s: int = 30
    heart_bt_int_min_s: int = 3
    require_heart_bt_int: bool = False
    new_before_trade: str = "accept"
    stale_code: int = 5
    security_status: bool = True
    drop_copy: str = "enabled"
    drop_copy_begin: str = "window"
    mass_cancel_scope: str = "session"
    amend_flags: str = "keep"
    group_scope: str = "subaccount"
    rt_after_maintenance: str = "continue"
    resend_on_nr: str = "reject"
    unclean_drop: str = "at_once"
    maintenance: str = "pause"
    system_reports: str = "sessions"
    accounts: list[str] = []
    keep_state: bool = True
    rt_recent_max: int = 10_000


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file.

    Attributes:
        engine: the engine as a whole.
        sessions: FIX sessions.
        instruments: markets by symbol.
        opening: positions from before the journal, by symbol.
        risk: limits. rate: token buckets. margin: collateral. reconciliation: drop copy.
        strategies: workers by name.
        alerts: who is told when something is wrong.
        venue: the embedded venue.
    """

    engine: EngineConfig
    sessions: SessionsConfig
    instruments: dict[str, InstrumentConfig]
    risk: RiskConfig
    strategies: dict[str, StrategyConfig]
    opening: dict[str, OpeningConfig] = {}
    rate: RateConfig = RateConfig()
    margin: MarginConfig = MarginConfig()
    reconciliation: ReconciliationConfig = ReconciliationConfig()
    alerts: AlertsConfig = AlertsConfig()
    venue: VenueConfig | None = None

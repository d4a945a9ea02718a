"""From TOML to a Config: what is refused, and that the message says file, key, value and what would be right."""

import os
import re

import msgspec
import pytest

from engine import config_loader
from engine.errors import EXIT_CONFIG, ConfigError
from engine.kalshi.rate_limits import TIERS
from engine.tools.venue_alone import default_config
from strategies.quote_maker import QuoteMakerConfig

CONFIGS = os.path.join(os.path.dirname(config_loader.__file__), os.pardir, "configs")
DEMO = os.path.join(CONFIGS, "demo.toml")
KEY_IDS = [f"6f1c2f5e-0000-4000-8000-00000000000{n}" for n in range(4)]
FILLED_IN = [
    text
    for n, session in enumerate(("order_entry", "market_data", "drop_copy"))
    for text in (
        f'sessions.{session}.key_id="{KEY_IDS[n]}"',
        f'sessions.{session}.key_file="~/{session}.pem"',
    )
]


def refused(*overrides, path=DEMO, production=False):
    """The lines of the refusal, without the file's name, which each must begin with."""
    with pytest.raises(ConfigError) as caught:
        config_loader.load(path, list(overrides), production=production)
    assert caught.value.exit_code == EXIT_CONFIG
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines), lines
    return [line.removeprefix(f"{path}: ") for line in lines]


def test_the_demo_is_good_and_needs_nothing():
    """The embedded venue, two markets, two strategies, nothing to fill in."""
    config = config_loader.load(DEMO)
    assert config.engine.environment == "embedded"
    assert config.engine.shutdown == "cancel"
    assert list(config.instruments) == ["BTC-PERP", "ETH-PERP"]
    assert {name: s.slot for name, s in config.strategies.items()} == {"quote_maker": 1, "momentum_taker": 2}
    assert config.rate.tier == "Premier"
    assert {symbol: opening.qty for symbol, opening in config.opening.items()} == {
        "BTC-PERP": "0",
        "ETH-PERP": "0",
    }


@pytest.mark.parametrize(("name", "production"), [("kalshi-demo", False), ("kalshi-production", True)])
def test_kalshi_configurations_lack_only_key_ids_and_key_files(name, production):
    """What a user has to fill in is named, and nothing else is wrong."""
    path = os.path.join(CONFIGS, f"{name}.toml")
    lines = refused(path=path, production=production)
    assert {re.split(": ", line)[0] for line in lines} == {
        f"sessions.{session}.{key}"
        for session in ("order_entry", "market_data", "drop_copy")
        for key in ("key_id", "key_file")
    }
    config = config_loader.load(path, FILLED_IN, production=production)
    assert config.sessions.market_data.port == 8233


@pytest.mark.parametrize(
    ("name", "orders", "market_data"),
    [
        ("kalshi-demo", "margin-fix.demo.kalshi.co", "margin-marketdata.fix.demo.kalshi.co"),
        (
            "kalshi-production",
            "margin-mm.fix.elections.kalshi.com",
            "margin-marketdata.fix.elections.kalshi.com",
        ),
    ],
)
def test_kalshi_configurations_have_the_venues_hosts_and_ports(name, orders, market_data):
    """venue.md section 1: order entry 8228, drop copy 8229 on one host, market data 8233 on another."""
    path = os.path.join(CONFIGS, f"{name}.toml")
    sessions = config_loader.load(path, FILLED_IN, production="production" in name).sessions
    assert [(s.host, s.port, s.target_comp_id) for s in (sessions.order_entry, sessions.drop_copy)] == [
        (orders, 8228, "KalshiNR"),
        (orders, 8229, "KalshiDC"),
    ]
    assert (sessions.market_data.host, sessions.market_data.port) == (market_data, 8233)


def test_production_needs_the_flag_and_the_flag_needs_production():
    """Real money is asked for twice, in the file and on the command line."""
    path = os.path.join(CONFIGS, "kalshi-production.toml")
    assert refused(*FILLED_IN, path=path) == [
        "engine.environment: 'production' also needs --production on the command line: it trades real money"
    ]
    (line,) = refused(production=True)
    assert line.startswith("engine.environment: is 'embedded', but --production was given")


def test_an_unknown_key_is_named_with_its_value_and_the_closest_known_one():
    """File, dotted key, value, suggestion."""
    assert refused("engine.shutdwon=1") == [
        "engine.shutdwon: unknown key (its value is 1); did you mean shutdown?"
    ]
    (line,) = refused("engine.zzz=1")
    assert line.startswith("engine.zzz: unknown key (its value is 1); known here: name, shutdown, ")
    assert refused('instruments."BTC-PERP".tik=1')[0].endswith("did you mean tick?")


def test_a_value_that_may_be_a_secret_is_not_shown():
    """A key pasted into the wrong place does not end in a log."""
    (line,) = refused('sessions.order_entry.private="-----BEGIN PRIVATE KEY-----MIIE"')
    assert "MIIE" not in line
    assert "***" in line


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ('risk.zone="Mars"', "risk.zone: 'Mars' is no time zone"),
        ('risk.day_start="24:00"', "risk.day_start: '24:00' is no time of day"),
        ('risk.pause_window="Thursday"', "risk.pause_window: 'Thursday' is no weekly window"),
        ("risk.warn_percent=0", "risk.warn_percent: 0 must be 1 to 100"),
        ("risk.pause_lead_s=-1", "risk.pause_lead_s: -1 must be"),
        ("risk.breakers.reject_min=0", "risk.breakers.reject_min: 0 must be at least 1"),
        (
            'risk.breakers.on_liquidation="sell"',
            "risk.breakers.on_liquidation: 'sell' is not one of halt, market, alert",
        ),
        ('risk.account.max_drawdown="0"', "risk.account.max_drawdown: '0' is too small"),
        ('margin.collateral="much"', "margin.collateral: 'much'"),
        ("margin.stop_percent=50", "margin.stop_percent: 50 must be 70 to 100"),
    ],
)
def test_what_the_guard_cannot_hold_is_named_with_its_value(override, said):
    (line,) = refused(override)
    assert line.startswith(said), line


def test_all_problems_are_told_at_once_one_a_line(tmp_path):
    """A misspelt key, a float, a wrong type and a wrong meaning in one go."""
    text = open(DEMO, encoding="utf-8").read()  # noqa: SIM115
    text = text.replace('shutdown = "cancel"', 'shutdwon = "stop"').replace('price = "4.2000"', "price = 4.2")
    text = text.replace("max_open_orders = 20", 'max_open_orders = "20"').replace(
        "slot = 2", "slot = 1\nconflate = 1"
    )
    path = tmp_path / "mine.toml"
    path.write_text(text)
    found = {line.partition(": ")[0] for line in refused(path=str(path))}
    assert {
        "engine.shutdwon",
        "risk.account.max_open_orders",
        "strategies.momentum_taker.conflate",
        "venue.markets.ETH-PERP.price",
    } <= found


def test_what_a_misspelt_key_meant_is_judged_too(tmp_path):
    """So that the second try is not refused for what the first already showed."""
    path = tmp_path / "mine.toml"
    path.write_text(
        open(DEMO, encoding="utf-8").read().replace('shutdown = "cancel"', 'shutdwon = "stop"')  # noqa: SIM115
    )
    assert refused(path=str(path)) == [
        "engine.shutdwon: unknown key (its value is 'stop'); did you mean shutdown?",
        "engine.shutdown: 'stop' is not one of cancel, leave",
    ]


def test_a_float_is_refused_with_the_hint_to_quote_it(tmp_path):
    """19.5 in TOML is a binary fraction; "19.5" is exact."""
    path = tmp_path / "mine.toml"
    path.write_text(open(DEMO, encoding="utf-8").read().replace('price = "19.5000"', "price = 19.5"))  # noqa: SIM115
    assert refused(path=str(path)) == [
        'venue.markets.BTC-PERP.price: 19.5 must be text in quotes, as "19.5": a float is not exact'
    ]


def test_an_override_of_a_decimal_needs_no_quotes():
    """The shell takes the quotes; the text that is left is exact."""
    config = config_loader.load(
        DEMO, ["risk.account.max_order_notional=12.5", 'venue.markets."ETH-PERP".price=4.25']
    )
    assert config.risk.account.max_order_notional == "12.5"
    assert config.venue.markets["ETH-PERP"].price == "4.25"


def test_overrides_are_toml_or_else_text():
    """Numbers, lists and bare words all do."""
    config = config_loader.load(
        DEMO,
        [
            "engine.name=mine",
            "venue.seed=7",
            'strategies.momentum_taker.markets=["ETH-PERP"]',
            "engine.raw_fix_log=false",
        ],
    )
    assert (config.engine.name, config.venue.seed, config.engine.raw_fix_log) == ("mine", 7, False)
    assert config.strategies["momentum_taker"].markets == ["ETH-PERP"]


@pytest.mark.parametrize("override", ["engine.name", "=1", "engine..name=1", "engine.name.x=1"])
def test_a_malformed_override_says_how_to_write_it(override):
    """It names the override, not the file."""
    with pytest.raises(ConfigError, match=r"^--set "):
        config_loader.load(DEMO, [override])


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("engine.shutdown=keep", "engine.shutdown: 'keep' is not one of cancel, leave"),
        ("engine.shutdown=leave", "engine.shutdown: 'leave' needs sessions.order_entry.cancel_orders_on_disconnect = false"),
        ("engine.environment=test", "engine.environment: 'test' is not one of embedded, demo, production"),
        ("engine.name=", "engine.name: '' must be letters"),
        ("engine.run_dir=", "engine.run_dir: '' must name a directory"),
        ("engine.cpus={gaurd=1}", "engine.cpus: 'gaurd' is not one of supervisor"),
        ("engine.guard_loss_ms=10", "engine.guard_loss_ms: 10 must be 300 to 60000"),
        ("sessions.order_entry.heart_bt_int_s=2", "sessions.order_entry.heart_bt_int_s: 2 must be 3 to 600"),
        ("sessions.drop_copy.target_comp_id=KalshiMD", "sessions.drop_copy.target_comp_id: 'KalshiMD' is not one of KalshiDC"),
        ("sessions.order_entry.message_retention_h=73", "sessions.order_entry.message_retention_h: 73 must be 1 to 72"),
        ("sessions.market_data.pin_sha256=abc", "sessions.market_data.pin_sha256: 'abc'... must be 64 hex digits"),
        ("instruments.BTC-PERP.tick=0.00005", "instruments.\"BTC-PERP\".tick: '0.00005' has more than 4 decimals"),
        ("instruments.BTC-PERP.tick=0", "instruments.\"BTC-PERP\".tick: '0' is too small"),
        ("instruments.BTC-PERP.tick=x", "instruments.\"BTC-PERP\".tick: 'x' is not a decimal number"),
        ("instruments.BTC-PERP.lot=0.5", "instruments.\"BTC-PERP\".lot: '0.5' has more than 0 decimals"),
        ("opening.SOL-PERP.qty=1", 'opening."SOL-PERP": there is no [instruments."SOL-PERP"]'),
        ("opening.BTC-PERP.qty=0.125", "opening.\"BTC-PERP\".qty: '0.125' has more than 2 decimals"),
        ("opening.BTC-PERP.qty=12", "opening.\"BTC-PERP\".cost: '0' can't be right for qty = '12': write what "),
        ("opening.BTC-PERP={qty='-12', cost='234'}", "opening.\"BTC-PERP\".cost: '234' can't be right for qty = '-12'"),
        ("opening.BTC-PERP.cost=1", "opening.\"BTC-PERP\".cost: '1' can't be right for qty = '0': a flat"),
        ("opening.BTC-PERP={qty='-12', cost='-234'}", None),
        ("risk.account.max_loss=0", "risk.account.max_loss: '0' is too small; it must be positive"),
        ("risk.account.max_position=-1", "risk.account.max_position: '-1' is too small; it must be positive"),
        ("risk.account.max_open_orders=0", "risk.account.max_open_orders: 0 must be at least 1"),
        ("risk.unknown_orders=ignore", "risk.unknown_orders: 'ignore' is not one of block, allow"),
        ("rate.tier=premier", "rate.tier: 'premier' is not one of Basic, "),
        ("rate.tier=explicit", "rate.write_per_s: 0 must be at least 1"),
        ("rate.cancel_reserve_percent=95", "rate.cancel_reserve_percent: 95 must be 0 to 90"),
        ("rate.drop_copy_read_percent=0", "rate.drop_copy_read_percent: 0 must be 1 to 99"),
        ("strategies.momentum_taker.slot=1", "strategies.momentum_taker.slot: 1 is the slot of quote_maker too"),
        ("strategies.momentum_taker.slot=0", "strategies.momentum_taker.slot: 0 must be 1 to 4095"),
        ("strategies.momentum_taker.slot=4096", "strategies.momentum_taker.slot: 4096 must be 1 to 4095"),
        ("strategies.momentum_taker.strategy=x", "strategies.momentum_taker.strategy: 'x' must be module:Class"),
        ('strategies.momentum_taker.markets=["BTC-PRP"]', 'strategies.momentum_taker.markets: there is no [instruments."BTC-PRP"]; did you mean BTC-PERP?'),
        ("strategies.momentum_taker.markets=[]", "strategies.momentum_taker.markets: at least one market is needed"),
        ("instruments.SOL-PERP.tick=0.01", None),
        ("venue.tier=best", "venue.tier: 'best' is not one of Basic"),
        ("venue.tier=explicit", "venue.write_per_s: 0 must be at least 1"),
        ("venue.unclean_drop=never", "venue.unclean_drop: 'never' is not one of at_once, by_heartbeat"),
        ('venue.accounts=["a b"]', "venue.accounts: 'a b' must be letters"),
        ("venue.sending_time_tolerance_s=0", "venue.sending_time_tolerance_s: 0 must be 1 to 3600"),
        ("venue.ports.KalshiXX=1", "venue.ports: 'KalshiXX' is not one of KalshiNR"),
        ("venue.markets.ETH-PERP.levels=-1", 'venue.markets."ETH-PERP".levels: -1 must be 0 to 10000'),
        ("sessions.listener={target_comp_id='KalshiNR', skip_pending_exec_reports=false}", "sessions.listener.skip_pending_exec_reports: false, but a listener"),
    ],
)  # fmt: skip
def test_each_rule_names_the_key_the_value_and_what_is_right(override, expected):
    """One wrong value at a time; None: this one is good."""
    if expected is None:
        config_loader.load(DEMO, [override])
        return
    assert any(line.startswith(expected) for line in refused(override)), refused(override)


def test_the_loss_that_stops_a_scope_has_no_default(tmp_path):
    """A limit that nobody chose is none."""
    path = tmp_path / "mine.toml"
    text = open(DEMO, encoding="utf-8").read()  # noqa: SIM115
    path.write_text(re.sub(r"max_loss = .*\n", "", text))
    assert refused(path=str(path)) == [
        f"{scope}.max_loss: is missing and has no default"
        for scope in (
            "risk.account",
            "risk.markets.BTC-PERP",
            "risk.markets.ETH-PERP",
            "strategies.quote_maker.limits",
            "strategies.momentum_taker.limits",
        )
    ]


@pytest.mark.parametrize(("name", "production"), [("kalshi-demo", False), ("kalshi-production", True)])
def test_kalshi_configurations_stop_a_loop_but_no_quote(name, production):
    """A window shorter than the pause that the quote maker keeps between two orders of a side."""
    config = config_loader.load(os.path.join(CONFIGS, f"{name}.toml"), FILLED_IN, production=production)
    assert 0 < config.risk.duplicate_window_ms < QuoteMakerConfig().min_interval_ms


def test_a_traded_market_needs_limits_and_a_market_at_the_embedded_venue():
    """A market without [risk.markets] or [venue.markets] can't be traded by a strategy."""
    found = refused(
        "instruments.SOL-PERP.tick=0.01", 'strategies.momentum_taker.markets=["BTC-PERP", "SOL-PERP"]'
    )
    assert found == [
        'strategies.momentum_taker.markets: SOL-PERP has no limits; [risk.markets."SOL-PERP"] is needed',
        'venue.markets: the embedded venue has no SOL-PERP, which is traded; [venue.markets."SOL-PERP"] is needed',
    ]


def test_leave_is_taken_when_the_session_does_not_cancel_on_disconnect():
    """CancelOrdersOnDisconnect also acts on a graceful Logout (venue.md section 2)."""
    config = config_loader.load(
        DEMO, ["engine.shutdown=leave", "sessions.order_entry.cancel_orders_on_disconnect=false"]
    )
    assert config.engine.shutdown == "leave"


def test_sessions_never_share_a_key():
    """The venue takes one connection a key; the case of a UUID does not make another one."""
    shared = [*FILLED_IN, f'sessions.drop_copy.key_id="{KEY_IDS[0].upper()}"']
    (line,) = refused(*shared, path=os.path.join(CONFIGS, "kalshi-demo.toml"))
    assert line.startswith("sessions.drop_copy.key_id: is the key of sessions.order_entry too")


def test_a_key_id_that_is_no_uuid_is_refused_and_not_shown():
    """It may be a secret in the wrong place."""
    (line,) = refused(
        *FILLED_IN,
        "sessions.drop_copy.key_id=hunter2hunter2",
        path=os.path.join(CONFIGS, "kalshi-demo.toml"),
    )
    assert line.startswith("sessions.drop_copy.key_id: hunt*** is not a UUID")


def test_embedded_needs_a_venue(tmp_path):
    """Without [venue] there is nothing to talk to."""
    path = tmp_path / "mine.toml"
    path.write_text(open(DEMO, encoding="utf-8").read().partition("[venue]")[0])  # noqa: SIM115
    assert refused(path=str(path)) == ["venue: is missing; environment 'embedded' needs a [venue]"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "there is no such configuration file"),
        (b"[engine\n", "is not TOML"),
        (b"\xff", "is not TOML"),
        (b"", "engine: is missing and has no default"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, content, expected):
    """Missing, broken, not text, empty."""
    path = tmp_path / "mine.toml"
    if content is not None:
        path.write_bytes(content)
    assert expected in refused(path=str(path))[0]
    assert "can't be read" in refused(path=str(tmp_path))[0]


def test_a_configuration_survives_encoding_and_keeps_its_digest():
    """What the launcher writes is what its children read."""
    config = config_loader.load(DEMO)
    again = config_loader.decode(config_loader.encode(config))
    assert again == config
    assert config_loader.digest(again) == config_loader.digest(config)
    assert re.fullmatch("[0-9a-f]{64}", config_loader.digest(config))
    changed = msgspec.structs.replace(config, engine=msgspec.structs.replace(config.engine, name="other"))
    assert config_loader.digest(changed) != config_loader.digest(config)


def test_tier_names_are_the_rate_limiters():
    """The loader stands below the dialect, so it has names of its own; they must agree."""
    assert set(config_loader.TIERS) >= set(TIERS)
    assert set(config_loader.TIERS) - set(TIERS) <= {"unlimited"}


def test_a_venue_alone_takes_its_default_with_keys_set_otherwise_and_checks_its_own_part():
    """`scripts/venue --set` needs no file; what it sets is checked, whatever environment the rest is for."""
    default = default_config()
    config = config_loader.for_venue(
        default, ["venue.tier=unlimited", "venue.markets.BTC-PERP.levels=0"], "--set"
    )
    assert (config.venue.tier, config.venue.markets["BTC-PERP"].levels) == ("unlimited", 0)
    assert config.venue.markets["ETH-PERP"] == default.venue.markets["ETH-PERP"]
    assert config_loader.for_venue(default, [], "--set") == default
    elsewhere = msgspec.structs.replace(
        default,
        engine=msgspec.structs.replace(default.engine, environment="demo"),
        venue=msgspec.structs.replace(default.venue, tier="huge"),
    )
    with pytest.raises(ConfigError, match=r"^f.toml: venue.tier: 'huge' is not one of Basic,"):
        config_loader.for_venue(elsewhere, [], "f.toml")
    with pytest.raises(ConfigError, match=r"^--set: venue.nope: unknown key"):
        config_loader.for_venue(default, ["venue.nope=1"], "--set")

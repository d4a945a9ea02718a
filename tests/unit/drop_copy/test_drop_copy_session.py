"""The actor with the real KalshiDC client: it connects, and says so."""

from engine.common.actor import LinkEvent
from engine.common.clock import SECOND, Now
from engine.config import (
    Config,
    EngineConfig,
    InstrumentConfig,
    LimitsConfig,
    RiskConfig,
    SessionConfig,
    SessionsConfig,
)
from engine.drop_copy.actor import DropCopy

LIMITS = LimitsConfig(
    max_order_qty="10",
    max_order_notional="1000",
    max_position="100",
    max_open_orders=10,
    max_gross_notional="10000",
    max_loss="1000",
)


class Out:
    """Collects what goes to the link."""

    def __init__(self):
        self.connected = []
        self.written = b""

    def connect(self, link):
        self.connected.append(link)

    def write(self, link, data, trigger_ns=0):
        self.written += data

    def send(self, channel, message, to=None, topic=""):
        pass

    def log(self, level, text):
        pass


def test_it_logs_on_to_kalshi_dc():
    """The Logon resets the numbers (141=Y) and names the session."""
    config = Config(
        engine=EngineConfig(name="test", shutdown="cancel"),
        sessions=SessionsConfig(
            order_entry=SessionConfig(target_comp_id="KalshiNR"),
            market_data=SessionConfig(target_comp_id="KalshiMD"),
            drop_copy=SessionConfig(target_comp_id="KalshiDC", key_id="my-key"),
        ),
        instruments={"BTC-PERP": InstrumentConfig()},
        risk=RiskConfig(account=LIMITS, markets={}),
        strategies={},
    )
    out = Out()
    actor = DropCopy(config, out, lambda _text: "c2lnbmF0dXJl", lambda: 0.5)
    now = Now(1_763_978_400 * SECOND, SECOND)
    actor.start(now)
    assert out.connected == ["drop_copy"]
    actor.on_link("drop_copy", LinkEvent.CONNECTED, "", now)
    head, _, _ = out.written.decode().replace("\x01", "|").partition("|10=")
    assert "|35=A|49=my-key|56=KalshiDC|34=1|52=20251124-10:00:00.000|" in head
    assert "|141=Y|" in f"{head}|"
    assert actor.status(now).state in {"STARTING", "RECOVERING"}
    assert actor.deadline is not None

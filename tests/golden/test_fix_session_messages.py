"""Session messages as literal wire text, with length and sum, that were reckoned by hand once."""

import pytest

from engine.common.clock import Now
from engine.fix import admin
from engine.fix.config import SessionSettings
from engine.fix.encoder import encode
from engine.fix.initiator import Initiator

HEADER = "49=0b5c9a52-7a6e-4f0e-9d0b-3e2f6c1a8b77\x0156=KalshiNR\x0134=2\x0152=20261124-10:00:00.000\x01"
GOLDEN = [
    (
        "0",
        admin.heartbeat(),
        "8=FIXT.1.1|9=87|35=0|49=0b5c9a52-7a6e-4f0e-9d0b-3e2f6c1a8b77|56=KalshiNR|34=2|52=20261124-10:00:00.000|10=220|",
    ),
    (
        "0",
        admin.heartbeat("TEST-1"),
        "8=FIXT.1.1|9=98|35=0|49=0b5c9a52-7a6e-4f0e-9d0b-3e2f6c1a8b77|56=KalshiNR|34=2|52=20261124-10:00:00.000|112=TEST-1|10=078|",
    ),
    (
        "1",
        admin.test_request("TEST-1"),
        "8=FIXT.1.1|9=98|35=1|49=0b5c9a52-7a6e-4f0e-9d0b-3e2f6c1a8b77|56=KalshiNR|34=2|52=20261124-10:00:00.000|112=TEST-1|10=079|",
    ),
    (
        "2",
        admin.resend_request(5, 0),
        "8=FIXT.1.1|9=96|35=2|49=0b5c9a52-7a6e-4f0e-9d0b-3e2f6c1a8b77|56=KalshiNR|34=2|52=20261124-10:00:00.000|7=5|16=0|10=093|",
    ),
    (
        "3",
        admin.reject(7, "8", 5, 44, "Price(44) 'x'"),
        "8=FIXT.1.1|9=128|35=3|49=0b5c9a52-7a6e-4f0e-9d0b-3e2f6c1a8b77|56=KalshiNR|34=2|52=20261124-10:00:00.000|45=7|371=44|372=8|373=5|58=Price(44) 'x'|10=137|",
    ),
    (
        "4",
        admin.gap_fill(12),
        "8=FIXT.1.1|9=99|35=4|49=0b5c9a52-7a6e-4f0e-9d0b-3e2f6c1a8b77|56=KalshiNR|34=2|52=20261124-10:00:00.000|123=Y|36=12|10=026|",
    ),
    (
        "5",
        admin.logout("MsgSeqNum(34) too low, expected 5, received 3"),
        "8=FIXT.1.1|9=136|35=5|49=0b5c9a52-7a6e-4f0e-9d0b-3e2f6c1a8b77|56=KalshiNR|34=2|52=20261124-10:00:00.000|58=MsgSeqNum(34) too low, expected 5, received 3|10=172|",
    ),
    (
        "j",
        admin.business_reject(9, "D", 8, "RATE_LIMIT", "id-1"),
        "8=FIXT.1.1|9=127|35=j|49=0b5c9a52-7a6e-4f0e-9d0b-3e2f6c1a8b77|56=KalshiNR|34=2|52=20261124-10:00:00.000|45=9|372=D|379=id-1|380=8|58=RATE_LIMIT|10=017|",
    ),
]


@pytest.mark.parametrize(("msg_type", "body", "wire"), GOLDEN)
def test_session_messages_are_written_exactly_so(msg_type, body, wire):
    assert encode(msg_type, HEADER, body).decode("latin-1").replace("\x01", "|") == wire


def test_a_logon_and_an_order_on_the_wire():
    settings = SessionSettings(sender_comp_id="KEY", target_comp_id="KalshiNR", peer_comp_ids=("Kalshi",))
    session = Initiator(settings, logon_body=lambda _time, _seq: "98=0\x01108=10\x01141=Y\x011137=9\x01")
    now = Now(1_795_514_400_000_000_000, 5)
    session.connected(now)
    assert session.data_to_send() == (
        b"8=FIXT.1.1|9=79|35=A|49=KEY|56=KalshiNR|34=1|52=20261124-10:00:00.000|98=0|108=10|141=Y|1137=9|10=138|"
    ).replace(b"|", b"\x01")

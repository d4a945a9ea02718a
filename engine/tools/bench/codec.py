"""How much quicker the hot codec is than simplefix, as ratios measured in one run.

Both sides start from bytes off the wire and end with every field that the engine reads as ints and text. Ours includes
framing and the checksum (`Framer.feed`); simplefix frames too, but doesn't check the sum. For X, W and D in, simplefix
parses and its fields are read by `get`, as its users do; so for 8, group fields by their number. For D out simplefix
appends pairs and encodes; ours encodes body and frame. Rounds are interleaved, so that a slow moment hits all; medians
of the rounds are compared. The benchmark first checks that both sides read the same.
"""

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any, Final

import simplefix

from engine.common.fixed_point import PRICE_TEXTS, PRICES, QTY_TEXTS, QUANTITIES, parse_money
from engine.fix.encoder import encode
from engine.fix.fields import Timestamps
from engine.fix.framer import Framer
from engine.kalshi import hot
from engine.kalshi.messages import ExecutionReport, NewOrderSingle

_KEY: Final = "0b5c9a52-7a6e-4f0e-9d0b-3e2f6c1a8b77"
_CL_ORD_ID: Final = "7f3f1c1e-20aa-4d57-8a53-0d3a2a0c9e11"
_TIME: Final = "20261123-21:45:00.123"
_OUT: Final = f"49={_KEY}\x0156=KalshiNR\x0134=4212\x0152={_TIME}\x01"
_CALLS_OURS: Final = 400
_CALLS_THEIRS: Final = 40


def _frame(msg_type: str, session: str, body: str) -> bytes:
    header = f"49={session}\x0156={_KEY}\x0134=34567\x0152={_TIME}\x01"
    return encode(msg_type, header, body.replace("|", "\x01"))


X: Final = _frame(
    "X",
    "KalshiMD",
    "268=3|279=1|55=BTC-PERP|269=0|270=19.5000|271=15.00|279=0|55=BTC-PERP|269=1|270=19.5100|271=5.00|"
    "279=0|55=BTC-PERP|269=2|270=19.5000|271=3.00|2446=1|",
)
W: Final = _frame(
    "W",
    "KalshiMD",
    "55=BTC-PERP|268=20|"
    + "".join(f"269={n % 2}|270=19.{50 + n if n % 2 else 49 - n}00|271={n + 1}.00|" for n in range(20)),
)
REPORT: Final = _frame(
    "8",
    "KalshiNR",
    f"37=8b1a9953-c461-4f7b-9a2d-6f1d1c0e2b11|11={_CL_ORD_ID}|17=123456;7|150=F|39=1|54=1|55=BTC-PERP|151=7.00|"
    f"14=3.00|6=19.5000|38=10.00|30=0|31=19.5000|32=3.00|44=19.5000|60={_TIME}|136=1|137=0.0585|138=USD|139=4|891=0|"
    "704=3.00|705=0.00|1703=1|1704=12.5000|1705=BALANCE|880=990011|1057=Y|",
)
ORDER: Final = NewOrderSingle(
    cl_ord_id=_CL_ORD_ID,
    symbol="BTC-PERP",
    side="1",
    order_qty=1000,
    price=195000,
    time_in_force="1",
    exec_inst="6",
    alloc_account=0,
    self_trade_prevention_type="1",
    cancel_order_on_pause=True,
)
D: Final = encode("D", _OUT, hot.encode_new_order(ORDER))

_times = Timestamps()


def _parsed(frame: bytes) -> Any:
    parser = simplefix.FixParser()
    parser.append_buffer(frame)
    return parser.get_message()


def _their_incremental() -> hot.BookMessage:
    get = _parsed(X).get
    int(get(34))
    levels: list[int] = []
    trades: list[int] = []
    symbol = ""
    for n in range(1, int(get(268)) + 1):
        symbol = get(55, n).decode()
        kind, price = get(269, n).decode(), PRICES[get(270, n).decode()]
        qty = QUANTITIES[get(271, n).decode()]
        if kind == "2":
            trades += (price, qty, int(get(2446, len(trades) // 3 + 1)))
        else:
            levels += (int(kind), price, 0 if get(279, n) == b"2" else qty)
    return hot.BookMessage([(symbol, levels, trades, False)])


def _their_snapshot() -> hot.BookMessage:
    get = _parsed(W).get
    int(get(34))
    levels: list[int] = []
    for n in range(1, int(get(268)) + 1):
        levels += (int(get(269, n)), PRICES[get(270, n).decode()], QUANTITIES[get(271, n).decode()])
    return hot.BookMessage([(get(55).decode(), levels, [], True)])


def _their_report() -> ExecutionReport:
    message = _parsed(REPORT)

    def get(tag: int) -> str:
        return str(message.get(tag).decode())

    int(get(34))
    return ExecutionReport(
        order_id=get(37),
        cl_ord_id=get(11),
        exec_id=get(17),
        exec_type=get(150),
        ord_status=get(39),
        side=get(54),
        symbol=get(55),
        leaves_qty=QUANTITIES[get(151)],
        cum_qty=QUANTITIES[get(14)],
        order_qty=QUANTITIES[get(38)],
        avg_px=get(6),
        last_mkt=get(30),
        last_px=PRICES[get(31)],
        last_qty=QUANTITIES[get(32)],
        price=PRICES[get(44)],
        transact_time_ns=_times.parse(get(60)),
        misc_fee_amt=parse_money(get(137)),
        long_qty=QUANTITIES[get(704)],
        short_qty=QUANTITIES[get(705)],
        collateral_amount_change=parse_money(get(1704)),
        collateral_amount_type=get(1705),
        trd_match_id=get(880),
        aggressor_indicator=get(1057),
    )


def _their_order() -> NewOrderSingle:
    message = _parsed(D)

    def get(tag: int) -> str:
        return str(message.get(tag).decode())

    int(get(34))
    return NewOrderSingle(
        cl_ord_id=get(11),
        symbol=get(55),
        side=get(54),
        order_qty=QUANTITIES[get(38)],
        price=PRICES[get(44)],
        ord_type=get(40),
        time_in_force=get(59),
        exec_inst=get(18),
        alloc_account=int(get(79)),
        self_trade_prevention_type=get(2964),
        cancel_order_on_pause=get(21006) == "Y",
    )


def _their_encoding() -> bytes:
    message = simplefix.FixMessage()
    add = message.append_pair
    order = ORDER
    fields: tuple[tuple[int, str | int | None], ...] = (
        (8, "FIXT.1.1"),
        (35, "D"),
        (49, _KEY),
        (56, "KalshiNR"),
        (34, 4212),
        (52, _TIME),
        (11, order.cl_ord_id),
        (18, order.exec_inst),
        (38, QTY_TEXTS[order.order_qty]),
        (40, order.ord_type),
        (44, PRICE_TEXTS[order.price]),
        (54, order.side),
        (55, order.symbol),
        (59, order.time_in_force),
        (79, order.alloc_account),
        (2964, order.self_trade_prevention_type),
        (21006, "Y"),
    )
    for tag, value in fields:
        add(tag, value)
    return bytes(message.encode())


def _ours(frame: bytes, decode: Callable[[str], hot.Decoded | None]) -> Callable[[], object]:
    feed = Framer(1 << 20).feed

    def run() -> object:
        (whole,) = feed(frame)
        decoded = decode(whole.decode("latin-1"))
        return decoded[2] if decoded is not None else None

    return run


def _our_encoding() -> bytes:
    return encode("D", _OUT, hot.encode_new_order(ORDER))


_CASES: Final[dict[tuple[str, str], tuple[Callable[[], object], Callable[[], object]]]] = {
    ("decode", "X"): (_ours(X, hot.decode_incremental), _their_incremental),
    ("decode", "W"): (_ours(W, hot.decode_snapshot), _their_snapshot),
    ("decode", "8"): (_ours(REPORT, hot.decode_execution_report), _their_report),
    ("decode", "D"): (_ours(D, hot.decode_new_order), _their_order),
    ("encode", "D"): (_our_encoding, _their_encoding),
}


def _ns_per_call(function: Callable[[], object], calls: int) -> float:
    start = time.perf_counter_ns()
    for _ in range(calls):
        function()
    return (time.perf_counter_ns() - start) / calls


def timings(rounds: int) -> dict[tuple[str, str], tuple[float, float]]:
    """Return (ours, simplefix's) median ns a call of each case.

    Raises:
        ValueError: both sides did not read or write the same.
    """
    for case, (ours, theirs) in _CASES.items():
        if ours() != theirs():
            raise ValueError(f"{case}: {ours()} is not {theirs()}")
    found: dict[tuple[str, str], tuple[list[float], list[float]]] = {case: ([], []) for case in _CASES}
    enabled = gc.isenabled()
    gc.disable()
    try:
        for _ in range(rounds):
            for case, (ours, theirs) in _CASES.items():
                found[case][0].append(_ns_per_call(ours, _CALLS_OURS))
                found[case][1].append(_ns_per_call(theirs, _CALLS_THEIRS))
    finally:
        if enabled:
            gc.enable()
    return {case: (statistics.median(a), statistics.median(b)) for case, (a, b) in found.items()}


def measure(rounds: int) -> dict[str, dict[str, float]]:
    """Return times faster than simplefix, as `{"decode": {"X": 27.1, ...}, "encode": {"D": ...}}`."""
    result: dict[str, dict[str, float]] = {"decode": {}, "encode": {}}
    for (direction, msg_type), (ours, theirs) in timings(rounds).items():
        result[direction][msg_type] = round(theirs / ours, 1)
    return result


if __name__ == "__main__":
    for (direction, msg_type), (ours, theirs) in timings(15).items():
        print(
            f"{direction} {msg_type}: {ours / 1000:6.2f} us, simplefix {theirs / 1000:7.2f} us, {theirs / ours:5.1f} times"
        )

"""What the engine never asked for: liquidation, exit triggers, orders of other sessions; and limits of a market."""

import msgspec
from unit.venue.venue_world import T0, World, bodies, config, on, order

from engine.common.clock import SECOND
from engine.config import InstrumentConfig, VenueMarketConfig


def traders(world):
    return on(world), on(world, key="key-other")


def test_an_account_under_its_maintenance_margin_is_liquidated():
    """Open orders go first, then the position by a system order; the session, listener and drop copy hear it."""
    world = World(config(balance="40", maker_fee_bp=0, taker_fee_bp=0))
    client, other = traders(world)
    listener = on(world, key="key-2", flags="20126=Y|21011=Y|")
    other.say("D", order("s1", 2, 20, "10.0000"))
    client.say("D", order("b1", 1, 20, "10.0000"))  # 200 dollars of notional: 10 of maintenance margin
    client.say("D", order("b2", 1, 1, "9.0000"))
    assert world.fault("cash", account="other", dollars="1000000") == "ok"
    other.say("D", order("b3", 1, 100, "8.3000"))
    third = on(world, "KalshiRT", key="key-other")
    third.say("D", order("s2", 2, 1, "8.9000"))
    client.heard(), listener.heard()
    client.say("D", order("b4", 1, 1, "8.9000"))  # against s2 at 8.90: equity 18.00, and 9.35 is due
    assert world.truth().positions == {"BTC-PERP": 2100}
    client.heard(), listener.heard()
    other.say("D", order("s3", 2, 1, "9.0000"))  # against b2: the mark is 9.00
    client.heard(), listener.heard()
    world.fault("cash", dollars="29")  # 22 contracts at 9.00 that cost 217.90: equity 9.10, and 9.90 is due
    texts = bodies(client.heard())
    assert "|11=liquidation-" in texts[-1] and "|150=F|39=2|54=2|" in texts[-1]
    assert "|704=0.00|705=0.00|" in texts[-1]
    assert bodies(listener.heard()) == texts
    assert world.truth().positions == {}
    copy = on(world, "KalshiDC", "key-dc", "")
    ids = world.truth().exec_ids
    assert "|11=liquidation-" in bodies(copy.say("U1", f"21001={ids[-1]}|"))[0]


def test_a_liquidated_accounts_orders_are_cancelled_first():
    world = World()
    client, other = traders(world)
    other.say("D", order("b9", 1, 10, "9.0000"))
    other.say("D", order("s1", 2, 5, "10.0000"))
    client.say("D", order("b1", 1, 5, "10.0000"))
    client.say("D", order("b2", 1, 5, "9.5000"))
    client.heard()
    assert world.fault("liquidate", account="main") == "ok"
    cancel, trade = bodies(client.heard())
    assert "|11=b2|" in cancel and "|150=4|" in cancel and cancel.endswith("|58=MARGIN_CANCEL|")
    assert "|11=liquidation-" in trade and "|31=9.0000|" in trade


def test_what_the_book_can_not_take_stays_and_nothing_is_liquidated_in_a_pause():
    world = World()
    client, other = traders(world)
    other.say("D", order("s1", 2, 5, "10.0000"))
    client.say("D", order("b1", 1, 5, "10.0000"))
    assert world.fault("liquidate") == "ok"  # nobody bids
    assert world.truth().positions == {"BTC-PERP": 500}
    other.say("D", order("b9", 1, 10, "9.0000"))
    world.fault("trading_pause")
    world.fault("cash", dollars="-1000")
    assert world.truth().positions == {"BTC-PERP": 500}
    world.fault("resume")
    world.fault("cash", dollars="-1000")
    assert world.truth().positions == {}


def test_an_exit_trigger_only_reduces():
    world = World()
    client, other = traders(world)
    other.say("D", order("s1", 2, 5, "10.0000"))
    client.say("D", order("b1", 1, 5, "10.0000"))
    other.say("D", order("b9", 1, 50, "9.0000"))
    client.heard()
    assert world.fault("exit_trigger", qty="20", symbol="BTC-PERP") == "ok"
    (text,) = bodies(client.heard())
    assert "|11=exit-" in text and "|32=5.00|" in text and "|704=0.00|705=0.00|" in text


def test_orders_of_other_sessions_are_seen_by_listeners_and_drop_copy_and_move_the_position():
    world = World()
    client, other = traders(world)
    listener = on(world, key="key-2", flags="20126=Y|21011=Y|")
    assert world.fault("foreign_order", qty="5", price="9.5000", side="1") == "ok"
    assert client.heard() == []
    (new,) = bodies(listener.heard())
    assert "|11=web-" in new and "|150=0|39=0|54=1|" in new
    other.say("D", order("s1", 2, 5, "9.5000"))
    assert "|704=5.00|" in listener.heard()[0] and client.heard() == []
    assert world.truth().positions == {"BTC-PERP": 500}
    later = World(config(), world.out.records, T0 + SECOND)
    assert later.truth().positions == {"BTC-PERP": 500}


def market(**more):
    base = config()
    markets = {"BTC-PERP": VenueMarketConfig(price="10.0000", levels=0, **more)}
    instruments = {"BTC-PERP": InstrumentConfig()}
    return msgspec.structs.replace(
        base, instruments=instruments, venue=msgspec.structs.replace(base.venue, markets=markets)
    )


def test_the_markets_own_limits_refuse_with_their_texts():
    """EXCEEDED_PER_MARKET_RISK_LIMIT and EXCEEDED_SELL_POSITION_FLOOR, both 103=3, on entry and on amend."""
    client = on(World(market(position_max=10, short_max=4)))
    client.say("D", order("b1", 1, 8, "9.5000"))
    assert client.say("D", order("b2", 1, 3, "9.5000"))[0].endswith("|58=EXCEEDED_PER_MARKET_RISK_LIMIT|")
    assert "|150=0|" in client.say("D", order("b3", 1, 2, "9.5000"))[0]
    text = client.say("G", "11=b4|41=b3|38=3|40=2|54=1|55=BTC-PERP|")[0]
    assert text.startswith("35=9|") and text.endswith("|58=EXCEEDED_PER_MARKET_RISK_LIMIT|")
    text = client.say("D", order("s1", 2, 5, "10.5000"))[0]
    assert "|103=3|" in text and text.endswith("|58=EXCEEDED_SELL_POSITION_FLOOR|")
    assert "|150=0|" in client.say("D", order("s2", 2, 4, "10.5000"))[0]


def test_subaccounts_are_echoed_and_must_match_and_share_the_accounts_position():
    """AllocAccount(79) 0 to 63."""
    world = World()
    client, other = traders(world)
    (text,) = bodies(client.say("D", order("c1", 1, 5, "9.5000", "59=1|79=7|")))
    assert "|79=7|" in text
    for number in ("64", "-1"):
        refused = client.say("D", order("c2", 1, 5, "9.5000", f"59=1|79={number}|"))[0]
        assert "|103=15|" in refused and refused.endswith("|58=CUSTOMER_ACCOUNT_NOT_FOUND|79=" + number + "|")
    for fields in ("11=x|41=c1|54=1|55=BTC-PERP|", "11=x|41=c1|54=1|55=BTC-PERP|79=8|"):
        assert client.say("F", fields)[0].startswith("35=9|")
    other.say("D", order("s1", 2, 2, "9.5000"))
    assert "|79=7|704=2.00|" in client.heard()[0]
    assert "|79=7|" in client.say("F", "11=x|41=c1|54=1|55=BTC-PERP|79=7|")[0]


def test_several_keys_of_an_account_share_its_position_and_orders():
    world = World()
    client, second, other = on(world), on(world, key="key-2"), on(world, key="key-other")
    client.say("D", order("c1", 1, 5, "9.5000"))
    other.say("D", order("s1", 2, 2, "9.5000"))
    client.heard()
    assert "|58=ORDER_ALREADY_EXISTS|" in second.say("D", order("c1", 1, 5, "9.5000"))[0]
    (told,) = bodies(second.say("F", "11=x|41=c1|54=1|55=BTC-PERP|"))
    assert "|150=4|" in told and bodies(client.heard()) == [told]  # who asked and who owns it

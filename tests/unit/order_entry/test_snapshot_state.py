"""A snapshot is the replay of the rows before it: same digest, and the same digest after whatever follows."""

import random
from typing import get_args

import pytest
from unit.order_entry.test_order_entry_properties import run

from engine.kalshi.messages import OrderGroupResponse
from engine.order_entry.actor import OrderEntry
from engine.orders import ledger
from engine.runtime.factory import entry_types


def replayed(make_rig, entries) -> OrderEntry:
    return make_rig(entries).oe


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_a_snapshot_at_any_row_goes_on_as_the_replay_does(make_rig, monkeypatch, seed, small) -> None:
    """Also where memory is bounded: what had fallen out of it is out of the snapshot, in the same order."""
    rig, _ = run(make_rig, seed, scramble=True, wrong=seed % 2 == 0)
    if small:
        for name, kept in (("TAPE_KEPT", 7), ("CLOSED_IDS_KEPT", 3), ("EXEC_IDS_KEPT", 5)):
            monkeypatch.setattr(ledger, name, kept)
    journal = rig.out.journal
    cuts = random.Random(seed).sample(range(len(journal)), 3)
    for cut in cuts:
        before = replayed(make_rig, journal[:cut])
        after = make_rig().oe
        after.load(before.dump())
        assert after.state_digest() == before.state_digest()
        assert after.ledger.snapshot(None) == before.ledger.snapshot(None)
        for entry in journal[cut:]:
            before.replay(entry)
            after.replay(entry)
        assert after.state_digest() == before.state_digest()
        assert after.dump() == before.dump()
        assert after.ledger.replay(1, None) == before.ledger.replay(1, None)


def test_orders_that_were_forgotten_are_forgotten_alike(make_rig, monkeypatch) -> None:
    """Beyond CLOSED_KEPT an order is only ids."""
    monkeypatch.setattr(ledger, "CLOSED_KEPT", 3)
    monkeypatch.setattr(ledger, "CLOSED_IDS_KEPT", 9)
    rig = make_rig().up()
    for _ in range(8):
        order = rig.live()
        rig.report(rig.cancel(order), "4", "4", orig_cl_ord_id=order)
    new = make_rig().oe
    new.load(rig.oe.dump())
    assert new.state_digest() == rig.oe.state_digest()
    rig.restarted()


def test_every_kind_of_entry_of_the_journal_is_in_the_snapshot(make_rig) -> None:
    """A new kind of entry needs its part of the snapshot, and of this test."""
    rig = make_rig(groups={1: 5}, session={"target_comp_id": "KalshiRT"}).up()
    rig.app(OrderGroupResponse(order_group_id="g-1", order_group_contracts_limit=5))
    rig.live()
    tags = {entry.__struct_config__.tag for entry in rig.out.journal}
    assert tags == {kind.__struct_config__.tag for kind in get_args(entry_types("order_entry"))}
    new = make_rig(groups={1: 5}, session={"target_comp_id": "KalshiRT"}).oe
    new.load(rig.oe.dump())
    assert new.state_digest() == rig.oe.state_digest()


def test_state_that_can_not_be_read_leaves_the_actor_new(make_rig) -> None:
    rig, _ = run(make_rig, 1, scramble=False)
    new = make_rig().oe
    with pytest.raises(ValueError):
        new.load(rig.oe.dump()[:-9])
    assert new.state_digest() == make_rig().oe.state_digest()

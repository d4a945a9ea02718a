"""A Logon with SOH inside its RawData, cut at every place: the same events, the same answers, whatever the chunks."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sessions.script_runner import Bench, wrap

RAW = "96=ab|10=000|8=FIXT.1.1|9=5|35=0|10=161|95=3|cd"
LOGON = f"35=A|34=1|98=0|108=30|95={len(RAW) - 3}|{RAW}|141=Y|1137=9|"
NEXT = "35=1|34=2|112=after|"


def stream(role):
    """The peer's Logon and what follows it, as bytes."""
    bench = Bench(role, "NR")
    data = [
        wrap(bench.complete(text.replace(RAW, "96=RAW"), bench.peer, bench.ours).replace("96=RAW", RAW))
        for text in (LOGON, NEXT)
    ]
    return data[0] + data[1]


def heard(role, chunks):
    """Feed chunks to a fresh session; return what it said and wrote."""
    bench = Bench(role, "NR")
    bench.session.connected(bench.now)
    for chunk in chunks:
        bench.feed(chunk)
    if role == "A":
        bench.note(bench.session.accept(bench.now))
    kinds = [type(event).__name__ for event in bench.events]
    logons = [event.logon.get(96) for event in bench.events if hasattr(event, "logon")]
    return kinds, logons, bench.written, bench.session.next_target_msg_seq_num


@pytest.mark.parametrize("role", "IA")
def test_a_logon_cut_at_every_place_is_the_same_logon(role):
    data = stream(role)
    whole = heard(role, [data])
    assert whole[1] == [RAW[3:].replace("|", "\x01")] * len(whole[1]) != []
    assert whole[3] == 3 and any("112=after" in text for text in whole[2])
    for cut in range(len(data) + 1):
        assert heard(role, [data[:cut], data[cut:]]) == whole, cut
    assert heard(role, [data[at : at + 1] for at in range(len(data))]) == whole


@pytest.mark.parametrize("role", "IA")
@given(cuts=st.lists(st.integers(0, 400), max_size=8))
def test_and_in_any_pieces(role, cuts):
    data = stream(role)
    places = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    chunks = [data[a:b] for a, b in itertools.pairwise(places)]
    assert heard(role, chunks) == heard(role, [data])

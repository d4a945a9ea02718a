"""The codec benchmark: both sides read the same, and every case is measured."""

from engine.tools.bench import codec


def test_the_benchmark_measures_every_case():
    """Structure and sense only: how many times quicker is for a quiet machine (`scripts/bench`)."""
    result = codec.measure(2)
    assert {direction: list(cases) for direction, cases in result.items()} == {
        "decode": ["X", "W", "8", "D"],
        "encode": ["D"],
    }
    assert all(times > 0 for cases in result.values() for times in cases.values())

from hypothesis import given
from hypothesis import strategies as st

from engine.runtime.metrics import Histogram


@given(
    st.lists(st.integers(0, 10**12), min_size=1, max_size=300), st.sampled_from([0.01, 0.5, 0.9, 0.99, 1.0])
)
def test_a_quantile_is_within_seven_percent_of_the_exact_one(values, fraction):
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    values.sort()
    rank = max(0, -(-int(len(values) * fraction * 1000) // 1000) - 1)
    candidates = values[max(0, rank - 1) : rank + 2]
    got = histogram.quantile(fraction)
    assert any(abs(got - exact) <= exact * 0.07 + 1 for exact in candidates)


def test_nothing_counted_is_zero():
    assert Histogram().quantile(0.5) == 0

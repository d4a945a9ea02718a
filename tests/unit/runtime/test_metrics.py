from hypothesis import given
from hypothesis import strategies as st

from engine.runtime.metrics import SHARES, Histogram


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=300), st.sampled_from([10, 500, 900, 990, 1000]))
def test_a_quantile_is_within_seven_percent_of_the_exact_one(values, share):
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    values.sort()
    rank = -(-len(values) * share // 1000)
    exact = values[rank - 1]
    assert abs(histogram.quantiles((share,))[share] - exact) <= exact * 0.07 + 1


def test_all_quantiles_in_one_pass_are_those_of_each():
    histogram = Histogram()
    for value in range(0, 10**6, 777):
        histogram.add(value)
    assert histogram.quantiles(SHARES) == {share: histogram.quantiles((share,))[share] for share in SHARES}
    assert histogram.count == len(range(0, 10**6, 777)) and histogram.maximum == 999_999 - 999_999 % 777


def test_nothing_counted_is_nothing():
    histogram = Histogram()
    assert histogram.quantiles((500,)) == {}
    histogram.add(5)
    histogram.clear()
    assert histogram.quantiles((500,)) == {} and histogram.count == 0

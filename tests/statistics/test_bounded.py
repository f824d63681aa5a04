"""Bounds of bounded quantities: against the slow formula, and on worlds where bootstraps fail."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ivmethods.statistics.bounded import above_all, backed, bounded_ratio, wider
from ivmethods.statistics.univariate import Interval

effects = arrays(np.float64, st.integers(1, 30), elements=st.floats(-1, 1, width=32))


@given(effects)
def test_bounds_enclose_the_mean_and_are_finite(values):
    interval = bounded_ratio(values, seed=0, draws=400)
    assert interval.estimate == pytest.approx(values.mean(), abs=1e-9)
    assert -1 <= interval.low <= interval.estimate + 1e-9
    assert interval.estimate - 1e-9 <= interval.high <= 1


@given(effects)
def test_the_upper_bound_is_the_lower_one_upside_down(values):
    interval = bounded_ratio(values, seed=0, draws=400)
    mirrored = bounded_ratio(-values, seed=0, draws=400)
    assert interval.high == pytest.approx(-mirrored.low)


@given(effects, st.floats(0.25, 1))
def test_a_ratio_to_a_constant_is_near_that_of_the_mean(values, gap):
    """Nearer than one more sample of the denominator's range can move it."""
    mean = bounded_ratio(values, seed=0, draws=400)
    ratio = bounded_ratio(values, np.full(len(values), gap), seed=0, draws=400)
    assert ratio.estimate == pytest.approx(mean.estimate / gap, abs=1e-9)
    assert ratio.low <= mean.low / gap + 1e-9
    assert ratio.high >= mean.high / gap - 1e-9


@pytest.mark.parametrize("sign", [1, -1])
def test_a_bound_is_the_threshold_whose_contrast_is_on_the_edge(sign):
    """The slow formula: the bound of mean(numerator - t x denominator), t tried one by one."""
    generator = np.random.default_rng(3)
    above, below = sign * generator.beta(2, 3, size=40), generator.beta(5, 2, size=40)
    interval = bounded_ratio(above, below, seed=7, draws=2_000)
    weights = np.random.default_rng(7).exponential(size=(2_000, 41))
    weights /= weights.sum(axis=1, keepdims=True)
    passed = []
    for threshold in np.linspace(-1.5, 1.5, 601):
        worst = -1 - threshold * (1 if threshold > 0 else -1)
        contrast = np.append(above - threshold * below, worst)
        if np.quantile(weights @ contrast, 0.05) > 0:
            passed.append(threshold)
    assert interval.low == pytest.approx(max(passed), abs=0.006)


def test_of_yes_and_no_it_is_nearly_the_exact_binomial_bound():
    """Of values in {0, 1} it is never inside of Clopper-Pearson's, and at most one sample wider."""
    values = np.repeat([1.0, 0.0], [30, 20])
    interval = bounded_ratio(values, lowest=0.0, highest=1.0, seed=0, draws=50_000)
    assert interval.low == pytest.approx(0.4741, abs=0.005)  # beta.ppf(0.05, 30, 21)
    assert interval.high == pytest.approx(0.7168, abs=0.005)


@pytest.mark.parametrize("n", [20, 50, 200])
@pytest.mark.parametrize(
    ("rare", "usual", "share"),
    [(1.0, 0.0, 0.1), (-0.5, 0.0, 0.02), (-1.0, 0.02, 0.05)],
    ids=["a jump on a tenth", "a loss on a fiftieth", "a loss on a twentieth"],
)
def test_rare_values_do_not_break_the_bounds(rare, usual, share, n):
    generator = np.random.default_rng(0)
    mean = share * rare + (1 - share) * usual
    values = np.where(generator.random((300, n)) < share, rare, usual)
    intervals = [bounded_ratio(row, seed=i, draws=299) for i, row in enumerate(values)]
    assert np.mean([interval.low > mean for interval in intervals]) <= 0.05
    assert np.mean([interval.high < mean for interval in intervals]) <= 0.05


def test_no_gap_has_no_bounds():
    interval = bounded_ratio(np.ones(5), np.zeros(5), seed=0)
    assert math.isnan(interval.estimate)
    assert (interval.low, interval.high) == (-math.inf, math.inf)


@pytest.mark.parametrize(
    ("arrays_given", "message"),
    [
        ((np.array([0.0, 1.5]),), "numerator=1.5, but should be from -1 to 1"),
        ((np.zeros(2), np.array([2.0, 0.0])), "denominator=2, but should be from -1 to 1"),
        ((np.array([np.nan]),), "NaN or infinite"),
    ],
)
def test_values_out_of_range_are_refused(arrays_given, message):
    with pytest.raises(ValueError, match=message):
        bounded_ratio(*arrays_given, seed=0)


def test_the_wider_interval_has_both_wider_bounds():
    one, other = Interval(0.5, 0.1, 0.7, 20), Interval(0.5, 0.2, 0.9, 20)
    assert wider(one, other) == wider(other, one) == Interval(0.5, 0.1, 0.9, 20)


def test_where_resampling_gives_no_bound_the_bounded_one_counts_alone():
    bounded = Interval(0.0, -0.3, 0.2, 50, lambda level: (-0.3 - level, 0.2 + level))
    for low, high, expected in (
        (-0.4, 0.1, (-0.4, 0.2)),
        (-math.inf, 0.3, (-0.3, 0.3)),
        (-math.inf, math.inf, (-0.3, 0.2)),
    ):
        interval = backed(Interval(0.1, low, high, 50), bounded)
        assert (interval.estimate, interval.low, interval.high) == (0.1, *expected)
    never = Interval(0.1, -math.inf, math.inf, 50, lambda level: (-math.inf, math.inf))
    assert backed(never, bounded).at(0.01) == pytest.approx((-0.31, 0.21))


def test_above_all_is_above_where_each_is():
    first, second = (
        Interval(x, x - 0.1, x + 0.1, 9, lambda p, x=x: (x - p, x + p)) for x in (1.0, 2.0)
    )
    both = above_all(second, [first, second])
    assert (both.estimate, both.low, both.high) == (2, first.at(0.05)[0], second.at(0.05)[1])
    assert both.at(0.01) == (first.at(0.01)[0], second.at(0.01)[1])
    assert above_all(first, []) is first

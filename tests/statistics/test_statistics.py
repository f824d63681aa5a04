import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from ivmethods.patching.interactions import interactions, lead, pair_results
from ivmethods.statistics import bootstrap as bootstrap_module
from ivmethods.statistics import univariate as statistics
from ivmethods.statistics.bootstrap import bootstrap
from ivmethods.statistics.bounded import bounded_ratio
from ivmethods.statistics.clusters import clustered_ratio
from ivmethods.statistics.conjunction import majority_share
from ivmethods.statistics.univariate import (
    Interval,
    binomial_p,
    clopper_pearson,
    concentration,
    finite,
    holm,
    ratio_of_means,
    sample_size_to_decide,
    sign_flip_p,
    wilcoxon_p,
)

booleans = st.lists(st.booleans(), min_size=1, max_size=60).map(np.array)
# Small integers tie often and add up exactly.
integers = st.lists(st.integers(-4, 4), min_size=1, max_size=9).map(lambda v: np.array(v, float))
effects = st.floats(-5, 5, allow_nan=False, width=32)


def mean(values):
    return values.mean(axis=1)


@given(booleans)
def test_binomial_p_is_scipys_exact_test(positive):
    expected = stats.binomtest(int(positive.sum()), len(positive), alternative="greater").pvalue
    assert binomial_p(positive) == pytest.approx(expected)


@given(booleans)
def test_clopper_pearson_is_scipys_exact_interval(positive):
    test = stats.binomtest(int(positive.sum()), len(positive))
    expected = test.proportion_ci(confidence_level=0.9, method="exact")
    found = clopper_pearson(positive)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert (found.estimate, found.n) == (positive.mean(), len(positive))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12).map(np.array))
def test_holm_is_the_step_down_procedure(p):
    order = sorted(range(len(p)), key=lambda i: p[i])
    expected, running = [0.0] * len(p), 0.0
    for step, i in enumerate(order):
        running = max(running, min(1.0, (len(p) - step) * p[i]))
        expected[i] = running
    adjusted = holm(p)
    np.testing.assert_allclose(adjusted, expected)
    assert np.all(adjusted >= p)
    assert np.all(adjusted <= np.minimum(1, len(p) * p) + 1e-12)
    assert np.all(np.diff(adjusted[order]) >= 0)


@given(integers)
def test_sign_flip_p_enumerates_all_flips(values):
    reached = [
        np.dot(signs, values) >= values.sum() for signs in product((1, -1), repeat=len(values))
    ]
    assert sign_flip_p(values, seed=0) == np.mean(reached)


def test_sign_flip_p_does_not_count_a_rounding_error_as_less():
    values = np.array([0.1, 0.2, 0.3, -0.6])
    assert sign_flip_p(values, seed=0) == sign_flip_p(values[::-1].copy(), seed=0)
    assert sign_flip_p(values, seed=0) == sign_flip_p(np.array([1.0, 2, 3, -6]), seed=0)


def test_random_sign_flips_agree_with_all_of_them(monkeypatch):
    values = np.random.default_rng(0).normal(0.4, 1, 14)
    exact = sign_flip_p(values, seed=0)
    monkeypatch.setattr(statistics, "MAX_EXACT_FLIPS", 1)
    drawn = sign_flip_p(values, seed=0)
    assert drawn != exact
    assert drawn == pytest.approx(exact, abs=0.01)
    assert sign_flip_p(np.ones(60), seed=0, flips=99) == 1 / 100


@given(integers)
def test_wilcoxon_p_enumerates_all_flips_of_the_ranks(values):
    ranks = stats.rankdata(np.abs(values))
    flips = np.array(list(product((1, 0), repeat=len(values))))
    expected = np.mean(flips @ ranks >= ranks[values > 0].sum())
    assert wilcoxon_p(values) == pytest.approx(expected)


def test_wilcoxon_p_counts_ties_against():
    with_ties = np.r_[np.arange(-20.0, 30), np.zeros(10)]
    for_all, against_all = (np.where(with_ties == 0, half, with_ties) for half in (0.5, -0.5))
    assert wilcoxon_p(for_all) < wilcoxon_p(with_ties) == wilcoxon_p(against_all)
    assert wilcoxon_p(np.zeros(60)) == 1


@given(arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(1, 9)), elements=effects))
def test_concentration_is_the_fewest_tuples_that_hold_half(means):
    for row, found in zip(means, concentration(means), strict=True):
        positive = sorted((v for v in row if v > 0), reverse=True)
        count, held = 0, 0.0
        while positive and held < sum(positive) / 2 * (1 - 1e-12):
            held += positive[count]
            count += 1
        assert found == (count / len(row) if positive else 1.0)


def test_concentration_of_equal_effects_is_half_of_the_tuples():
    assert concentration(np.full(10, 0.7)) == 0.5  # five times 0.7 is less than 3.5
    assert concentration(np.array([1.0, 0, 0, 0])) == 0.25
    assert concentration(np.array([-1.0, 0])) == 1


def test_ratio_of_means_is_undefined_without_a_positive_denominator():
    found = ratio_of_means(np.ones((3, 2)), np.array([[1.0, 3], [-1, 1], [-1, -1]]))
    np.testing.assert_array_equal(found, [0.5, np.nan, np.nan])


def test_sample_size_to_decide_follows_the_root_of_n():
    needed = sample_size_to_decide(Interval(0.2, 0.0, 0.4, 50), 0.1)
    assert needed == 200
    assert sample_size_to_decide(Interval(0.05, -0.1, 0.15, 50), 0.1) == 200
    assert sample_size_to_decide(Interval(0.4, 0.2, 0.6, 50), 0.1) == 50
    assert sample_size_to_decide(Interval(0.1, 0.0, 0.2, 50), 0.1) is None
    assert sample_size_to_decide(Interval(0.1001, 0.0, 0.2, 50), 0.1) is None
    assert sample_size_to_decide(Interval(0.2, -math.inf, 0.4, 50), 0.1) is None


def test_sample_size_to_decide_respects_the_p_value():
    beyond = Interval(0.2, 0.15, 0.4, 50)
    assert sample_size_to_decide(beyond, 0.1, p_value=0.01) == 50
    assert sample_size_to_decide(beyond, 0.1, p_value=float(stats.norm.sf(1.645 / 2))) in (200, 201)
    assert sample_size_to_decide(beyond, 0.1, p_value=0.5) is None
    assert sample_size_to_decide(beyond, 0.1, p_value=0.9) is None


def coverage(draw, statistic, truth, *, smooth, n=50):
    generator = np.random.default_rng(0)
    hits = 0
    for seed in range(1000):
        found = bootstrap(statistic, *draw(generator, n), smooth=smooth, resamples=999, seed=seed)
        hits += found.low <= truth <= found.high
    return hits / 1000


@pytest.mark.parametrize(
    ("draw", "statistic", "truth", "smooth"),
    [
        (lambda g, n: [g.normal(size=n)], mean, 0, True),
        (lambda g, n: [g.exponential(size=n)], mean, 1, True),
        (lambda g, n: [g.exponential(size=n), 1 + g.normal(size=n)], ratio_of_means, 1, True),
        (lambda g, n: [g.standard_t(3, size=n)], lambda v: np.median(v, axis=1), 0, False),
        (lambda g, n: [g.normal(size=n) > 0], mean, 0.5, False),
    ],
    ids=["mean", "skewed mean", "ratio of means", "median", "share"],
)
def test_bootstrap_intervals_cover_the_truth_in_nine_of_ten(draw, statistic, truth, smooth):
    assert 0.87 <= coverage(draw, statistic, truth, smooth=smooth) <= 0.95


def test_bootstrap_percentiles_are_those_of_a_plain_loop():
    values = np.random.default_rng(1).exponential(size=30)
    found = bootstrap(
        lambda v: np.median(v, axis=1),
        values,
        smooth=False,
        resamples=4000,
        seed=3,
        alpha_high=0.01,
    )
    generator = np.random.default_rng(7)
    medians = [np.median(generator.choice(values, 30)) for _ in range(4000)]
    tails = [stats.norm.cdf(np.sqrt(30 / 29) * stats.t.ppf(q, 29)) for q in (0.05, 0.99)]
    expected = np.quantile(medians, tails)
    assert found.estimate == np.median(values)
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=0.1)


def test_bootstrap_of_many_samples_is_scipys_bca():
    values = np.random.default_rng(1).exponential(size=300)
    found = bootstrap(lambda v: v.var(axis=1), values, smooth=True, resamples=10_000, seed=3)
    expected = stats.bootstrap(
        (values,), np.var, confidence_level=0.9, method="BCa", n_resamples=10_000, rng=4
    ).confidence_interval
    width = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=0.03 * width)
    assert found.high == pytest.approx(expected.high, abs=0.03 * width)


@given(arrays(np.float64, 12, elements=effects), st.booleans())
@settings(max_examples=30)
def test_bootstrap_turns_over_with_its_values(values, smooth):
    own = bootstrap(mean, values, smooth=smooth, resamples=499, seed=0)
    turned = bootstrap(mean, -values, smooth=smooth, resamples=499, seed=0)
    assert own.low <= own.high
    assert (turned.low, turned.high) == pytest.approx((-own.high, -own.low), abs=1e-6)


def test_bootstrap_resamples_arrays_together():
    values = np.random.default_rng(0).normal(size=(20, 3))
    found = bootstrap(lambda a, b: (a - b).mean(axis=(1, 2)), values, values, smooth=True, seed=0)
    assert (found.estimate, found.low, found.high) == (0, 0, 0)


def test_bootstrap_does_not_depend_on_the_memory_it_may_use(monkeypatch):
    values = np.random.default_rng(0).normal(size=20)
    whole = bootstrap(mean, values, smooth=True, resamples=500, seed=2)
    monkeypatch.setattr(bootstrap_module, "BYTES_AT_ONCE", 3 * values.nbytes)
    assert bootstrap(mean, values, smooth=True, resamples=500, seed=2) == whole
    assert bootstrap(mean, values, smooth=True, resamples=500, seed=3) != whole


def test_bootstrap_bounds_are_infinite_where_samples_cannot_give_them():
    one = bootstrap(mean, np.ones(1), smooth=True, seed=0)
    assert (one.low, one.high) == (-math.inf, math.inf)
    few = bootstrap(mean, np.array([1.0, 2.0]), smooth=False, seed=0)
    assert (few.low, few.high) == (-math.inf, math.inf)


def test_undefined_draws_widen_both_bounds():
    gap = np.array([1.0] * 6 + [-1.0] * 4)
    found = bootstrap(ratio_of_means, np.ones(10), gap, smooth=False, resamples=999, seed=0)
    assert (found.low, found.high) == (-math.inf, math.inf)


def test_a_smaller_alpha_widens_its_own_bound_only():
    values = np.random.default_rng(0).normal(size=40)
    wide = bootstrap(mean, values, smooth=True, seed=0, alpha_high=0.01)
    plain = bootstrap(mean, values, smooth=True, seed=0)
    assert wide.low == plain.low
    assert wide.high > plain.high


def test_bootstrap_refuses_arrays_of_different_lengths():
    with pytest.raises(ValueError, match=r"samples=\[3, 4\], but should be the same"):
        bootstrap(ratio_of_means, np.ones(3), np.ones(4), smooth=True, seed=0)


@pytest.mark.parametrize(
    "measure",
    [
        holm,
        wilcoxon_p,
        lambda values: sign_flip_p(values, seed=0),
        lambda values: bootstrap(mean, values, smooth=True, seed=0),
    ],
    ids=["holm", "wilcoxon_p", "sign_flip_p", "bootstrap"],
)
def test_nan_infinite_and_no_values_are_refused(measure):
    for bad in (np.nan, np.inf):
        with pytest.raises(
            ValueError, match=r"=1 of 3 values NaN or infinite, but should be finite"
        ):
            measure(np.array([0.1, bad, 0.2]))
    with pytest.raises(ValueError, match="=no values, but should be at least one"):
        measure(np.array([]))


@pytest.mark.parametrize("measure", [binomial_p, clopper_pearson])
def test_no_samples_are_refused(measure):
    with pytest.raises(ValueError, match="positive=no values"):
        measure(np.array([], dtype=bool))


def test_refusals_name_quantity_place_and_remedy():
    with pytest.raises(ValueError, match=r"gap=1 of 1 .* \[here\]: drop"):
        finite(np.array([np.nan]), "gap", "here")


@given(arrays(np.float64, st.tuples(st.integers(1, 8), st.just(3)), elements=effects))
def test_interactions_are_zero_where_effects_add_up(singles):
    pairs = [(0, 1), (0, 2), (1, 2)]
    together = np.stack([singles[:, i] + singles[:, j] for i, j in pairs], axis=1)
    np.testing.assert_allclose(interactions(singles, together, pairs), 0, atol=1e-12)
    np.testing.assert_allclose(interactions(singles, together + 2, pairs), 2, atol=1e-12)


def test_interactions_refuse_columns_without_layers():
    with pytest.raises(ValueError, match=r"pairs=1, but should be 2 \[interactions\]"):
        interactions(np.ones((4, 3)), np.ones((4, 2)), [(0, 1)])


def test_pair_results_state_each_pair_by_itself():
    singles = np.ones((8, 3))
    together = np.stack([np.full(8, 3.0), np.full(8, 2.0)], axis=1)
    strong, additive = pair_results(singles, together, [(0, 1), (1, 2)])
    assert (strong.layers, strong.effect, strong.singles) == ((0, 1), 3, 2)
    assert (strong.median_interaction, strong.share_positive) == (1, 1)
    assert (strong.binomial_p, strong.holm_p) == (0.5**8, 2 * 0.5**8)
    assert (additive.share_positive, additive.binomial_p, additive.holm_p) == (0, 1, 1)


def test_lead_chooses_on_one_half_and_measures_on_the_other():
    is_discovery = np.arange(20) < 10
    effects = np.where(is_discovery[:, None], [1.0, 5.0, 2.0], [9.0, 3.0, 9.0])
    rivals = np.where(is_discovery[:, None], [4.0, 1.0], [1.0, 7.0])
    found = lead(effects, rivals, is_discovery=is_discovery)
    assert (found.best, found.rival, found.difference.estimate) == (1, 0, 2)
    assert found.p_value == 0.5**10


SAMPLE = np.random.default_rng(4).normal(0.4, 0.3, 40).clip(-1, 1)
MAKERS = {
    "percentile": lambda alpha: bootstrap(mean, SAMPLE, smooth=False, seed=1, alpha=alpha),
    "exact": lambda alpha: clopper_pearson(SAMPLE > 0.2, alpha=alpha),
    "bounded": lambda alpha: bounded_ratio(SAMPLE, seed=1, alpha=alpha),
    "clustered": lambda alpha: clustered_ratio(
        SAMPLE, None, np.arange(len(SAMPLE)) // 3, alpha=alpha
    ),
    "majority of answers": lambda alpha: majority_share(
        SAMPLE[:, None] > [0.0, 0.1, 0.2],
        clusters=np.arange(len(SAMPLE)) // 3,
        alpha=alpha,
        alpha_high=alpha,
    )[0],
    "majority": lambda alpha: majority_share(
        SAMPLE[:, None] > [0.0, 0.1, 0.2], alpha=alpha, alpha_high=alpha
    )[0],
}


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("side", [-1, 1])
def test_a_level_is_where_the_bound_crosses_the_threshold(maker, side):
    make = MAKERS[maker]
    at_5, at_1 = make(0.05), make(0.01)
    threshold = (at_5.low + at_1.low) / 2 if side < 0 else (at_5.high + at_1.high) / 2
    level = at_5.level(threshold)
    assert 0.01 <= level <= 0.05
    outside, inside = make(level * 1.001), make(level * 0.97)
    assert outside.low > threshold or outside.high < threshold
    assert inside.low <= threshold <= inside.high


def test_a_level_scales_both_errors_of_a_rule_with_several_ways_to_be_refuted():
    shared = bootstrap(mean, SAMPLE, smooth=False, seed=1, alpha_high=0.01)
    alone = bootstrap(mean, SAMPLE, smooth=False, seed=1)
    threshold = shared.high + 0.02
    assert shared.level(threshold) == pytest.approx(5 * alone.level(threshold), rel=0.01)


def test_no_level_where_the_threshold_is_inside_or_bounds_come_without_one():
    interval = bootstrap(mean, SAMPLE, smooth=True, seed=1)
    assert interval.level(interval.estimate) is None
    assert Interval(0.5, 0.4, 0.6, 9).level(0.1) is None


def test_no_level_is_below_what_the_resamples_can_show():
    """BCa's tail stops at 1 / acceleration: alone it would show anything at any level."""
    skewed = np.random.default_rng(0).exponential(size=12)
    interval = bootstrap(mean, -skewed, smooth=True, seed=0, resamples=1_000)
    assert interval.level(10.0) >= 1 / 1_001
    assert bootstrap(mean, skewed, smooth=True, seed=0, resamples=1_000).level(-10.0) >= 1 / 1_001

import math
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from ivmethods.paths import heads, sharing
from ivmethods.paths.heads import (
    active,
    first_fifth,
    head_activity,
    last_third,
    samples_to_tell_idle,
    side_p,
    spearman,
    with_paths,
)
from ivmethods.paths.sharing import chance_corrected_jaccard, jaccard

shares = st.floats(0, 1, width=32)
sets = arrays(bool, st.tuples(st.just(2), st.integers(1, 7)))


def activity_of(values, expected, *, high_ranking=10, paths=np.inf, **options):
    """Activity of one layer's heads; the same number of paths on every sample."""
    n = len(values)
    return head_activity(
        np.asarray(values, float)[:, None],
        np.broadcast_to(np.asarray(expected, float), np.shape(values))[:, None],
        high_ranking=np.full(n, high_ranking),
        paths=np.full(n, float(paths)),
        **{"resamples": 99, **options},
    )


# ---------------------------------------------------------------------------------- head activity


@settings(max_examples=30)
@given(
    arrays(np.float64, st.tuples(st.integers(1, 8), st.just(2), st.just(3)), elements=shares),
    st.lists(st.booleans(), min_size=8, max_size=8),
)
def test_samples_without_a_high_ranking_path_do_not_count(values, without):
    missing = np.array(without[: len(values)])
    given_values = np.where(missing[:, None, None], np.nan, values)
    options = {"high_ranking": np.full(len(values), 4), "paths": np.full(len(values), 20.0)}
    if missing.all():
        with pytest.raises(ValueError, match=r"high-ranking path=0 of \d, but should be at least"):
            head_activity(given_values, values, **options)
        return
    found = head_activity(given_values, values, **options, resamples=99)
    assert found.n == (~missing).sum()
    np.testing.assert_allclose(found.mean, values[~missing].mean(axis=0))
    np.testing.assert_allclose(found.expected, values[~missing].mean(axis=0))
    assert np.all(found.p_value == 1)
    np.testing.assert_array_equal(with_paths(given_values, values), ~missing)
    np.testing.assert_array_equal(with_paths(values, given_values), ~missing)


@pytest.mark.parametrize("expected", [0.001, 0.02, 0.3, 0.95])
@pytest.mark.parametrize(("samples", "paths"), [(100, 10), (100, 1), (30, 5), (100, 200)])
def test_p_values_are_at_least_the_binomial_ones_and_close_to_them(expected, samples, paths):
    total = samples * paths
    tails = [0.02, 1e-3, 1e-5]
    counts = np.r_[
        stats.binom.isf(tails, total, expected) + 1, stats.binom.ppf(tails, total, expected)
    ]
    counts = np.unique(np.clip(counts, 0, total))
    exact = np.minimum(
        1,
        2
        * np.minimum(
            stats.binom.sf(counts - 1, total, expected), stats.binom.cdf(counts, total, expected)
        ),
    )
    values = np.tile(counts / total, (samples, 1))
    found = activity_of(values, expected, high_ranking=paths).p_value[0]
    assert np.all(found >= 0.95 * exact)
    if total * min(expected, 1 - expected) >= 50:
        assert np.all(found <= exact**0.8)


def test_p_values_of_heads_that_hardly_any_path_uses_are_finite():
    expected = np.array([0, 1e-300, 1e-15, 1e-9, 1e-5, 1 - 1e-9, 1])
    assert np.all(activity_of(np.tile(expected, (40, 1)), expected).p_value == 1)
    assert np.all(activity_of(np.full((40, 7), 0.5), expected).p_value < 1e-6)


def drawn_shares(generator, *, samples, most, fraction, heads):
    """Shares of paths drawn from all paths without replacement, which are few."""
    drawn = generator.integers(1, most + 1, samples)
    paths = np.ceil(drawn / fraction).astype(int)
    usual = generator.beta(0.3, 2, heads) * np.exp(0.3 * generator.normal(size=(samples, heads)))
    users = np.clip(np.round(paths[:, None] * usual), 0, paths[:, None]).astype(int)
    found = generator.hypergeometric(users, paths[:, None] - users, drawn[:, None])
    return found / drawn[:, None], users / paths[:, None], drawn, paths.astype(float)


@pytest.mark.parametrize(("most", "fraction"), [(3, 0.3), (100, 0.2), (100, 0.001), (1000, 0.001)])
def test_paths_drawn_at_random_are_significant_in_five_of_a_hundred(most, fraction):
    generator = np.random.default_rng(0)
    single = family = 0.0
    for _ in range(400):
        values, expected, drawn, paths = drawn_shares(
            generator, samples=60, most=most, fraction=fraction, heads=30
        )
        found = head_activity(
            values[:, None], expected[:, None], high_ranking=drawn, paths=paths, resamples=1
        )
        single += (found.p_value < 0.05).mean() / 400
        family += (found.holm < 0.05).any() / 400
    assert 0.005 <= single <= 0.05
    assert family <= 0.05


@pytest.mark.parametrize("usual", [0.001, 0.999])
def test_a_few_samples_with_few_paths_are_not_significant(usual):
    """One path of a sample with one path weighs as much as a thousand of another's."""
    generator = np.random.default_rng(0)
    paths = np.r_[np.ones(5, dtype=int), np.full(95, 1000)]
    rejected = 0.0
    for _ in range(100):
        found = head_activity(
            (generator.binomial(paths[:, None], usual, (100, 30)) / paths[:, None])[:, None],
            np.full((100, 1, 30), usual),
            high_ranking=paths,
            paths=np.full(100, np.inf),
            resamples=1,
        )
        rejected += (found.p_value < 0.05).mean() / 100
    assert rejected <= 0.05


def test_drawing_most_of_the_paths_leaves_little_to_chance():
    values, expected = np.full((20, 1), 0.53), 0.5
    p = [
        float(activity_of(values, expected, high_ranking=20, paths=paths).p_value[0, 0])
        for paths in (np.inf, 1e25, 40, 22)
    ]
    assert p[0] == p[1] > p[2] > p[3]
    assert 0.1 < p[0] < 0.5
    many = {"high_ranking": 10**7, "paths": 10**7}
    rounded = activity_of(values + 3e-8, 0.53, **many)
    assert rounded.p_value[0, 0] == 1
    assert activity_of(values, 0.5, high_ranking=20, paths=20).p_value[0, 0] == 0


def test_holm_is_over_all_heads_of_all_layers():
    generator = np.random.default_rng(0)
    values = generator.beta(2, 8, size=(40, 2, 3))
    found = head_activity(
        values,
        np.full(values.shape, 0.1),
        high_ranking=np.full(40, 2),
        paths=np.full(40, np.inf),
        resamples=99,
    )
    smallest = np.unravel_index(found.p_value.argmin(), (2, 3))
    assert found.holm[smallest] == pytest.approx(6 * found.p_value[smallest])
    assert np.all(found.holm >= found.p_value)


def test_bounds_are_those_of_a_plain_loop_and_do_not_depend_on_memory(monkeypatch):
    values = np.random.default_rng(1).beta(0.5, 2, size=(30, 4))
    found = activity_of(values, 0.2, resamples=4000, seed=3)
    generator = np.random.default_rng(7)
    means = [generator.choice(values, 30).mean(axis=0) for _ in range(4000)]
    tail = stats.norm.cdf(np.sqrt(30 / 29) * stats.t.ppf(0.025, 29))
    expected = np.quantile(means, [tail, 1 - tail], axis=0)
    np.testing.assert_allclose([found.low[0], found.high[0]], expected, atol=0.01)
    monkeypatch.setattr(heads, "BYTES_AT_ONCE", 1)
    again = activity_of(values, 0.2, resamples=4000, seed=3)
    np.testing.assert_allclose([again.low, again.high], [found.low, found.high], rtol=1e-12)


def test_bounds_cover_the_truth_in_about_nineteen_of_twenty():
    generator = np.random.default_rng(0)
    missed = np.zeros(2)
    for seed in range(200):
        found = activity_of(generator.beta(1, 4, size=(50, 10)), 0.2, resamples=999, seed=seed)
        missed += [(found.low > 0.2).mean() / 200, (found.high < 0.2).mean() / 200]
    assert np.all(missed <= 0.04)
    assert missed.sum() == pytest.approx(0.05, abs=0.015)


def test_bounds_are_infinite_where_samples_cannot_give_them():
    for n, resamples in ((1, 99), (5, 9)):
        found = activity_of(np.full((n, 2), 0.5), 0.5, resamples=resamples)
        assert np.all(found.low == -math.inf)
        assert np.all(found.high == math.inf)


# ------------------------------------------------------------------------- active heads and layers


def test_active_is_above_a_tenth():
    np.testing.assert_array_equal(active(np.array([[0.1, 0.11]])), [[False, True]])


def test_the_side_of_a_head_is_told_by_the_binomial_test_where_it_is_all_or_nothing():
    n, counts = 60, np.array([0, 1, 3, 14, 20, 40])
    values = (np.arange(n)[:, None] < counts).astype(float)
    below, above = stats.binom.cdf(counts, n, 0.1), stats.binom.sf(counts - 1, n, 0.1)
    expected = np.where(counts > 0.1 * n, above, below)
    np.testing.assert_allclose(side_p(values), expected, rtol=0.04)
    assert side_p(np.full((n, 1), 0.1)) == 1


@pytest.mark.parametrize("tests", [1, 24, 288, 1088])
def test_an_idle_head_is_told_with_as_many_samples_as_that_takes(tests):
    least = samples_to_tell_idle(tests)
    assert side_p(np.zeros((least, 1)))[0] < 0.05 / tests < 0.9 ** (least - 2)


@pytest.mark.parametrize(
    ("layers", "early", "late"),
    [
        (16, range(3), range(10, 16)),
        (6, range(1), range(4, 6)),
        (30, range(6), range(20, 30)),
        (32, range(6), range(21, 32)),
        (2, range(1), range(1, 2)),
    ],
)
def test_groups_of_layers_are_the_papers(layers, early, late):
    assert (first_fifth(layers), last_third(layers)) == (early, late)


@given(
    arrays(
        np.float64,
        st.tuples(st.just(2), st.integers(1, 3), st.integers(2, 6)),
        elements=st.sampled_from([0.0, 0.2, 0.5, 1.0]),
    )
)
def test_spearman_is_scipys_and_undefined_where_heads_are_alike(activities):
    found = spearman(*activities)
    for x, y, r in zip(*activities, found, strict=True):
        if np.ptp(x) == 0 or np.ptp(y) == 0:
            assert math.isnan(r)
        else:
            assert r == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


# ------------------------------------------------------------------------------------ head sharing


@given(sets)
def test_jaccard_is_that_of_sets(pair):
    one, other = (set(np.flatnonzero(each)) for each in pair)
    found = float(jaccard(*pair))
    if one | other:
        assert found == len(one & other) / len(one | other)
    else:
        assert math.isnan(found)


def all_sets(heads, size):
    return [np.isin(np.arange(heads), s) for s in combinations(range(heads), size)]


@pytest.mark.parametrize("heads", [1, 2, 5])
def test_chance_correction_makes_random_sets_zero_on_average(heads):
    for one, other in product(range(heads + 1), repeat=2):
        first, second = np.array(all_sets(heads, one)), np.array(all_sets(heads, other))
        shape = len(first), len(second), heads
        found = chance_corrected_jaccard(
            np.broadcast_to(first[:, None], shape), np.broadcast_to(second, shape)
        )
        if one + other in (0, 2 * heads):
            assert np.all(np.isnan(found))
        else:
            assert found.mean() == pytest.approx(0, abs=1e-12)
            assert found.max() <= 1 + 1e-12
            assert one != other or np.diagonal(found) == pytest.approx(1)


def test_chance_correction_holds_for_many_heads():
    generator = np.random.default_rng(0)
    first = np.arange(300) < 120
    second = np.array([generator.permutation(300) < 90 for _ in range(2000)])
    found = chance_corrected_jaccard(np.broadcast_to(first, second.shape), second)
    assert found.mean() == pytest.approx(0, abs=0.005)
    for many in range(290, 300):
        assert math.isnan(float(chance_corrected_jaccard(*np.ones((2, many), dtype=bool))))


@given(arrays(bool, st.tuples(st.just(4), st.integers(1, 5))))
def test_bounds_are_the_extremes_over_all_ways_to_fill_in_what_is_not_known(rows):
    calls, known = rows[:2], rows[2:]
    fillings = np.array(list(product([False, True], repeat=int((~known).sum()))), dtype=bool)
    filled = np.repeat(calls[None], len(fillings), axis=0)
    filled[:, ~known] = fillings
    values = chance_corrected_jaccard(filled[:, 0], filled[:, 1])
    low, high = sharing._bounds(calls, known)
    if np.isnan(values).any():
        assert (low, high) == (-math.inf, math.inf)
    else:
        assert (low, high) == pytest.approx((values.min(), values.max()), abs=1e-12)


def clear(sets_of_heads, *, n=100, layers=6, heads=4, seed=0):
    """Activities of tasks whose given heads (layer, head) are close to 0.5, the others to 0."""
    generator = np.random.default_rng(seed)
    found = []
    for members in sets_of_heads:
        mean = np.full((layers, heads), 0.002)
        for layer, head in members:
            mean[layer, head] = 0.5
        found.append(generator.beta(10 * mean, 10 * (1 - mean), size=(n, layers, heads)))
    return found


def test_sharing_compares_first_fifth_and_last_third_of_the_layers():
    early, middle, late = [(0, 0), (0, 1)], [(2, 3)], [(4, 0), (4, 1), (5, 2)]
    own, contrast = clear([early + late, early + middle + [(5, 3), (4, 0)]])
    found = sharing.sharing(own, contrast)
    assert found.jaccard == (1, 1 / 4)
    assert found.corrected[0] == pytest.approx(1)
    one, other = np.isin(np.arange(8), [0, 1, 6]), np.isin(np.arange(8), [0, 7])
    assert found.corrected[1] == pytest.approx(float(chance_corrected_jaccard(one, other)))
    difference = found.difference
    assert difference.estimate == found.corrected[0] - found.corrected[1]
    assert (difference.low, difference.high) == (difference.estimate, difference.estimate)
    assert (difference.n, found.undecided) == (100, 0)


def test_a_sample_without_paths_in_one_task_is_dropped_from_both():
    own, contrast = clear([[(0, 0), (5, 1)], [(0, 0), (5, 2)]])
    expected = sharing.sharing(own[5:], contrast[5:])
    own[:2], contrast[2:5] = np.nan, np.nan
    assert sharing.sharing(own, contrast) == expected
    own[2:99] = np.nan
    with pytest.raises(ValueError, match=r"high-ranking paths in both tasks=1, but should be at l"):
        sharing.sharing(own, contrast)


def test_heads_close_to_the_threshold_widen_the_bounds():
    own, contrast = clear([[(0, 0), (4, 1), (5, 1)], [(0, 0), (4, 1), (5, 1)]])
    generator = np.random.default_rng(0)
    contrast[:, 5, 1] = generator.beta(0.5, 4.5, size=100)
    found = sharing.sharing(own, contrast)
    assert found.undecided == 1
    assert found.difference.low == pytest.approx(0)
    assert found.difference.high > 0.3
    all_alike = sharing.sharing(own[:, :, :1], own[:, :, :1])
    assert math.isnan(all_alike.corrected[0])
    assert (all_alike.difference.low, all_alike.difference.high) == (-math.inf, math.inf)

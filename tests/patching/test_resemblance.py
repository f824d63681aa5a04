"""The resemblance of sweeps: what its correlations estimate, and what they do not change with."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from ivmethods.patching.resemblance import Sweeps

NUMBERS = st.floats(-3, 3, width=32)
SHAPE = (6, 5)


def by_hand(first, second):
    """Mean covariance over tuples between the effects on different samples."""
    n = len(first)
    pairs = [(s, t) for s in range(n) for t in range(n) if s != t]
    return np.mean([np.cov(first[s], second[t])[0, 1] for s, t in pairs])


def by_hand_correlation(effects, first, second):
    a, b = effects[first], effects[second]
    return by_hand(a, b) / np.sqrt(by_hand(a, a) * by_hand(b, b))


def example(seed=0, n=6, tuples=5):
    generator = np.random.default_rng(seed)
    pattern = 3 * generator.normal(size=(2, tuples))
    return {
        "a": pattern[0] + generator.normal(size=(n, tuples)),
        "b": pattern.sum(axis=0) + generator.normal(size=(n, tuples)),
        "c": pattern[1] + generator.normal(size=(n, tuples)),
    }


def test_a_correlation_is_of_covariances_between_different_samples():
    effects = example()
    expected = by_hand_correlation(effects, "a", "b")
    assert Sweeps(effects).correlation("a", "b") == pytest.approx(expected)


@given(arrays.arrays(float, SHAPE, elements=NUMBERS), arrays.arrays(float, SHAPE, elements=NUMBERS))
def test_correlations_are_symmetric_and_of_a_sweep_with_itself_1(first, second):
    sweeps = Sweeps({"a": first, "b": second})
    np.testing.assert_array_equal(sweeps.correlation("a", "b"), sweeps.correlation("b", "a"))
    own = sweeps.correlation("a", "a")
    assert np.isnan(own) or own == pytest.approx(1)


@given(
    st.integers(0, 100),
    st.floats(0.1, 10),
    arrays.arrays(float, (SHAPE[0], 1), elements=NUMBERS),
    st.permutations(range(SHAPE[1])),
)
def test_scale_offset_of_a_sample_and_order_of_tuples_do_not_matter(seed, scale, offset, order):
    effects = example(seed)
    changed = {name: values[:, order] for name, values in effects.items()}
    changed["a"] = scale * (changed["a"] + offset)
    for pair in (("a", "b"), ("a", "c"), ("b", "c")):
        assert Sweeps(changed).correlation(*pair) == pytest.approx(
            Sweeps(effects).correlation(*pair), nan_ok=True
        )


def test_noise_neither_lowers_a_correlation_nor_raises_it_where_it_is_shared():
    """Where plain Pearson's r of the means does both."""
    generator = np.random.default_rng(0)
    maps = np.linalg.qr(generator.normal(size=(16, 3)))[0][:, 1:].T * 4
    maps -= maps.mean(axis=1, keepdims=True)
    truth = np.corrcoef(maps)[0, 1]
    found = {"same": [], "other": []}
    plain = {"same": [], "other": []}
    for _ in range(300):
        shared = 5 * generator.normal(size=(80, 16))
        own = 5 * generator.normal(size=(80, 16))
        effects = {"a": maps[0] + shared, "same": maps[0] + own, "other": maps[1] + shared}
        for name in found:
            found[name].append(Sweeps(effects).correlation("a", name))
            means = effects["a"].mean(axis=0), effects[name].mean(axis=0)
            plain[name].append(np.corrcoef(*means)[0, 1])
    assert np.nanmedian(found["same"]) == pytest.approx(1, abs=0.1)
    assert np.nanmedian(found["other"]) == pytest.approx(truth, abs=0.1)
    assert np.median(plain["same"]) < 0.85
    assert np.median(plain["other"]) > truth + 0.2


def test_a_lead_is_a_difference_of_correlations_with_bounds_around_it():
    sweeps = Sweeps(example(n=40, tuples=12))
    lead = sweeps.lead(("a", "b"), ("a", "c"))
    expected = sweeps.correlation("a", "b") - sweeps.correlation("a", "c")
    assert lead.estimate == pytest.approx(expected)
    assert lead.low < lead.estimate < lead.high
    assert lead.n == 40
    narrow = sweeps.lead(("a", "b"), ("a", "c"), alpha_high=0.4)
    assert (narrow.low, narrow.high < lead.high) == (lead.low, True)
    nothing = sweeps.lead(("a", "b"), ("b", "a"))
    assert (nothing.low, nothing.estimate, nothing.high) == (0, 0, 0)


def test_bounds_are_those_of_leaving_out_one_sample_after_the_other():
    effects = example(n=7)
    kept = [
        {name: np.delete(values, out, axis=0) for name, values in effects.items()}
        for out in range(7)
    ]
    leads = [
        by_hand_correlation(one, "a", "b") - by_hand_correlation(one, "a", "c") for one in kept
    ]
    error = np.sqrt(6 / 7 * np.sum((leads - np.mean(leads)) ** 2))
    lead = Sweeps(effects).lead(("a", "b"), ("a", "c"))
    assert (lead.estimate - lead.low) / error == pytest.approx(stats.t.ppf(0.95, 6))


def test_samples_of_one_unit_are_never_paired_with_each_other():
    effects, units = example(), np.array([0, 1, 1, 2, 0, 3])
    pairs = [(s, t) for s in range(6) for t in range(6) if units[s] != units[t]]

    def covariance(first, second):
        return np.mean([np.cov(effects[first][s], effects[second][t])[0, 1] for s, t in pairs])

    expected = covariance("a", "b") / np.sqrt(covariance("a", "a") * covariance("b", "b"))
    assert Sweeps(effects, units).correlation("a", "b") == pytest.approx(expected)
    assert Sweeps(effects).correlation("a", "b") != pytest.approx(expected)


def test_noise_alone_has_no_pattern():
    generator = np.random.default_rng(0)
    noise = [Sweeps({"a": generator.normal(size=(30, 12))}) for _ in range(100)]
    assert sum(one.has_pattern("a") for one in noise) <= 8
    assert Sweeps(example(n=30, tuples=12)).has_pattern("a")
    assert not Sweeps({"a": np.zeros((30, 12))}).has_pattern("a")
    assert np.isnan(Sweeps({"a": np.zeros((30, 12))}).correlation("a", "a"))


@pytest.mark.parametrize(
    "effects",
    [
        {"a": np.zeros((4, 3)), "b": np.zeros((4, 4))},
        {"a": np.zeros((1, 3))},
        {"a": np.zeros((4, 2))},
    ],
)
def test_sweeps_that_cannot_be_compared_are_one_line(effects):
    with pytest.raises(ValueError, match=r"^effects=\{.*but should be one shape"):
        Sweeps(effects)


def test_nan_is_refused():
    with pytest.raises(ValueError, match="a=1 of 12 values NaN"):
        Sweeps({"a": np.where(np.arange(12) == 5, np.nan, 1.0).reshape(4, 3)})

"""Drifts: what moved between two runs, and how often that is said of what did not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ivevidence.compare.drifts import drifts, is_beyond

N = 100
NAMES = [f"query {i}" for i in range(N)]
values = st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=30)


def drift_of(before, after, *, alpha=0.05, before_names=NAMES, after_names=NAMES):
    (found,) = drifts(
        {"effect": list(before)},
        {"effect": list(after)},
        samples_before=before_names[: len(before)],
        samples_after=after_names[: len(after)],
        alpha=alpha,
    )
    return found


def test_a_paired_drift_is_students_t_of_the_differences():
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=N), rng.normal(0.2, 1, N)
    expected = stats.ttest_rel(after, before)
    low, high = expected.confidence_interval()
    found = drift_of(before, after)
    assert found.paired
    assert found.n == (N, N)
    assert found.p_value == pytest.approx(expected.pvalue)
    # One bound is Student's; the one on the side of the longer tail lies further out.
    assert found.low <= low + 1e-12
    assert found.high >= high - 1e-12
    assert (found.low == pytest.approx(low)) != (found.high == pytest.approx(high))


def test_an_unpaired_drift_is_welchs_t():
    rng = np.random.default_rng(1)
    before, after = rng.normal(size=40), rng.normal(0.5, 3, 70)
    expected = stats.ttest_ind(after, before, equal_var=False)
    low, high = expected.confidence_interval()
    found = drift_of(before, after)
    assert not found.paired
    assert found.n == (40, 70)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.low <= low + 1e-12
    assert found.high >= high - 1e-12


@given(values, st.randoms())
def test_samples_are_paired_by_name_whatever_their_order(before, random):
    after = [value + 1 for value in before]
    order = list(range(len(before)))
    random.shuffle(order)
    found = drift_of(
        before,
        [after[i] for i in order],
        after_names=[NAMES[i] for i in order],
    )
    assert found.paired
    assert found.estimate == pytest.approx(1, abs=1e-9)


@given(values, values)
def test_swapping_the_runs_turns_the_drift_around(one, other):
    there, back = drift_of(one, other), drift_of(other, one)
    assert there.estimate == pytest.approx(-back.estimate)
    assert there.p_value == pytest.approx(back.p_value)
    if there.low is not None:
        assert (there.low, there.high) == pytest.approx((-back.high, -back.low))


@given(values)
def test_a_run_does_not_drift_from_itself(same):
    found = drift_of(same, same)
    assert found.estimate == 0
    assert found.p_value == 1
    assert not is_beyond(found, 0)


def test_few_skewed_values_beside_many_others_are_no_drift():
    """As one of a hundred comparisons: Welch's t alone is wrong six times as often as it may."""
    rng, others = np.random.default_rng(0), [name + "?" for name in NAMES]
    found, alpha = [], 0.0005
    for k in range(2000):
        sizes = (60, 15) if k % 2 else (15, 60)
        before, after = (rng.lognormal(size=size) for size in sizes)
        found.append(drift_of(before, after, alpha=alpha, after_names=others))
    assert sum(is_beyond(drift, 0) for drift in found) <= 2
    assert sum(drift.p_value < alpha for drift in found) <= 2


def test_samples_of_one_name_are_not_paired():
    found = drift_of([1.0, 2, 3], [1.0, 2, 3], before_names=["a"] * 3, after_names=["a"] * 3)
    assert not found.paired


def test_missing_values_leave_with_their_partners():
    before, after = [0.0, None, 2.0, 3.0], [1.0, 5.0, None, 4.0]
    found = drift_of(before, after)
    assert found.n == (2, 2)
    assert found.estimate == 1


def test_values_of_other_names_are_not_compared():
    assert not drifts({"a": [1, 2]}, {"b": [1, 2]}, samples_before="xy", samples_after="xy")
    assert not drifts({"a": [1, None]}, {"a": [1, 2]}, samples_before="xy", samples_after="xy")


def test_few_samples_that_moved_alike_tell_little():
    few, enough = drift_of([0.0] * 4, [1.0] * 4), drift_of([0.0] * 20, [1.0] * 20)
    assert not is_beyond(few, 0.1)
    assert few.p_value == 0.125
    assert is_beyond(enough, 0.1)


def test_without_a_range_what_moved_alike_tells_nothing():
    found = drift_of(np.arange(20.0), np.arange(20) + 0.3)
    assert (found.low, found.high, found.p_value) == (None, None, 1)


def test_a_move_that_float32_may_make_is_no_drift():
    rng = np.random.default_rng(0)
    before = rng.normal(0, 10, N)
    moved = before + 2e-6 + rng.normal(0, 1e-6, N)
    assert stats.ttest_rel(moved, before).pvalue < 1e-9
    found = drift_of(before, moved)
    assert found.p_value == 1
    assert not is_beyond(found, 0)
    assert is_beyond(drift_of(before, before + 2e-3 + rng.normal(0, 1e-3, N)), 0)


# Most samples gain a little and few lose much: no drift in the mean.
RARE_LOSSES = {
    "2 %": lambda rng: np.where(rng.random(20) < 0.02, -0.9, 0.018 / 0.98),
    "2 %, noisy": lambda rng: np.where(
        rng.random(20) < 0.02, -0.9, 0.018 / 0.98 + rng.uniform(-0.01, 0.01, 20)
    ),
    "5 %": lambda rng: np.where(rng.random(20) < 0.05, -0.9, 0.045 / 0.95),
}


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("world", RARE_LOSSES)
def test_rare_losses_are_no_drift(world, paired):
    rng = np.random.default_rng(3)
    before = np.full(20, 0.91)
    others = NAMES if paired else [name + "?" for name in NAMES]
    found = [
        drift_of(before, before + RARE_LOSSES[world](rng), after_names=others) for _ in range(40)
    ]
    assert sum(drift.p_value < 0.05 or is_beyond(drift, 0) for drift in found) <= 2


@pytest.mark.parametrize(("low", "high", "beyond"), [(0.2, 1, True), (-1, -0.2, True)])
def test_a_drift_is_beyond_when_its_whole_interval_is(low, high, beyond):
    middle = (low + high) / 2
    spread = np.resize([1, -1], N) * (high - low) / 2 * np.sqrt(N - 1) / 1.984
    found = drift_of(np.zeros(N), middle + spread)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-3)
    assert is_beyond(found, 0.19) is beyond
    assert not is_beyond(found, 0.21)


@pytest.mark.parametrize(("fell", "expected"), [(5, 0.0625), (6, 0.03125), (0, 1.0)])
def test_answers_of_yes_and_no_have_mcnemars_exact_test(fell, expected):
    before, after = [1.0] * 20, [0.0] * fell + [1.0] * (20 - fell)
    found = drift_of(before, after)
    assert found.p_value == pytest.approx(expected)
    assert found.estimate == pytest.approx(-fell / 20)
    assert (found.high < 0) == (expected < 0.05)


def test_both_bounds_of_yes_and_no_hold_what_is_exact():
    before, after = [1.0] * 10 + [0.0] * 10, [0.0] * 8 + [1.0] * 3 + [0.0] * 9
    found = drift_of(before, after)
    share = stats.binomtest(1, 9).proportion_ci(0.95, "exact")
    assert found.low <= (2 * share.low - 1) * 9 / 20
    assert found.high >= (2 * share.high - 1) * 9 / 20
    assert found.high < 0

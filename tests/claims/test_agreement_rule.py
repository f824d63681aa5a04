"""What the rule of agreement does at its edges; its worlds are in `benchmarks/worlds`."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from claims.attribution_patching.rule import (
    LEAST_NODES,
    LEAST_UNITS,
    correlations,
    decide,
    parts,
    without_largest,
)

PAIRS = 60


def effects(pairs=PAIRS, heads=4, seed=0):
    return np.random.default_rng(seed).normal(size=(pairs, 6, heads))


def judged(exact, quick, gap=5.0, answers=None):
    labels = answers or [str(i) for i in range(len(exact))]
    return decide(exact=exact, quick=quick, gap=np.full(len(exact), gap), answers=labels, seed=0)


def outcomes(decision):
    return {c.name: c.outcome for c in decision.criteria}


def test_equal_effects_agree_however_few_the_units_and_opposite_ones_do_not():
    exact = effects(LEAST_UNITS)
    assert judged(exact, exact).verdict == "supported"
    assert set(outcomes(judged(exact, -exact)).values()) == {"short"}


def test_one_giant_head_hides_neither_the_size_of_its_error_nor_the_errors_of_others():
    exact = effects()
    exact[:, 2, 1] += 100
    too_small = 0.1 * exact
    r = np.corrcoef(exact.mean(axis=0).ravel(), too_small.mean(axis=0).ravel())[0, 1]
    assert r > 0.999
    assert outcomes(judged(exact, too_small)) == {
        "rank correlation, all heads": "beyond",
        "rank correlation, without the largest": "beyond",
        "part explained, all heads": "short",
        "part explained, without the largest": "short",
    }
    others = effects(seed=1)
    others[:, 2, 1] = exact[:, 2, 1]
    found = outcomes(judged(exact, others))
    assert found["part explained, all heads"] == "beyond"
    assert found["part explained, without the largest"] == "short"


def test_errors_that_cancel_over_pairs_count():
    exact = effects(1).repeat(PAIRS, axis=0)
    error = np.where(np.arange(PAIRS) % 2, 3.0, -3.0)[:, None, None] * exact
    np.testing.assert_allclose((exact + error).mean(axis=0), exact.mean(axis=0))
    assert judged(exact, exact + error).verdict == "refuted"


@pytest.mark.parametrize(
    ("verdict", "reason", "change"),
    [
        ("inconclusive", "no effect to compare: mean logit difference 0.5", {"gap": 0.5}),
        ("inconclusive", "28 units of 28 pairs", {"pairs": LEAST_UNITS - 1}),
        ("inconclusive", "10 units of 60 pairs", {"answers": 10}),
        ("inconclusive", "0 units of 60 pairs", {"only": 1}),
        ("not_applicable", "6 heads, but should be at least 7", {"heads": 1}),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_what_cannot_be_decided_says_which(verdict, reason, change, sign):
    exact = effects(change.get("pairs", PAIRS), change.get("heads", 4))
    assert LEAST_NODES == 7
    if "only" in change:
        exact[:, 1:] = 1e-6  # rounding, beside ...
        exact[:, 0] = [9, 0, 0, 0]  # ... one head
    count = change.get("answers", PAIRS)
    answers = [str(i % count) for i in range(len(exact))]
    decision = judged(exact, sign * exact, change.get("gap", 5.0), answers)
    assert decision.verdict == verdict
    assert decision.reason.startswith(reason)


def test_answers_that_pairs_share_are_the_units():
    exact = effects(120)
    quick = exact.copy()
    wrong = np.arange(120) % 40 < 8  # a fifth of forty answers
    quick[wrong] = -exact[wrong]
    alone = judged(exact, quick)
    shared = judged(exact, quick, answers=[str(i % 40) for i in range(120)])
    for one, other in zip(alone.criteria, shared.criteria, strict=True):
        assert one.estimate == pytest.approx(other.estimate)
        assert other.low < one.low
        assert one.high < other.high


@given(st.integers(0, 99), st.floats(0.1, 10.0))
def test_measures_keep_to_the_order_of_heads_and_the_scale(seed, scale):
    exact, quick = (effects(5, seed=seed + k).reshape(5, -1) for k in (0, 1))
    for measure in (correlations, parts):
        values = measure(exact, quick)
        assert (np.abs(values) <= 1).all()
        np.testing.assert_allclose(measure(exact, exact), 1)
        turned = np.random.default_rng(seed).permutation(exact.shape[1])
        np.testing.assert_allclose(measure(exact[:, turned], quick[:, turned]), values)
        np.testing.assert_allclose(measure(scale * exact, scale * quick), values)
    rest = without_largest(exact, exact)
    assert rest.shape == (5, exact.shape[1] - 1)
    assert (np.abs(rest).max(axis=1) < np.abs(exact).max(axis=1)).all()


def test_estimates_that_are_all_alike_have_no_order():
    exact = effects(3).reshape(3, -1)
    assert (correlations(exact, np.zeros_like(exact)) == 0).all()
    assert (parts(exact, np.zeros_like(exact)) == 0).all()

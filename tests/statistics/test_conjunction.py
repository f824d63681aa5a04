"""Partial conjunction: against enumeration, and where answers are units."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ivmethods.statistics.conjunction import majority, majority_share, partial_conjunction_p
from ivmethods.statistics.univariate import binomial_p, clopper_pearson

booleans = st.lists(st.booleans(), min_size=1, max_size=60).map(np.array)


def summed_p(positive, size):
    """The sums of signs by brute force: all flips of whole samples, the worst subset."""
    signs = np.where(positive, 1, -1)
    flips = np.array(list(product((1, -1), repeat=len(signs))))
    sums = [
        signs[:, list(subset)].sum(axis=1) for subset in combinations(range(signs.shape[1]), size)
    ]
    return max(np.mean(flips @ each >= each.sum()) for each in sums)


@given(arrays(bool, st.tuples(st.integers(1, 6), st.integers(1, 5))), st.data())
def test_partial_conjunction_p_enumerates_all_flips_and_subsets(positive, data):
    tuples = positive.shape[1]
    least = data.draw(st.integers(1, tuples))
    size = tuples - least + 1
    expected = summed_p(positive, size)
    if size > 1:
        each = sorted(binomial_p(column) for column in positive.T)[least - 1]
        expected = min(1, 2 * min(expected, size * each))
    assert partial_conjunction_p(positive, least=least) == pytest.approx(expected, abs=1e-12)


@given(arrays(bool, st.tuples(st.integers(1, 30), st.integers(2, 7))), st.data())
def test_more_tuples_are_harder_to_show_and_more_positives_easier(positive, data):
    """Where both ask for more than a single tuple each; one test more is doubled."""
    least = data.draw(st.integers(1, positive.shape[1] - 1))
    p = partial_conjunction_p(positive, least=least)
    if least < positive.shape[1] - 1:
        assert p <= partial_conjunction_p(positive, least=least + 1) + 1e-12
    row, column = (data.draw(st.integers(0, size - 1)) for size in positive.shape)
    positive[row, column] = True
    assert 0 < partial_conjunction_p(positive, least=least) <= 1


@given(booleans)
def test_partial_conjunction_p_of_one_tuple_is_the_binomial_test(positive):
    p = partial_conjunction_p(positive[:, None], least=1)
    assert p == pytest.approx(binomial_p(positive), abs=1e-12)


@given(booleans, st.integers(2, 8))
def test_partial_conjunction_p_of_copies_is_twice_the_binomial_test(positive, copies):
    copied = np.repeat(positive[:, None], copies, axis=1)
    p = partial_conjunction_p(copied, least=majority(copies))
    factor = 1 if copies == 2 else 2  # of two tuples both must be positive: single ones are tested
    assert p == pytest.approx(min(1, factor * binomial_p(positive)), abs=1e-12)


def test_pairs_of_the_opposite_sign_do_not_swamp_a_majority():
    six = np.zeros((40, 10), dtype=bool)
    six[:, :6] = True
    assert partial_conjunction_p(six, least=6) < 1e-9
    assert partial_conjunction_p(six, least=7) == 1
    assert partial_conjunction_p(~six, least=4) < 1e-9


def test_weak_evidence_adds_up_over_tuples():
    positive = np.random.default_rng(0).random((200, 10)) < 0.57
    single = 10 * np.sort([binomial_p(column) for column in positive.T])[5]
    assert partial_conjunction_p(positive, least=6) < single / 2


def test_partial_conjunction_p_refuses_more_subsets_than_it_can_try():
    with pytest.raises(
        ValueError, match=r"tuples=13, but should be at most 12 \[partial_conjunction_p\]"
    ):
        partial_conjunction_p(np.ones((3, 13), dtype=bool), least=7)


@given(arrays(bool, st.tuples(st.integers(1, 30), st.integers(1, 9))))
def test_the_share_of_the_majority_and_its_bounds_say_what_p_says(positive):
    n, tuples = positive.shape
    share, p = majority_share(positive)
    reached = [s for s in positive.mean(axis=0) if 2 * np.sum(positive.mean(axis=0) >= s) > tuples]
    assert share.estimate == max(reached)
    assert (share.n, p) == (n, partial_conjunction_p(positive, least=majority(tuples)))
    rest = tuples - majority(tuples) + 1
    assert (share.low > 0.5) == (p < 0.05)
    assert (share.high < 0.5) == (partial_conjunction_p(~positive, least=rest) < 0.05)
    assert not (share.low > 0.5 and share.high < 0.5)


@given(booleans)
def test_the_share_of_one_tuple_is_that_of_clopper_and_pearson(positive):
    share, _ = majority_share(positive[:, None])
    exact = clopper_pearson(positive)
    assert (share.low, share.high) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_samples_of_one_answer_flip_together():
    """Twelve samples of six answers: by enumeration over answers, where that says less."""
    clusters = np.repeat(np.arange(6), 2)
    positive = np.repeat([True, True, True, True, True, False], 2)[:, None]
    p = partial_conjunction_p(positive, least=1, clusters=clusters)
    assert p == pytest.approx(7 / 64)
    assert p > 2 * partial_conjunction_p(positive, least=1)


@given(arrays(bool, st.tuples(st.integers(2, 30), st.integers(1, 9))))
def test_samples_that_are_each_an_answer_are_as_without_answers(positive):
    own = np.arange(len(positive))
    expected = partial_conjunction_p(positive, least=1)
    assert partial_conjunction_p(positive, least=1, clusters=own) == expected


@given(arrays(bool, st.tuples(st.just(24), st.integers(1, 9))), st.integers(2, 8))
def test_answers_as_units_only_widen_the_share_and_agree_with_p(positive, answers):
    clusters = np.arange(24) % answers
    share, p = majority_share(positive, clusters=clusters)
    narrow, _ = majority_share(positive)
    assert (share.low <= narrow.low, share.high >= narrow.high) == (True, True)
    assert share.estimate == narrow.estimate
    assert (share.low > 0.5) == (p < 0.05)
    assert not (share.low > 0.5 and share.high < 0.5)

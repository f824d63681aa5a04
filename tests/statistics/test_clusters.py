"""Answers as units: jackknife over answers, and how alike the samples of one answer are."""

import math

import numpy as np
import pytest
from scipy import stats

from ivmethods.statistics.clusters import (
    clustered_p,
    clustered_ratio,
    clusters,
    fixed_answers,
    intraclass_correlation,
)


@pytest.mark.parametrize(
    ("answers", "units", "fixed"),
    [
        ("abcdefgh", 0, 0),
        ("abcdefga", 7, 0),
        ("abcdeabcde", 0, 5),
        ("yn" * 10, 0, 2),
        ("abcde", 0, 0),
    ],
)
def test_answers_are_units_where_samples_share_them_and_there_are_enough(answers, units, fixed):
    numbers = clusters(answers)
    assert (len(set(numbers)) if numbers is not None else 0, fixed_answers(answers)) == (
        units,
        fixed,
    )


def test_a_mean_over_answers_of_equal_size_has_the_bounds_of_the_mean_of_their_means():
    generator = np.random.default_rng(0)
    numbers, values = np.arange(60) % 12, generator.normal(size=60)
    means = values.reshape(5, 12).mean(axis=0)
    interval = clustered_ratio(values, None, numbers, alpha_high=0.01)
    error = means.std(ddof=1) / np.sqrt(12)
    assert interval.estimate == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - stats.t.ppf(0.95, 11) * error)
    assert interval.high == pytest.approx(values.mean() + stats.t.ppf(0.99, 11) * error)
    p = clustered_p(values, numbers, above=-0.2)
    assert p == pytest.approx(stats.ttest_1samp(means, -0.2, alternative="greater").pvalue)
    assert clustered_p(np.ones(60), numbers, above=0.5) == 0.5**12


def test_a_ratio_without_a_denominator_on_all_but_one_answer_has_no_bounds():
    numbers = np.arange(6)
    interval = clustered_ratio(np.ones(6), np.where(numbers == 0, 1.0, 0.0), numbers)
    assert (interval.estimate, interval.low, interval.high) == (6, -math.inf, math.inf)


def test_the_design_effect_is_how_much_more_a_mean_varies():
    """Twelve answers of five samples that share half of their variance: 1 + 4 x 0.5."""
    generator, numbers, found, means = np.random.default_rng(0), np.arange(60) % 12, [], []
    for _ in range(400):
        values = generator.normal(size=12)[numbers] + generator.normal(size=60)
        found.append(intraclass_correlation(values, numbers.tolist()))
        means.append(values.mean())
    correlation, effect = np.mean(found, axis=0)
    assert correlation == pytest.approx(0.5, abs=0.05)
    assert effect == pytest.approx(3, abs=0.2)
    assert np.var(means) * 60 / 2 == pytest.approx(3, abs=0.6)


@pytest.mark.parametrize(
    ("values", "answers"), [([1.0, 2.0], "ab"), ([1.0, 2.0], "aa"), ([1.0] * 4, "aabb")]
)
def test_where_nothing_is_shared_or_varies_no_design_effect_is_known(values, answers):
    assert np.isnan(intraclass_correlation(np.array(values), answers)).all()

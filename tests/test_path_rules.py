"""False positives and power of the rule on paths, measured on simulated worlds.

As in `test_decision_rules`: strictly inside the null at most 5 % of the runs are `supported`, on a
threshold at most 7 %.
"""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claims import test_tinst_path_dominance as dominance
from ivmethods import relative_lead
from ivmethods.bootstrap import bootstrap
from ivmethods.relative_lead import relative_leads
from ivmethods.statistics import sign_flip_p
from tests.test_decision_rules import LEVEL, ON_THRESHOLD, RUNS, halves

FAR = 0.8


# ---------------------------------------------------------------------------- T_inst path dominance


def path_counts(generator, leads, *, n=100, sd=1.0, sd_own=None, rho=0.5, none=0.0):
    """Log-normal numbers of paths of T_inst and of a rival a lead, correlated over samples.

    none: share of samples on which a token has no high-ranking path.
    """
    leads = np.asarray(leads)
    scatter = np.r_[sd if sd_own is None else sd_own, np.full(len(leads), sd)]
    shared, own = generator.normal(size=(n, 1)), generator.normal(size=(n, len(scatter)))
    z = scatter * (np.sqrt(rho) * shared + np.sqrt(1 - rho) * own)
    counts = 50 * np.r_[1, (1 - leads) / (1 + leads)] * np.exp(z - scatter**2 / 2) / (1 - none)
    counts[generator.random(counts.shape) < none] = 0
    return counts


def judge_counts(counts, *, seed=0, resamples=200, **options):
    names = [f"rival {i}" for i in range(1, counts.shape[1])]
    return dominance.decide(
        own=counts[:, 0],
        rivals=counts[:, 1:],
        names=names,
        resamples=resamples,
        seed=seed,
        **options,
    )


def count_verdicts(*leads, runs=RUNS, **world):
    generator = np.random.default_rng(0)
    decisions = (
        judge_counts(path_counts(generator, leads, **world), seed=seed) for seed in range(runs)
    )
    return Counter(decision.verdict for decision in decisions)


def test_one_rival_with_as_many_paths_is_enough_against_dominance():
    assert count_verdicts(0.0, FAR)["supported"] <= LEVEL * RUNS


ALIKE = [
    {},
    {"sd": 2.0},
    {"sd": 1.5, "n": 50},
    {"none": 0.8},
    {"sd": 0.2, "rho": 0.9},
]


@pytest.mark.parametrize(
    "world", ALIKE, ids=["heavy", "heavier", "50 samples", "mostly none", "light"]
)
def test_leads_on_the_threshold_are_supported_or_refuted_in_five_of_a_hundred(world):
    verdicts = count_verdicts(0.05, **world)
    assert verdicts["supported"] <= ON_THRESHOLD * RUNS
    assert verdicts["refuted"] <= ON_THRESHOLD * RUNS


def test_several_leads_on_the_threshold_share_the_error_of_refuting():
    verdicts = count_verdicts(0.05, 0.05, 0.05)
    assert verdicts["supported"] <= LEVEL * RUNS
    assert verdicts["refuted"] <= LEVEL * RUNS


@pytest.mark.parametrize(
    ("lead", "world"), [(0.2, {"sd": 0.5}), (0.3, {"rho": 0.8}), (0.5, {"none": 0.3})]
)
def test_clear_leads_over_all_rivals_are_found(lead, world):
    verdicts = count_verdicts(lead, lead, lead, runs=200, **world)
    assert verdicts["supported"] >= 0.9 * 200
    assert verdicts["refuted"] == 0


def test_a_rival_with_more_paths_refutes():
    assert count_verdicts(-0.3, FAR, runs=100)["refuted"] >= 90


def test_tokens_without_any_high_ranking_path_are_inconclusive():
    decision = judge_counts(np.zeros((40, 3)))
    assert (decision.verdict, decision.criteria) == ("inconclusive", ())
    assert decision.reason == "no high-ranking path from any of these tokens on 40 samples"


def test_all_or_no_paths_are_decisive():
    only = np.tile([5.0, 0.0], (40, 1))
    decision = judge_counts(only)
    assert decision.verdict == "supported"
    assert (decision.criteria[0].low, decision.criteria[0].estimate) == (1, 1)
    assert judge_counts(only[:, ::-1]).verdict == "refuted"
    assert judge_counts(np.tile([5.0, 5.0], (40, 1))).verdict == "refuted"


def test_the_closest_rival_comes_first():
    counts = path_counts(np.random.default_rng(0), [0.7, 0.3, 0.5], sd=0.3)
    decision = judge_counts(counts)
    names = [criterion.name for criterion in decision.criteria]
    assert names == [f"lead over rival {i}" for i in (2, 3, 1)]
    assert decision.verdict == "supported"


def test_samples_without_any_path_are_dropped():
    counts = path_counts(np.random.default_rng(0), [0.3, 0.3])
    with_gaps = counts.copy()
    with_gaps[3, 0] = with_gaps[7, 2] = np.nan
    kept = np.delete(counts, [3, 7], axis=0)
    assert judge_counts(with_gaps).criteria == judge_counts(kept).criteria
    nothing = judge_counts(np.full((5, 2), np.nan))
    assert nothing.reason.endswith("on 0 samples")


def test_the_picking_part_picks_the_token_and_then_has_no_say():
    generator = np.random.default_rng(0)
    is_discovery = halves(generator, 60)
    candidates = np.where(is_discovery[:, None], [1.0, 2.0], [9.0, 0.0])
    candidates[np.flatnonzero(is_discovery)[0]] = [np.nan, 0]
    assert dominance.discover(candidates, is_discovery=is_discovery) == 1
    assert dominance.discover(candidates, is_discovery=~is_discovery) == 0
    assert dominance.discover(np.ones((60, 2)), is_discovery=is_discovery) == 0
    assert dominance.discover(np.full((60, 2), np.nan), is_discovery=is_discovery) == 0
    counts = path_counts(generator, [0.2, 0.4], n=60)
    before = judge_counts(counts, is_discovery=is_discovery)
    assert before.criteria[0].n == 30
    counts[is_discovery] = 1000 * generator.random(size=(30, 3))
    assert judge_counts(counts, is_discovery=is_discovery) == before


@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(8, 12))
def test_bounds_of_a_lead_are_where_its_sign_flip_test_turns(seed, n):
    generator = np.random.default_rng(seed)
    own, rival = generator.exponential(size=(2, n))
    found = relative_leads(own, rival[:, None], resamples=20_000, seed=seed)[0]
    for bound, side in ((found.low, 1), (found.high, -1)):
        # A little further out than the bound (bootstrap bounds may be wider): no longer excluded.
        outside = np.clip(bound - side * 0.02, -1, 1)
        p = sign_flip_p(side * (own * (1 - outside) - rival * (1 + outside)), seed=0)
        assert p <= 0.06


def test_relative_leads_are_paired_and_can_be_stricter_above():
    generator = np.random.default_rng(0)
    counts = path_counts(generator, [0.1], sd=0.5, rho=0.95)
    paired = relative_leads(counts[:, 0], counts[:, 1:], resamples=999)[0]
    shuffled = relative_leads(counts[:, 0], generator.permutation(counts[:, 1:]), resamples=999)[0]
    assert shuffled.estimate == pytest.approx(paired.estimate)
    assert shuffled.high - shuffled.low > 2 * (paired.high - paired.low)
    stricter = relative_leads(counts[:, 0], counts[:, 1:], resamples=999, alpha_high=0.01)[0]
    assert (stricter.low, stricter.high > paired.high) == (paired.low, True)


@pytest.mark.parametrize("sd_own", [0.1, 0.5, 1.5])
def test_bounds_of_a_lead_are_at_least_as_wide_as_those_of_the_bootstrap(sd_own):
    counts = path_counts(np.random.default_rng(0), [0.1], sd=0.5, sd_own=sd_own)
    own, rival = counts.T
    found = relative_leads(own, counts[:, 1:], resamples=999, alpha_high=0.01)[0]
    alone = bootstrap(
        relative_lead._relative_lead,
        own,
        rival,
        smooth=True,
        resamples=999,
        seed=0,
        alpha_high=0.01,
    )
    assert found.low <= alone.low
    assert found.high >= alone.high
    assert found.estimate == alone.estimate == pytest.approx((own - rival).sum() / counts.sum())


def test_bounds_of_a_lead_are_infinite_where_samples_cannot_give_them():
    counts = path_counts(np.random.default_rng(0), [0.1], n=3)
    few = relative_leads(counts[:, 0], counts[:, 1:], resamples=999)[0]
    assert (few.low, few.high) == (-math.inf, math.inf)
    with_paths = np.r_[counts, np.zeros((60, 2))]
    rare = relative_leads(with_paths[:, 0], with_paths[:, 1:], resamples=999)[0]
    assert (rare.low, rare.high) == (-math.inf, math.inf)

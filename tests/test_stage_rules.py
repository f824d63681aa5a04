"""False positives and power of the rules on stages, measured on simulated sweeps.

As in `test_decision_rules`: strictly inside the null at most 5 % of the runs are `supported`, where
a world sits on a threshold at most 7 %.
"""

from collections import Counter

import numpy as np
import pytest

from benchmarks.worlds.superadditivity import SimulatedCell, interacting
from claims import test_behaviour as behaviour
from claims import test_stages as stages
from claims import test_superadditivity as superadditivity
from ivevidence import Criterion, Decision
from ivfixtures.judging import judge_all

RUNS = 100
LEVEL = 0.05
ON_THRESHOLD = 0.07

# ----------------------------------------------------------------------------------- resemblance


def sweeps(
    generator, alike, *, n=100, tuples=15, scales=(1, 1, 1), noise=3.0, shared=0.5, heavy=False
):
    """Effects of base, sft and dpo whose mean maps correlate exactly as `alike` says.

    alike: correlations of base-sft, base-dpo, sft-dpo. Samples differ in how much of the map they
    show, the same in all stages, and in noise per tuple, of which `shared` is the query's.
    """
    drawn = generator.normal(size=(tuples, 3))
    axes = np.linalg.qr(drawn - drawn.mean(axis=0))[0] * np.sqrt(tuples - 1)
    wanted = np.eye(3)
    wanted[0, 1], wanted[0, 2], wanted[1, 2] = alike
    wanted = np.maximum(wanted, wanted.T)
    maps = axes @ np.linalg.cholesky(wanted + 1e-9 * np.eye(3)).T
    spread = generator.normal(size=(n, 1))
    shown = np.exp(spread - 0.5) if heavy else 1 + 0.5 * spread
    of_query = generator.normal(size=(n, tuples))
    return {
        stage: scales[k] * maps[:, k] * shown
        + noise
        * (np.sqrt(shared) * of_query + np.sqrt(1 - shared) * generator.normal(size=(n, tuples)))
        for k, stage in enumerate(stages.COMPARED)
    }


def verdicts(alike, *, runs=RUNS, resamples=300, **world):
    generator = np.random.default_rng(0)
    decisions = (
        stages.decide(sweeps(generator, alike, **world), resamples=resamples, seed=run)
        for run in range(runs)
    )
    return Counter(decision.verdict for decision in decisions)


NO_MORE_ALIKE = [
    # The same maps, but a base model with a fifth of the effect: noise is not difference.
    ((0.999, 0.999, 0.999), {"scales": (0.2, 1, 1)}),
    # Noise of the queries that all stages have in common is not resemblance.
    ((0.5, 0.5, 0.5), {"shared": 0.95, "noise": 6.0}),
    ((0.8, 0.8, 0.8), {}),
    ((0.8, 0.4, 0.75), {}),
]


@pytest.mark.parametrize(("alike", "world"), NO_MORE_ALIKE[:2])
def test_post_trained_sweeps_that_are_no_more_alike_are_not_supported(alike, world):
    assert verdicts(alike, **world)["supported"] <= LEVEL * RUNS


@pytest.mark.slow
@pytest.mark.parametrize(("alike", "world"), NO_MORE_ALIKE)
def test_no_such_sweeps_are_supported_in_many_runs(alike, world):
    assert verdicts(alike, runs=500, resamples=1000, **world)["supported"] <= LEVEL * 300


THRESHOLDS = [
    ((0.8, 0.8, 0.9), {}),
    ((0.8, 0.5, 0.9), {}),
    ((0.8, 0.8, 0.9), {"heavy": True}),
    ((0.8, 0.8, 0.9), {"noise": 0.5}),
    ((0.5, 0.5, 0.6), {"tuples": 100}),
    ((0.8, 0.5, 0.9), {"n": 40}),
]


@pytest.mark.parametrize(("alike", "world"), THRESHOLDS[1:2])
def test_a_lead_on_the_threshold_is_supported_in_five_of_a_hundred(alike, world):
    found = verdicts(alike, **world)
    assert found["supported"] <= ON_THRESHOLD * RUNS
    assert found["refuted"] <= ON_THRESHOLD * RUNS


@pytest.mark.slow
@pytest.mark.parametrize(("alike", "world"), THRESHOLDS)
def test_any_lead_on_the_threshold_is_supported_in_five_of_a_hundred(alike, world):
    found = verdicts(alike, runs=500, resamples=1000, **world)
    assert found["supported"] <= ON_THRESHOLD * 500
    assert found["refuted"] <= ON_THRESHOLD * 500


def test_a_base_that_differs_is_found():
    assert verdicts((0.4, 0.4, 0.9))["supported"] >= 0.9 * RUNS


def test_a_base_that_is_closer_than_the_other_post_trained_one_refutes():
    assert verdicts((0.9, 0.4, 0.4), runs=30)["refuted"] >= 27


def test_a_stage_without_a_pattern_decides_nothing_and_is_named():
    generator = np.random.default_rng(0)
    effects = sweeps(generator, (0.4, 0.4, 0.9), scales=(0, 1, 1))
    decision = stages.decide(effects, resamples=300)
    assert (decision.verdict, decision.criteria) == ("inconclusive", ())
    assert decision.reason.startswith("base: effects on different samples do not agree")


def test_the_criteria_name_both_rivals():
    decision = stages.decide(sweeps(np.random.default_rng(0), (0.4, 0.5, 0.9)), resamples=300)
    assert [c.name for c in decision.criteria] == [
        "correlation sft-dpo minus base-sft",
        "correlation sft-dpo minus base-dpo",
    ]
    assert decision.criteria[0].estimate > decision.criteria[1].estimate
    assert {c.threshold for c in decision.criteria} == {stages.SMALLEST_DIFFERENCE}


# -------------------------------------------------------------------------------------- presence


def present(interactions, *, runs=30):
    """Verdicts on superadditivity at stages whose pairs interact that much (sd of noise 1)."""
    generator, found = np.random.default_rng(0), Counter()
    for _ in range(runs):
        decisions = {}
        for k, interaction in enumerate(interactions):
            effects = interacting(0.05 * interaction, barely=True)(generator, 100)
            cell = SimulatedCell({"rr": effects, "logit": effects})
            decisions[f"stage {k}"] = superadditivity.judge_cell(
                cell, "rr", ways=len(interactions)
            )[1]
        found[judge_all(decisions).verdict] += 1
    return found


@pytest.mark.parametrize("interactions", [(0, 2, 2), (2, 2, 0)])
def test_a_property_that_one_stage_lacks_is_not_present_alike(interactions):
    assert present(interactions)["supported"] <= LEVEL * 30


def test_a_property_of_all_stages_is_found():
    found = present((0.8, 0.8, 0.8))
    assert found["supported"] >= 27
    assert found["refuted"] == 0


def test_a_stage_that_goes_against_it_refutes():
    assert present((2, -1, 2), runs=30)["refuted"] >= 28


def one(verdict, *, samples_to_decide=None):
    threshold = {"supported": 0.3, "refuted": 0.7}.get(verdict, 0.5)
    criterion = Criterion("share", "", 0.5, 0.4, 0.6, threshold, 10)
    return Decision(verdict, f"it is {verdict}", (criterion,), samples_to_decide)


@pytest.mark.parametrize(
    ("verdicts", "verdict", "reason"),
    [
        ("supported supported", "supported", "0: it is supported; 1: it is supported"),
        ("supported refuted", "refuted", "1: it is refuted"),
        ("inconclusive refuted", "refuted", "1: it is refuted"),
        ("supported inconclusive", "inconclusive", "1: it is inconclusive"),
        ("supported not_applicable", "not_applicable", "1: it is not_applicable"),
        ("refuted not_applicable", "refuted", "0: it is refuted"),
        ("refuted refuted", "refuted", "0: it is refuted; 1: it is refuted"),
    ],
)
def test_several_decisions_make_one(verdicts, verdict, reason):
    decision = judge_all({str(k): one(v) for k, v in enumerate(verdicts.split())})
    assert (decision.verdict, decision.reason) == (verdict, reason)
    assert [c.name for c in decision.criteria] == ["0: share", "1: share"]


@pytest.mark.parametrize(("needed", "expected"), [((40, 90), 90), ((40, None), None)])
def test_as_many_samples_as_the_last_stage_takes_would_decide(needed, expected):
    found = {str(n): one("inconclusive", samples_to_decide=n) for n in needed}
    found["sure"] = one("supported")
    assert judge_all(found).samples_to_decide == expected


# ------------------------------------------------------------------------------------- behaviour


@pytest.mark.parametrize("n", [8, 40, 100])
def test_valid_answers_to_half_of_the_prompts_are_not_enough(n):
    generator = np.random.default_rng(0)
    drawn = (behaviour.decide(generator.random(n) < 0.5) for _ in range(500))
    found = Counter(decision.verdict for decision in drawn)
    assert found["supported"] <= ON_THRESHOLD * 500
    assert found["refuted"] <= ON_THRESHOLD * 500


@pytest.mark.parametrize(
    ("valid", "verdict"),
    [(40, "supported"), (26, "supported"), (20, "inconclusive"), (0, "refuted")],
)
def test_valid_answers_decide(valid, verdict):
    assert behaviour.decide(np.arange(40) < valid).verdict == verdict

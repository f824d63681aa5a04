"""False positives and power of the rules on stages, measured on simulated sweeps.

As in `test_decision_rules`, which holds resemblance to its worlds: strictly inside the null at most
5 % of the runs are `supported`, where a world sits on a threshold at most 7 %.
"""

from collections import Counter

import numpy as np
import pytest

from benchmarks.worlds.stages import graded
from benchmarks.worlds.superadditivity import interacting, simulated
from claims.instruction_vectors import test_behaviour as behaviour
from claims.instruction_vectors import test_stages as stages
from claims.instruction_vectors import test_superadditivity as superadditivity
from ivevidence import Criterion, Decision
from ivfixtures.suite.rules import judge_all

LEVEL = 0.05
ON_THRESHOLD = 0.07

# ----------------------------------------------------------------------------------- resemblance


def decide(sweeps, *, gaps=None):
    n = len(sweeps["base"])
    gaps = {stage: np.ones(n) for stage in stages.COMPARED} | (gaps or {})
    return stages.decide(sweeps, gaps=gaps, labels=list(map(str, range(n))))


def sweeps(alike, *, n=100, **how):
    return graded(alike, **how)(np.random.default_rng(0), n)


def test_a_stage_without_a_pattern_decides_nothing_and_is_named():
    effects = sweeps((0.4, 0.4, 0.9), scales=(0, 1, 1), size=6.0)
    decision = decide(effects)
    assert (decision.verdict, decision.criteria) == ("inconclusive", ())
    assert decision.reason.startswith("base: effects on different samples do not agree")


def test_the_criteria_name_both_rivals_and_what_is_without_the_largest_tuples():
    decision = decide(sweeps((0.4, 0.5, 0.9)))
    assert [c.name for c in decision.criteria] == [
        "correlation sft-dpo minus base-sft",
        "correlation sft-dpo minus base-dpo",
    ]
    assert decision.criteria[0].estimate > decision.criteria[1].estimate
    assert {c.threshold for c in decision.criteria} == {stages.SMALLEST_DIFFERENCE}
    assert all("without the " in c.description for c in decision.criteria)


def test_one_giant_tuple_neither_supports_nor_refutes():
    """What is the same but for it, and what is another but for it."""
    same, other = sweeps((0.999,) * 3, size=1.0), sweeps((0.4, 0.4, 0.9), size=1.0)
    assert decide(same).verdict == "refuted"
    assert decide(other).verdict == "supported"
    for stage in ("sft", "dpo"):
        same[stage][:, 0] += 20
    for stage in stages.COMPARED:
        other[stage][:, 0] += 20
    assert decide(same).verdict == decide(other).verdict == "inconclusive"


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"n": 19}, "19 samples, but should be at least 20"),
        ({"tuples": 5}, "5 tuples, but should be at least 6"),
        ({"scales": (1, 1, 0), "size": 0.01}, "dpo: no tuple's effect closes 10% of the gap"),
    ],
)
def test_what_cannot_be_compared_is_said(how, reason):
    decision = decide(sweeps((0.4, 0.4, 0.9), **how))
    assert (decision.verdict, decision.criteria, decision.reason) == ("inconclusive", (), reason)


def test_a_stage_without_headroom_is_not_compared_whatever_the_options():
    decision = decide(sweeps((0.4, 0.4, 0.9)), gaps={"sft": np.full(100, 0.09)})
    assert decision.verdict == "inconclusive"
    assert decision.reason.startswith("sft: no headroom: mean rr gap 0.09")


def test_a_verdict_on_few_answers_says_so():
    effects = sweeps((0.4, 0.4, 0.9), size=1.0)
    gaps = {stage: np.ones(100) for stage in stages.COMPARED}
    decision = stages.decide(effects, gaps=gaps, labels=["yes", "no"] * 50)
    assert decision.verdict == "supported"
    assert decision.reason.endswith("; about these 2 answers only")


# -------------------------------------------------------------------------------------- presence


def present(interactions, *, runs=30):
    """Verdicts on superadditivity at stages whose pairs interact that much (sd of noise 1)."""
    generator, found = np.random.default_rng(0), Counter()
    for _ in range(runs):
        decisions = {}
        for k, interaction in enumerate(interactions):
            effects = interacting(0.05 * interaction, barely=True)(generator, 100)
            view = simulated("rr", {"rr": effects, "logit": effects})
            decision = superadditivity.judge_view(*view, ways=len(interactions))[1]
            decisions[f"stage {k}"] = decision
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

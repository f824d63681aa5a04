"""False positives and power of the rule on linear separability, measured on simulated worlds.

As in `test_decision_rules`: strictly inside the null at most 5 % of the runs are `supported`. The
bounds here are sums of exact ones, so that a world on a threshold stays below 5 % as well.
"""

from collections import Counter

import numpy as np
import pytest

from claims import test_linear_separability as separability
from ivfixtures.probing import FOLDS
from ivmethods.probes import OneAgainstRest, grouped_folds, one_against_rest, probe

RUNS = 200
LEVEL = 0.05
PER_TASK = 200
CONTROLS = ("bag of words", "layer-0 input", "shuffled labels")

# ------------------------------------------------------------------ predictions drawn as they are


def drawn(generator, shares, *, own=PER_TASK, others=3 * PER_TASK):
    return OneAgainstRest(
        generator.random(own) < shares[0],
        generator.random(others) < shares[1],
    )


def drawn_verdicts(found, *, runs=RUNS, **controls):
    """Verdicts where shares of the own recognized and of the others kept apart are known."""
    generator = np.random.default_rng(0)
    controls = dict.fromkeys(CONTROLS, (0.25, 0.75)) | {
        name.replace("_", " "): shares for name, shares in controls.items()
    }
    decisions = (
        separability.decide(
            drawn(generator, found),
            {name: drawn(generator, shares) for name, shares in controls.items()},
        )
        for _ in range(runs)
    )
    return Counter(decision.verdict for decision in decisions)


@pytest.mark.parametrize("shares", [(0.96, 1.0), (0.97, 0.99), (0.98, 0.98)])
def test_an_accuracy_on_the_threshold_is_supported_in_less_than_five_of_a_hundred(shares):
    verdicts = drawn_verdicts(shares)
    assert verdicts["supported"] <= LEVEL * RUNS
    assert verdicts["refuted"] <= LEVEL * RUNS


@pytest.mark.parametrize("control", CONTROLS)
def test_a_lead_on_the_threshold_is_supported_in_less_than_five_of_a_hundred(control):
    verdicts = drawn_verdicts((1.0, 0.998), **{control: (0.80, 0.998)})
    assert verdicts["supported"] <= LEVEL * RUNS
    assert verdicts["refuted"] <= LEVEL * RUNS


def test_errors_of_one_in_a_thousand_are_found_separable():
    verdicts = drawn_verdicts((0.999, 0.999), bag_of_words=(0.6, 0.8))
    assert verdicts["supported"] >= 0.9 * RUNS
    assert verdicts["refuted"] == 0


def test_an_accuracy_of_nine_tenths_is_refuted_whatever_the_controls_reach():
    assert drawn_verdicts((0.85, 0.95), runs=50)["refuted"] == 50
    assert drawn_verdicts((0.85, 0.95), runs=50, bag_of_words=(1.0, 1.0))["refuted"] == 50


@pytest.mark.parametrize("control", CONTROLS)
def test_a_control_that_leaves_no_room_makes_it_inconclusive(control):
    assert drawn_verdicts((1.0, 1.0), runs=50, **{control: (0.95, 0.95)})["inconclusive"] == 50


def test_no_room_is_said_with_the_controls_own_accuracy():
    generator = np.random.default_rng(0)
    controls = {name: drawn(generator, (0.25, 0.75)) for name in CONTROLS}
    perfect = drawn(generator, (1, 1))
    decision = separability.decide(perfect, controls | {"bag of words": perfect})
    assert decision.reason == (
        "no room above bag of words (1.000): a lead of more than 0.1 is beyond reach, so the "
        "probe's accuracy (1.000) may come from the wording alone"
    )
    assert [c.name for c in decision.criteria] == [
        "accuracy",
        *(f"lead over {name}" for name in CONTROLS),
    ]
    assert decision.samples_to_decide is None


@pytest.mark.parametrize(("words", "verdict"), [(0.80, "supported"), (0.90, "inconclusive")])
def test_room_ends_where_the_lead_does(words, verdict):
    controls = {name: exact(0.5) for name in CONTROLS} | {"bag of words": exact(words)}
    assert separability.decide(exact(1.0), controls).verdict == verdict


def exact(share):
    own, others = np.arange(PER_TASK) < share * PER_TASK, np.arange(600) < share * 600
    return OneAgainstRest(own, others)


def test_few_rephrasings_decide_nothing_and_say_how_many_would():
    generator = np.random.default_rng(0)
    few = {"own": 20, "others": 60}
    controls = {name: drawn(generator, (0.25, 0.75), **few) for name in CONTROLS}
    decision = separability.decide(drawn(generator, (1, 1), **few), controls)
    assert decision.verdict == "inconclusive"
    assert decision.samples_to_decide > 400


# ------------------------------------------------------------------------- the whole procedure


def fitted_verdicts(*, wrong_labels=0.0, shuffled=False, count=FOLDS, runs=RUNS):
    """Verdicts on two tasks whose residuals lie in two clusters; labels may have nothing of them.

    wrong_labels: share of the instructions that stand in the other task's cluster. count: folds.
    """
    generator = np.random.default_rng(0)
    verdicts = Counter()
    for run in range(runs):
        cluster = np.repeat([0, 1], PER_TASK)
        labels = np.where(generator.random(2 * PER_TASK) < wrong_labels, 1 - cluster, cluster)
        if shuffled:
            labels = generator.permutation(labels)
        means = np.array([[-4.0, 0, 0], [4.0, 0, 0]])
        layers = means[cluster] + generator.normal(size=(2, 2 * PER_TASK, 3))
        folds = grouped_folds(labels, np.arange(len(labels)), folds=count, seed=run)
        found = one_against_rest(probe(layers, labels, folds).predicted, labels, 0)
        control = one_against_rest(generator.integers(0, 2, len(labels)), labels, 0)
        verdicts[separability.decide(found, dict.fromkeys(CONTROLS, control)).verdict] += 1
    return verdicts


@pytest.mark.parametrize("count", [3, pytest.param(FOLDS, marks=pytest.mark.slow)])
def test_shuffled_labels_are_never_found_separable(count):
    verdicts = fitted_verdicts(shuffled=True, count=count)
    assert verdicts["supported"] <= LEVEL * RUNS
    assert verdicts["refuted"] >= 0.9 * RUNS


@pytest.mark.slow
def test_one_instruction_in_fifty_in_the_wrong_cluster_is_on_the_threshold():
    verdicts = fitted_verdicts(wrong_labels=0.02)
    assert verdicts["supported"] <= LEVEL * RUNS
    assert verdicts["refuted"] <= LEVEL * RUNS


@pytest.mark.slow
def test_clear_clusters_are_found_separable():
    verdicts = fitted_verdicts()
    assert verdicts["supported"] >= 0.9 * RUNS

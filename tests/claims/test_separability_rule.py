"""False positives and power of the rule on linear separability, measured on simulated worlds.

As in `test_decision_rules`: strictly inside the null at most 5 % of the runs are `supported`. The
bounds here are sums of exact ones, so that a world on a threshold stays below 5 % as well.
"""

from collections import Counter
from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.worlds.linear_separability import CONTROLS, lead
from claims.instruction_vectors import test_linear_separability as separability
from claims.instruction_vectors.probing import Probes, Rephrasings, rephrasings
from ivmethods.probes.held_out import OneAgainstRest, Probe, grouped_folds, one_against_rest, probe
from ivmethods.probes.methods import FOLDS

RUNS = 200
LEVEL = 0.05
PER_TASK = 200

# ----------------------------------------------- predictions drawn: see also `benchmarks/worlds`


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("share", [1.0, 0.95])
def test_a_control_that_leaves_no_room_makes_it_inconclusive(control, share):
    judge, generator = lead(share, share, {control: (0.95, 0.95)}), np.random.default_rng(0)
    assert {judge(generator, PER_TASK).verdict for _ in range(5)} == {"inconclusive"}


def test_no_room_is_said_with_the_controls_own_accuracy():
    perfect, chance = exact(1.0), exact(0.5)
    pairs = dict.fromkeys(CONTROLS, (perfect, chance)) | {"random weights": (perfect, perfect)}
    decision = separability.decide_lead(pairs)
    assert decision.reason == (
        "no room above random weights (1.000 on 800): not even a probe without a mistake could be "
        "shown to lead by more than 0.1, so the accuracy may come from the wording alone"
    )
    assert [c.name for c in decision.criteria] == [f"lead over {name}" for name in CONTROLS]


def exact(share, own=PER_TASK):
    return OneAgainstRest(np.arange(own) < share * own, np.arange(3 * own) < share * 3 * own)


@pytest.mark.parametrize(("own", "verdict"), [(122, "supported"), (121, "inconclusive")])
def test_a_least_number_of_rephrasings_is_asked_for(own, verdict):
    decision = separability.decide_accuracy(exact(1.0, own))
    assert decision.verdict == verdict
    told = "too few rephrasings: 121 of the task and 363 of others, but should be at least 122 and"
    assert decision.reason.startswith(told) == (verdict == "inconclusive")


def test_few_rephrasings_can_still_refute():
    assert separability.decide_accuracy(exact(0.5, 20)).verdict == "refuted"


# ---------------------------------------------------------- pairs with equal bags of words


@pytest.mark.parametrize("paired", [True, False])
def test_pairs_with_equal_bags_of_words_give_room(paired):
    """Words tell all other rephrasings of a task, but not which of two orders means it."""
    count = PER_TASK // 2
    texts = [f"say {k} rather than {k}x" for k in range(count)]
    texts += [f"own word {k}" for k in range(count)]
    other = [f"say {k}x rather than {k}" if paired else f"tell {k}" for k in range(count)]
    other += [f"strange word {k}" for k in range(count)]
    labels = np.repeat([0, 1], 2 * count)
    by_words = np.where(np.arange(4 * count) % (2 * count) < count, 0, labels)
    some = Rephrasings(("a", "b"), (*texts, *other), labels, np.arange(4 * count))
    right = Probe(labels[None], np.zeros(5, int), np.zeros(4 * count, int))
    wrong = Probe(np.zeros_like(labels)[None], np.zeros(5, int), np.zeros(4 * count, int))
    words = by_words if paired else labels
    known = {"rephrasings": some, "probe": right, "by_words": words, "by_input": by_words}
    known |= {"shuffled": wrong.by_layer, "shuffled_labels": labels}
    probes = Probes(**dict.fromkeys([each.name for each in fields(Probes)]) | known)
    found, control = probes.leads("a", wrong)["bag of words"]
    assert len(found.own) == len(found.others) == (count if paired else 2 * count)
    assert control.accuracy == (0.5 if paired else 1.0)
    verdict = separability.decide_lead(probes.leads("a", wrong)).verdict
    assert verdict == ("supported" if paired else "inconclusive")


def test_rephrasings_with_equal_words_are_never_in_two_folds():
    texts = {
        "a": tuple(f"say {k}, not {k}x" for k in range(9)),
        "b": tuple(f"say {k}x, not {k}." for k in range(9)),
    }
    tasks = {n: SimpleNamespace(name=n, rephrasings=some) for n, some in texts.items()}
    some = rephrasings(SimpleNamespace(tasks=tasks, seed=0))
    assert some.groups[:9].tolist() == some.groups[9:].tolist()


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
        verdicts[separability.decide_accuracy(found).verdict] += 1
    return verdicts


@pytest.mark.parametrize(
    ("count", "runs"), [(3, RUNS // 5), pytest.param(FOLDS, RUNS, marks=pytest.mark.slow)]
)
def test_shuffled_labels_are_never_found_separable(count, runs):
    verdicts = fitted_verdicts(shuffled=True, count=count, runs=runs)
    assert verdicts["supported"] <= LEVEL * runs
    assert verdicts["refuted"] >= 0.9 * runs


@pytest.mark.slow
def test_one_instruction_in_fifty_in_the_wrong_cluster_is_on_the_threshold():
    verdicts = fitted_verdicts(wrong_labels=0.02)
    assert verdicts["supported"] <= LEVEL * RUNS
    assert verdicts["refuted"] <= LEVEL * RUNS


@pytest.mark.slow
def test_clear_clusters_are_found_separable():
    verdicts = fitted_verdicts()
    assert verdicts["supported"] >= 0.9 * RUNS

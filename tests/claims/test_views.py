"""Views of what was measured: plain differences, in every metric."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from claims.instruction_vectors.views import gap_of, in_metric, patched
from ivmethods.model.metrics import METRICS
from ivmethods.patching.sweep import Sweep, layer_tuples

TUPLES = layer_tuples(4, 3)
SAMPLES = 5
PICKING = np.arange(SAMPLES) < 2


def numbers(*shape, seed):
    return np.random.default_rng(seed).normal(size=(len(METRICS), SAMPLES, *shape))


def swept(seed):
    effects = torch.from_numpy(numbers(len(TUPLES), seed=seed))
    is_last = torch.tensor([3 in layers for layers in TUPLES])
    return Sweep(TUPLES, effects, torch.zeros(len(METRICS), SAMPLES), is_last)


OWN, CONTROL = swept(0), swept(1)
RUNS = {"instructed": numbers(seed=2), "target": numbers(seed=3)}


def inquiry(metric="rr", *, contrast="adj_comp"):
    data = SimpleNamespace(task=SimpleNamespace(contrast=contrast), is_discovery=PICKING)
    other = SimpleNamespace(task=SimpleNamespace(contrast=None), is_discovery=~PICKING)
    return SimpleNamespace(parts=(data, other), metric=metric, seed=7)


@pytest.mark.parametrize("judged", METRICS)
def test_effects_and_gaps_are_differences_in_the_metric_that_is_named_or_judged(judged):
    view = patched(inquiry(judged), OWN, CONTROL, RUNS)
    for index, name in enumerate(METRICS):
        own, control = OWN.effects[index].numpy(), CONTROL.effects[index].numpy()
        gap = RUNS["instructed"][index] - RUNS["target"][index]
        assert np.array_equal(view.effects(name), own)
        assert np.array_equal(view.specific(name), own - control)
        assert np.array_equal(view.gap(name), gap)
        assert np.array_equal(gap_of(RUNS, name), gap)
        assert np.array_equal(in_metric({"x": numbers(seed=4)}, name)["x"], numbers(seed=4)[index])
    assert np.array_equal(view.effects(), view.effects(judged))
    assert np.array_equal(view.specific(), view.specific(judged))
    assert np.array_equal(view.gap(), view.gap(judged))


def test_values_of_one_order_are_those_of_its_tuples():
    view = patched(inquiry(), OWN, CONTROL, RUNS)
    assert (view.tuples, view.order) == (TUPLES, 3)
    for order in (1, 2, 3):
        kept = view.tuples_of_order(order)
        assert kept == [layers for layers in TUPLES if len(layers) == order]
        columns = view.of_order(order, view.effects())
        for layers, column in zip(kept, columns.T, strict=True):
            assert np.array_equal(column, view.effects()[:, TUPLES.index(layers)])
        assert view.of_order(order, view.degenerate).tolist() == [3 in layers for layers in kept]


def test_a_view_is_of_one_part_in_its_cells_metric_unless_told():
    first = patched(inquiry(), OWN, CONTROL, RUNS)
    other = patched(inquiry(), OWN, CONTROL, RUNS, part=1, metric="logit")
    assert (first.metric, first.against, first.seed) == ("rr", "the contrast instruction", 7)
    assert (other.metric, other.against) == ("logit", "neutral sentences")
    assert np.array_equal(first.is_discovery, PICKING)
    assert np.array_equal(other.is_discovery, ~PICKING)
    assert patched(inquiry(None), OWN, CONTROL, RUNS).metric == METRICS[0]

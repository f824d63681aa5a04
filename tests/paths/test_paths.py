"""Paths against their enumeration by hand, and released semantics against its own description."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ivmethods.model.handles import wrap
from ivmethods.model.layouts import weights_of
from ivmethods.model.ranks import high_ranking
from ivmethods.paths.graph import draw_paths, path_graph
from ivmethods.paths.linear_maps import attribution, linear_forms, read_out
from ivmethods.paths.tracing import every_path, high_ranking_paths, trace_paths
from tests.models import LINEAR_LAYOUTS, VOCAB, every_part_model, number_tokenizer

BUDGET = 2**24
THRESHOLD = 12  # of a vocabulary of 40
layouts = st.sampled_from(LINEAR_LAYOUTS)
seeds = st.integers(0, 2**16)


def form_of(layout="olmo2", *, n_layers=3, length=5, seed=0):
    model = wrap(every_part_model(layout, n_layers, seed=seed), number_tokenizer())
    generator = torch.Generator().manual_seed(seed)
    ids = tuple(torch.randint(3, VOCAB, (length,), generator=generator).tolist())
    return linear_forms(model, [ids], weights=weights_of(model))[0]


def trajectories(form, start):
    n_layers, length = len(form.attention), len(form.embedding)
    for middle in itertools.product(range(length), repeat=n_layers - 1):
        yield (start, *middle, length - 1)


def attended(form, k, layer, head, source, target):
    """Whether `source` is among the k positions that the head attends to most from `target`."""
    weights = form.attention[layer, head, target].tolist()
    order = sorted(range(len(weights)), key=lambda j: (-weights[j], j))
    return source in order[:k] and weights[source] > 0


def masks(form, k, layer, source, target):
    heads = range(form.attention.shape[1])
    return [attended(form, k, layer, head, source, target) for head in heads]


def by_hand(form, k, start):
    """Every path of a token as (positions, vector, head masks), one dense matrix an edge."""
    found = []
    for path in trajectories(form, start):
        used = [masks(form, k, n, *edge) for n, edge in enumerate(itertools.pairwise(path))]
        if all(i == j or any(m) for (i, j), m in zip(itertools.pairwise(path), used, strict=True)):
            vector = form.embedding[start]
            for layer, (edge, mask) in enumerate(zip(itertools.pairwise(path), used, strict=True)):
                vector = edge_map(form, layer, *edge, mask) @ vector
            found.append((path, vector, used))
    return found


def norm_map(form, layer, site, position):
    """A frozen norm as a matrix."""
    block = form.weights.blocks[layer] if layer is not None else None
    norm = getattr(block, site) if block else form.weights.final
    d_model = form.embedding.shape[1]
    if norm is None:
        return torch.eye(d_model)
    variance = form.variance[site][layer, position] if block else form.final_variance[position]
    epsilon = norm.epsilon if form.epsilon is None else form.epsilon
    centre = torch.eye(d_model) - (1 / d_model if norm.centred else 0) * torch.ones(
        d_model, d_model
    )
    return torch.diag(norm.weight / torch.sqrt(variance + epsilon)) @ centre


def edge_map(form, layer, source, target, mask):
    """Eq. 3 for one edge as a dense matrix, from its description."""
    block, identity = form.weights.blocks[layer], torch.eye(form.embedding.shape[1])
    attention = torch.zeros_like(identity)
    for head, kept in enumerate(mask):
        if kept:
            weight = form.attention[layer, head, target, source]
            attention += weight * block.out[head] @ block.value[head]
    attention = (
        norm_map(form, layer, "attn_out", target)
        @ attention
        @ norm_map(form, layer, "attn_in", source)
    )
    mlp = (
        norm_map(form, layer, "mlp_out", target)
        @ block.down
        @ torch.diag(form.gate[layer, target])
        @ block.up
        @ norm_map(form, layer, "mlp_in", target)
    )
    stay = identity if source == target else torch.zeros_like(identity)
    if block.parallel:
        return (identity + mlp) @ stay + attention
    return (identity + mlp) @ (stay + attention)


def rank(form, vector, answer):
    logits = form.weights.unembed @ norm_map(form, None, "final", -1) @ vector
    return 1 + int((torch.argsort(logits, descending=True) == answer).nonzero())


def waves(form, graph, starts, budget=BUDGET):
    return list(every_path(form, graph, starts, memory_budget=budget))


@given(layouts, seeds, st.integers(1, 3))
@settings(max_examples=20)
def test_every_path_is_followed_along_the_maps_of_equation_3(layout, seed, k):
    form = form_of(layout, seed=seed, n_layers=2)
    graph = path_graph(form, k=k)
    for start in range(len(form.embedding)):
        slow = by_hand(form, k, start)
        assert graph.total(start) == len(slow)
        got = {}
        for wave in waves(form, graph, [start]):
            for row, vector in zip(wave.edges.tolist(), wave.vectors, strict=True):
                steps = [int(graph.layers[n].target[edge]) for n, edge in enumerate(row)]
                got[(start, *steps)] = vector
        assert sorted(got) == sorted(path for path, _, _ in slow)
        for path, vector, _ in slow:
            torch.testing.assert_close(got[path], vector, rtol=1e-3, atol=1e-4)


@given(layouts, seeds, st.integers(1, 3), st.integers(0, VOCAB - 1))
@settings(max_examples=20)
def test_counts_uses_and_strongest_are_those_of_paths_by_hand(layout, seed, k, answer):
    form = form_of(layout, seed=seed)
    starts = [1, 2, 4]
    found = trace_paths(
        form,
        path_graph(form, k=k),
        starts,
        torch.tensor([answer, (answer + 7) % VOCAB]),
        below=THRESHOLD,
        memory_budget=BUDGET,
    )
    everything = []
    for row, start in enumerate(starts):
        slow = by_hand(form, k, start)
        high = [p for p in slow if rank(form, p[1], answer) < THRESHOLD]
        other = [p for p in slow if rank(form, p[1], (answer + 7) % VOCAB) < THRESHOLD]
        assert found.totals[row] == found.examined[row] == len(slow)
        assert found.hits[row].tolist() == [len(high), len(other)]
        if high:
            np.testing.assert_allclose(found.uses[row], np.mean([p[2] for p in high], axis=0))
        else:
            assert np.isnan(found.uses[row]).all()
        share = np.mean([p[2] for p in slow], axis=0) if slow else np.nan
        np.testing.assert_allclose(found.expected[row], share)
        everything += high
    vectors = torch.stack([form.embedding[0], *(p[1] for p in everything)])[1:]
    logits = read_out(form, vectors) @ form.weights.unembed[answer]
    best = sorted(logits.tolist(), reverse=True)[:10]
    np.testing.assert_allclose([p.logit for p in found.strongest], best, rtol=1e-3, atol=1e-4)
    by_path = {p[0]: logit for p, logit in zip(everything, logits.tolist(), strict=True)}
    for path in found.strongest:
        assert by_path[path.positions] == pytest.approx(path.logit, rel=1e-3, abs=1e-4)


@given(layouts, seeds, st.sampled_from(["merged", "head"]))
@settings(max_examples=25)
def test_all_paths_through_all_positions_sum_to_the_logits(layout, seed, granularity):
    form = form_of(layout, seed=seed, n_layers=2, length=4)
    graph = path_graph(form, k=4, granularity=granularity)
    total = sum(
        wave.vectors.double().sum(dim=0) for wave in waves(form, graph, range(len(form.embedding)))
    )
    logits = form.weights.unembed @ read_out(form, total.float()[None])[0]
    scale = float(form.logits.abs().max())
    for token in (0, 7, VOCAB - 1):
        biases = attribution(form, token).biases
        assert abs(float(logits[token]) + biases - float(form.logits[token])) < 1e-3 * scale


@given(seeds, st.integers(1, 3))
@settings(max_examples=20)
def test_paths_of_single_heads_are_counted_exactly(seed, k):
    form = form_of(seed=seed)
    graph = path_graph(form, k=k, granularity="head")
    for start in range(len(form.embedding)):
        count = 0
        for path in trajectories(form, start):
            edges = enumerate(itertools.pairwise(path))
            count += math.prod((i == j) + sum(masks(form, k, n, i, j)) for n, (i, j) in edges)
        assert graph.total(start) == count == sum(len(w.start) for w in waves(form, graph, [start]))


def test_counts_stay_exact_beyond_every_machine_integer():
    form = form_of(n_layers=2)
    deep = replace(
        form,
        attention=form.attention.repeat(40, 1, 1, 1),
        gate=form.gate.repeat(40, 1, 1),
        variance={site: values.repeat(40, 1) for site, values in form.variance.items()},
    )
    graph = path_graph(deep, k=5, granularity="head")
    ways, heads = [1] + [0] * 4, form.attention.shape[1]
    for _ in range(80):  # every head from everywhere before, and the identity
        ways = [heads * sum(ways[: i + 1]) + ways[i] for i in range(5)]
    assert graph.total(0) == ways[-1] > 2**100
    assert draw_paths(graph, 0, count=3, seed=0).shape == (3, 80)


@given(seeds, st.integers(0, 1))
@settings(max_examples=10)
def test_memory_bounds_the_waves_and_changes_nothing(seed, start):
    form = form_of(seed=seed, n_layers=6)
    graph, most = path_graph(form, k=5), 20
    (whole,) = waves(form, graph, [start])
    assert graph.total(start) > 2 * most
    small = most * (4 * form.embedding.shape[1] * 4 + 8 * 6)
    parts = waves(form, graph, [start], budget=small)
    assert len(parts) > 1
    assert max(len(part.start) for part in parts) <= most
    assert sum(len(part.start) for part in parts) == graph.total(start)
    rows = {}
    for part in parts:
        rows |= {tuple(e): v for e, v in zip(part.edges.tolist(), part.vectors, strict=True)}
    for row, vector in zip(whole.edges.tolist(), whole.vectors, strict=True):
        torch.testing.assert_close(rows[tuple(row)], vector, rtol=1e-4, atol=1e-5)


def test_drawn_paths_are_uniform():
    graph = path_graph(form_of(seed=3), k=2)
    drawn = draw_paths(graph, 0, count=200 * graph.total(0), seed=1)
    _, counts = drawn.unique(dim=0, return_counts=True)
    assert len(counts) == graph.total(0) > 5
    assert stats.chisquare(counts.numpy()).pvalue > 0.001


def test_estimates_cover_the_exact_counts(monkeypatch):
    monkeypatch.setattr("ivmethods.paths.tracing.DRAWS", 200)
    form, answers = form_of(seed=5), torch.tensor([11])
    graph = path_graph(form, k=3)
    traced = [
        trace_paths(
            form, graph, [0], answers,
            below=THRESHOLD, max_paths=most, seed=seed, memory_budget=BUDGET,
        )
        for most, seed in [(10**6, 0), *((1, seed) for seed in range(200))]
    ]  # fmt: skip
    exact, total = int(traced[0].hits[0, 0]), graph.total(0)
    assert 0 < exact < total
    covered = [
        interval.low <= exact <= interval.high
        for found in traced[1:]
        for interval in [high_ranking_paths(total, found.examined[0], int(found.hits[0, 0]))]
    ]
    assert np.mean(covered) >= 0.93
    uses = np.stack([found.uses[0] for found in traced[1:]])
    error = uses.std(axis=0) / np.sqrt(200)
    assert (np.abs(uses.mean(axis=0) - traced[0].uses[0]) <= 5 * error + 1e-9).all()


def test_a_counted_number_of_paths_has_no_interval():
    found = high_ranking_paths(50, 50, 7)
    assert (found.estimate, found.low, found.high) == (7, 7, 7)


@given(seeds, st.integers(2, 900), st.integers(1, 120), st.integers(1, 3))
@settings(max_examples=40)
def test_early_rejection_changes_no_decision(seed, vocab, below, largest):
    generator = torch.Generator().manual_seed(seed)

    def whole_numbers(n):  # whose products are exact, so that ties are ties
        return torch.randint(-largest, largest + 1, (n, 6), generator=generator).float()

    vectors, unembed = whole_numbers(60), whole_numbers(vocab)
    answers = torch.tensor([0, vocab // 2, vocab - 1])
    logits = vectors @ unembed.T
    slow = torch.stack(
        [(logits > logits[:, [a]]).sum(dim=1) + 1 < below for a in answers.tolist()], dim=1
    )
    for most in (1, 40, 4000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ivmethods.model.ranks._SLICE_LOGITS", most)
            assert torch.equal(high_ranking(vectors, unembed, answers, below=below), slow)


def test_a_random_answer_ranks_high_as_often_as_chance():
    generator = torch.Generator().manual_seed(0)
    vectors, unembed = (torch.randn(n, 16, generator=generator) for n in (400, 1000))
    high = high_ranking(vectors, unembed, torch.arange(1000), below=100)
    assert float(high.float().mean()) == pytest.approx(0.099)


def test_what_is_asked_wrongly_is_refused():
    form = form_of()
    with pytest.raises(ValueError, match=r"^k=0, but should be at least 1"):
        path_graph(form, k=0)
    with pytest.raises(ValueError, match=r"^granularity='head', but should be 'merged'"):
        path_graph(form, k=1, granularity="head", semantics="released")
    unreachable = replace(form, attention=torch.zeros_like(form.attention))
    graph = path_graph(unreachable, k=1)
    assert graph.total(0) == 0
    with pytest.raises(ValueError, match=r"^paths=0"):
        draw_paths(graph, 0, count=1, seed=0)
    nothing = trace_paths(unreachable, graph, [0], torch.tensor([3]), memory_budget=BUDGET)
    assert nothing.hits.tolist() == [[0]]
    assert np.isnan(nothing.uses).all()

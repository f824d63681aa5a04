"""Frozen maps give back the model; their parts add up; edges are the formula of the paper."""

import functools
from contextlib import suppress
from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ivfixtures.checkpoints.resolving import CheckpointError, load, names, resolve
from ivmethods.model.handles import wrap
from ivmethods.model.layouts import LAYOUTS, Norm, weights_of
from ivmethods.model.metrics import NotFiniteError
from ivmethods.paths import linear_blocks
from ivmethods.paths.linear_blocks import fold, mlp_break_even, step, values
from ivmethods.paths.linear_maps import (
    attribution,
    completeness,
    eager_attention,
    linear_forms,
    propagate,
    read_out,
)
from tests.models import (
    LINEAR_LAYOUTS,
    VOCAB,
    WIDTH,
    every_part_model,
    model_type,
    number_tokenizer,
    toy_model,
    wrapped,
)

ENOUGH = 1e-3  # what `completeness` may be in float32
EXACT = 2e-5
prompts = st.lists(st.integers(3, VOCAB - 1), min_size=1, max_size=8).map(tuple)


@functools.cache
def model_of(layout, n_layers=3, seed=0):
    return wrap(every_part_model(layout, n_layers, seed=seed), number_tokenizer())


def form_of(layout, ids, n_layers=3, seed=0):
    model = model_of(layout, n_layers, seed)
    return linear_forms(model, [ids], weights=weights_of(model))[0]


def without_biases(form):
    """The same form with every bias removed."""

    def bare(part):
        changes = {}
        for field in fields(part):
            value = getattr(part, field.name)
            if field.name.endswith("bias"):
                changes[field.name] = None
            elif isinstance(value, Norm):
                changes[field.name] = replace(value, bias=None)
        return replace(part, **changes)

    blocks = tuple(bare(block) for block in form.weights.blocks)
    return replace(form, weights=replace(bare(form.weights), blocks=blocks))


def relative(one, other):
    return float((one - other).abs().max() / other.abs().max())


def norm_matrix(form, norm, variance):
    d_model = form.embedding.shape[1]
    if norm is None:
        return torch.eye(d_model)
    mean = torch.full((d_model, d_model), 1 / d_model) if norm.centred else 0
    epsilon = norm.epsilon if form.epsilon is None else form.epsilon
    return torch.diag(norm.weight / (variance + epsilon).sqrt()) @ (torch.eye(d_model) - mean)


def edge_matrix(form, layer, source, target, stay, heads):
    """Equation 3 for one edge, written with one dense matrix a part."""
    block = form.weights.blocks[layer]

    def at(site, position):
        variance = form.variance[site][layer, position] if site in form.variance else None
        return norm_matrix(form, getattr(block, site), variance)

    attention = torch.zeros(WIDTH, WIDTH)
    for head, coefficient in enumerate(heads):
        attention += coefficient * block.out[head] @ block.value[head]
    attention = at("attn_out", target) @ attention @ at("attn_in", source)
    mlp = block.down @ torch.diag(form.gate[layer, target]) @ block.up
    with_mlp = torch.eye(WIDTH) + at("mlp_out", target) @ mlp @ at("mlp_in", target)
    identity = stay * torch.eye(WIDTH)
    if block.parallel:
        return with_mlp @ identity + attention
    return with_mlp @ (identity + attention)


def along(form, layer, vectors, source, target, stay, heads):
    read = values(form, layer, vectors, source=source)
    return step(form, layer, vectors, read, target=target, stay=stay, heads=heads)


def random_edges(form, rows, seed):
    """Vectors and an edge for each: source, target, stay, heads."""
    generator = torch.Generator().manual_seed(seed)
    n, heads = len(form.embedding), form.attention.shape[1]
    source, target = torch.randint(n, (2, rows), generator=generator)
    return (
        torch.randn(rows, WIDTH, generator=generator),
        source,
        target,
        torch.rand(rows, generator=generator) < 0.5,
        torch.rand(rows, heads, generator=generator),
    )


@pytest.mark.parametrize("layout", LINEAR_LAYOUTS)
@settings(max_examples=10)
@given(ids=prompts, n_layers=st.sampled_from([1, 2, 4]), seed=st.integers(0, 2))
def test_the_maps_give_back_the_model(layout, ids, n_layers, seed):
    assert completeness(form_of(layout, ids, n_layers, seed)) < EXACT


@pytest.mark.parametrize("name", [name for name in names() if name.startswith("tiny-olmo2")])
def test_the_maps_give_back_the_embedded_checkpoints(name):
    assert checkpoint_completeness(name) < EXACT


@pytest.mark.slow
def test_the_maps_give_back_smollm2():
    for package in ("gguf", "accelerate"):
        pytest.importorskip(package)
    try:
        resolve("smollm2-135m-instruct")
    except CheckpointError as error:
        pytest.skip(str(error))
    assert checkpoint_completeness("smollm2-135m-instruct") < EXACT


def checkpoint_completeness(name):
    loaded = load(resolve(name))
    model = wrap(loaded.model, loaded.tokenizer)
    texts = ["Given an adjective, state its antonym. Adjective: big. Answer:", "big. Answer:"]
    prompts = [tuple(loaded.tokenizer(text).input_ids) for text in texts]
    return max(map(completeness, linear_forms(model, prompts, weights=weights_of(model))))


@pytest.mark.parametrize("layout", ["olmo2", "gemma3_text", "gpt2", "gpt_neox"])
def test_maps_frozen_at_another_prompt_do_not_give_back_the_model(layout):
    model = model_of(layout)
    prompts = [(5, 9, 14, 30), (7, 9, 3, 21)]
    one, other = linear_forms(model, prompts, weights=weights_of(model))
    for part in ("attention", "gate", "variance", "final_variance"):
        mixed = replace(one, **{part: getattr(other, part)})
        assert completeness(mixed) > ENOUGH, part


@pytest.mark.parametrize("layout", LINEAR_LAYOUTS)
@settings(max_examples=5)
@given(ids=prompts, token=st.integers(0, VOCAB - 1))
def test_attribution_adds_up_and_equals_each_token_propagated_alone(layout, ids, token):
    form = form_of(layout, ids)
    parts = attribution(form, token)
    scale = float(form.logits.abs().max())
    total = float(parts.tokens.sum()) + parts.biases
    assert total == pytest.approx(float(form.logits[token]), abs=EXACT * scale)
    nothing = logits_of(replace(form, embedding=torch.zeros_like(form.embedding)))
    assert parts.biases == pytest.approx(float(nothing[token]), abs=EXACT * scale)
    for position in range(len(ids)):
        alone = torch.zeros_like(form.embedding)
        alone[position] = form.embedding[position]
        slow = logits_of(replace(form, embedding=alone)) - nothing
        assert float(parts.tokens[position]) == pytest.approx(float(slow[token]), abs=5e-5 * scale)


def logits_of(form):
    """Logits at T_last of a form, the final norm's bias and the unembedding's included."""
    weights, last = form.weights, propagate(form)[-1:]
    final = read_out(form, last)[0] + (0 if weights.final.bias is None else weights.final.bias)
    bias = 0 if weights.unembed_bias is None else weights.unembed_bias
    return final @ weights.unembed.T + bias


@pytest.mark.parametrize("layout", ["olmo2", "gpt2"])
def test_a_token_without_an_embedding_contributes_nothing(layout):
    form = form_of(layout, (5, 9, 14, 30))
    embedding = form.embedding.clone()
    embedding[1] = 0
    parts = attribution(replace(form, embedding=embedding), 7)
    assert parts.tokens[1] == 0
    assert parts.tokens[[0, 2, 3]].abs().min() > 0


def test_only_biases_are_left_of_a_model_that_reads_no_token():
    form = form_of("olmo2", (5, 9, 14, 30))
    assert attribution(form, 7).biases != 0
    assert attribution(without_biases(form), 7).biases == 0


@pytest.mark.parametrize("layout", LINEAR_LAYOUTS)
@settings(max_examples=5)
@given(ids=prompts, rows=st.integers(0, 99), seed=st.integers(0, 99))
def test_step_and_fold_are_equation_3(layout, ids, rows, seed):
    form = form_of(layout, ids)
    layer = seed % len(form.gate)
    vectors, *edges = random_edges(form, rows, seed)
    after = along(form, layer, vectors, *edges)
    assert after.shape == vectors.shape
    for row, (source, target, stay, heads) in enumerate(zip(*edges, strict=True)):
        matrix = edge_matrix(form, layer, source, target, stay, heads)
        assert relative(after[row], matrix @ vectors[row]) < EXACT
        if row == 0:
            edge = {"source": int(source), "target": int(target), "stay": bool(stay)}
            assert relative(fold(form, layer, **edge, heads=heads), matrix) < EXACT


@pytest.mark.parametrize("layout", LINEAR_LAYOUTS)
def test_steps_along_every_edge_add_up_to_the_model_without_biases(layout):
    form = without_biases(form_of(layout, (5, 9, 14, 30, 7)))
    n = len(form.embedding)
    source, target = torch.cartesian_prod(torch.arange(n), torch.arange(n)).T
    stream = form.embedding
    for layer, attention in enumerate(form.attention):
        heads = attention[:, target, source].T
        after = along(form, layer, stream[source], source, target, source == target, heads)
        stream = torch.zeros_like(stream).index_add(0, target, after)
    assert relative(stream, propagate(form)) < EXACT
    logits = read_out(form, stream[-1:]) @ form.weights.unembed.T
    if form.weights.unembed_bias is None:
        assert relative(logits[0], logits_of(form)) < EXACT


@pytest.mark.parametrize("layout", ["gemma3_text", "gpt_neox"])
def test_many_vectors_at_a_position_come_out_as_each_alone(layout, monkeypatch):
    form = form_of(layout, (5, 9, 14, 30, 7))
    vectors, source, target, stay, heads = random_edges(form, 150, 0)
    target[:100] = 2  # so many that the MLP is folded there, and few elsewhere
    few = [
        along(form, 1, *(part[rows] for part in (vectors, source, target, stay, heads)))
        for rows in torch.arange(150).split(3)
    ]
    monkeypatch.setattr(linear_blocks, "_ROWS", 7)
    every = along(form, 1, vectors, source, target, stay, heads)
    assert relative(every, torch.cat(few)) < EXACT


@pytest.mark.parametrize("layout", ["olmo2", "gpt_neox"])
@settings(max_examples=10)
@given(a=st.floats(-3, 3), b=st.floats(-3, 3), seed=st.integers(0, 99))
def test_steps_are_linear(layout, a, b, seed):
    form = form_of(layout, (5, 9, 14, 30))
    one, *edges = random_edges(form, 6, seed)
    other = random_edges(form, 6, seed + 100)[0]
    mixed = along(form, 1, a * one + b * other, *edges)
    parts = a * along(form, 1, one, *edges) + b * along(form, 1, other, *edges)
    assert (mixed - parts).abs().max() < 1e-3


def test_folding_pays_where_it_saves_multiplications():
    block = weights_of(model_of("llama")).blocks[0]
    factors = block.up.numel() + block.down.numel()
    rows = mlp_break_even(block)
    assert WIDTH * factors + rows * WIDTH**2 == pytest.approx(rows * factors)
    narrow = replace(block, up=block.up[:1], up_bias=None, down=block.down[:, :1])
    assert mlp_break_even(narrow) == torch.inf


@pytest.mark.parametrize("layout", LINEAR_LAYOUTS)
def test_a_given_epsilon_replaces_that_of_every_norm(layout):
    form = form_of(layout, (5, 9, 14, 30))
    own = form.weights.final.epsilon
    assert own == 0.05
    assert torch.equal(propagate(replace(form, epsilon=own)), propagate(form))
    other = replace(form, epsilon=1e-6)
    assert relative(propagate(other), propagate(form)) > 5 * EXACT
    vectors, *edges = random_edges(form, 5, 0)
    row = along(other, 1, vectors, *edges)[0]
    source, target, stay, heads = (part[0] for part in edges)
    assert relative(row, edge_matrix(other, 1, source, target, stay, heads) @ vectors[0]) < EXACT
    assert relative(read_out(other, vectors), read_out(form, vectors)) > 5 * EXACT


@pytest.mark.parametrize("layout", ["olmo2", "gemma3_text", "gpt2", "gpt_neox"])
def test_prompts_together_are_recorded_as_each_alone(layout):
    model = model_of(layout)
    weights = weights_of(model)
    prompts = [(5, 9, 14), (7, 3), (30, 31, 5), (8,), (6, 9, 14)]
    together = linear_forms(model, prompts, weights=weights)
    for ids, form in zip(prompts, together, strict=True):
        (alone,) = linear_forms(model, [ids], weights=weights)
        for name in ("embedding", "attention", "gate", "final_variance", "residual", "logits"):
            assert torch.allclose(getattr(form, name), getattr(alone, name), atol=1e-5), name
        for site, variance in alone.variance.items():
            assert torch.allclose(form.variance[site], variance, atol=1e-5)


def test_attention_is_causal_and_keeps_to_its_window():
    attention = form_of("gemma2", (5, 9, 14, 30, 7, 8)).attention
    assert torch.allclose(attention.sum(dim=-1), torch.ones(3, 4, 6), atol=1e-6)
    assert attention.triu(1).abs().max() == 0
    assert attention[0].tril(-3).abs().max() == 0
    assert attention[1].tril(-3).abs().max() > 0


def test_an_mlp_input_of_exactly_zero_keeps_its_gate_finite():
    net = every_part_model("gpt2", 2)
    net.transformer.h[0].mlp.c_fc.weight[:, :5] = 0
    net.transformer.h[0].mlp.c_fc.bias[:5] = 0
    model = wrap(net, number_tokenizer())
    (form,) = linear_forms(model, [(5, 9, 14)], weights=weights_of(model))
    assert form.gate.isfinite().all()
    assert completeness(form) < EXACT


def test_completeness_of_a_broken_form_is_refused():
    form = form_of("olmo2", (5, 9))
    embedding = torch.full_like(form.embedding, torch.nan)
    with pytest.raises(NotFiniteError, match=r"^completeness of the linear form=NaN"):
        completeness(replace(form, embedding=embedding))


@pytest.mark.parametrize(("layout", "usual"), [("gpt2", "sdpa"), ("gemma2", "eager")])
def test_the_model_is_left_as_it_was(layout, usual):
    net, ids = every_part_model(layout, 2), torch.tensor([[5, 9, 14]])
    model = wrap(net, number_tokenizer())
    before = net(ids).logits
    linear_forms(model, [(5, 9, 14)], weights=weights_of(model))
    assert net.config._attn_implementation == usual
    assert torch.equal(net(ids).logits, before)
    with suppress(KeyError), eager_attention(model):
        assert net.config._attn_implementation == "eager"
        raise KeyError
    assert net.config._attn_implementation == usual


@pytest.mark.parametrize("name", ["bloom", "ivclaims_toy"])
def test_an_unknown_layout_is_refused_with_the_known_ones(name):
    model = wrapped("bloom", 2) if name == "bloom" else toy_model("sum")
    with pytest.raises(ValueError, match=f"model_type={name}, but should be one of") as refusal:
        weights_of(model)
    assert all(name in str(refusal.value) for name in LAYOUTS)
    assert "\n" not in str(refusal.value)


def test_every_known_layout_is_tested():
    assert {model_type(layout) for layout in LINEAR_LAYOUTS} == set(LAYOUTS)
    for layout in LINEAR_LAYOUTS:
        net = every_part_model(layout, 2)
        small = [name for name, part in net.named_parameters() if part.abs().max() < 0.1]
        assert not small, layout

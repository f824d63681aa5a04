"""The `released` semantics against a plain implementation of what the authors' scripts compute.

Written from docs/design.md, "Path tracing", on transformers and forward hooks alone: it shares no
code with the methods.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import Olmo2Config, Olmo2ForCausalLM

from ivmethods.model.handles import wrap
from ivmethods.model.layouts import weights_of
from ivmethods.model.ranks import HIGH_RANK
from ivmethods.paths.graph import path_graph
from ivmethods.paths.linear_maps import linear_forms
from ivmethods.paths.tracing import trace_paths
from tests.models import number_tokenizer

LAYERS, HEADS, WIDTH, VOCAB = 3, 4, 16, 300
EPSILON = 1e-6
IDS = (5, 9, 3, 30, 7)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    config = Olmo2Config(
        vocab_size=VOCAB, hidden_size=WIDTH, intermediate_size=24, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=HEADS, initializer_range=0.3,
        rms_norm_eps=1e-2, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model = Olmo2ForCausalLM(config).eval().requires_grad_(False)
    for name, weight in model.named_parameters():
        if "norm" in name:
            weight.uniform_(0.5, 1.5)
    return model


def recorded(network):
    """Inputs of the modules by name, and attention weights by layer."""
    kept, handles = {}, []
    for name, module in network.named_modules():
        if not list(module.children()):
            handles.append(
                module.register_forward_hook(
                    lambda _module, args, output, name=name: kept.update({name: (args[0], output)})
                )
            )
    network.set_attn_implementation("eager")
    output = network(torch.tensor([IDS]), output_attentions=True, use_cache=False)
    network.set_attn_implementation("sdpa")
    for handle in handles:
        handle.remove()
    return kept, [a[0] for a in output.attentions]


def norm(module, x):
    return torch.diag(module.weight / torch.sqrt((x**2).mean() + EPSILON))


def paths_by_description(network, start, answer, k):
    """Number of paths, and of every high-ranking one the heads on its edges [layer, head]."""
    kept, attentions = recorded(network)
    eye = torch.eye(WIDTH)
    total, high = 0, []

    def edge_map(layer, i):
        block, at = network.model.layers[layer], f"model.layers.{layer}."
        heads = block.self_attn.o_proj.weight @ block.self_attn.v_proj.weight
        mixed = kept[at + "post_attention_layernorm"][0][0, i]
        gate = torch.nn.functional.silu(kept[at + "mlp.gate_proj"][1][0, i])
        raw = kept[at + "post_feedforward_layernorm"][0][0, i]
        mlp = block.mlp.down_proj.weight @ torch.diag(gate) @ block.mlp.up_proj.weight
        attention = norm(block.post_attention_layernorm, mixed) @ heads
        return (eye + norm(block.post_feedforward_layernorm, raw) @ mlp) @ (eye + attention)

    def edge_mask(layer, i, j):
        weights = attentions[layer][:, i, : i + 1]
        return (weights.topk(min(k, i + 1), dim=-1).indices == j).any(dim=-1)

    def walk(layer, j, vector, mask):
        nonlocal total
        if layer == LAYERS:
            if j == len(IDS) - 1:
                total += 1
                final = norm(network.model.norm, kept["model.norm"][0][0, -1]) @ vector
                order = torch.sort(network.lm_head.weight @ final, descending=True).indices
                if int((order == answer).nonzero()) + 1 <= 100:
                    high.append(torch.stack(mask).numpy())
            return
        for i in range(j, len(IDS)):
            heads = edge_mask(layer, i, j)
            if i == j or heads.any():
                walk(layer + 1, i, edge_map(layer, i) @ vector, [*mask, heads])

    walk(0, start, network.model.embed_tokens.weight[IDS[start]], [])
    return total, high


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("answer", [17, 200])
def test_released_semantics_is_what_the_scripts_compute(network, k, answer):
    model = wrap(network, number_tokenizer())
    (form,) = linear_forms(model, [IDS], weights=weights_of(model))
    released = replace(form, epsilon=EPSILON)
    starts = range(len(IDS))
    found = trace_paths(
        released,
        path_graph(released, k=k, semantics="released"),
        starts,
        torch.tensor([answer]),
        below=HIGH_RANK + 1,
        memory_budget=2**24,
    )
    seen = 0
    for start in starts:
        total, high = paths_by_description(network, start, answer, k)
        assert (found.totals[start], found.hits[start, 0]) == (total, len(high))
        seen += len(high)
        if high:
            np.testing.assert_allclose(found.uses[start], np.mean(high, axis=0), atol=1e-12)
    assert 0 < seen < sum(found.totals)


def test_it_differs_from_equation_3(network):
    model = wrap(network, number_tokenizer())
    (form,) = linear_forms(model, [IDS], weights=weights_of(model))
    counts = []
    for semantics, epsilon, below in [("equation", None, 100), ("released", EPSILON, 101)]:
        frozen = replace(form, epsilon=epsilon)
        graph = path_graph(frozen, k=2, semantics=semantics)
        found = trace_paths(
            frozen, graph, range(5), torch.tensor([17]), below=below, memory_budget=2**24
        )
        counts.append(found.hits.tolist())
    assert counts[0] != counts[1]

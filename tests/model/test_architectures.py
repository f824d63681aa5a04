"""Every architecture of the tracked table runs; what cannot be patched is refused in one line."""

import functools
import re

import pytest
import torch
from transformers import LlamaConfig, LlamaModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

from benchmarks.architectures import (
    ARCHITECTURES,
    PAGE,
    REFUSED,
    at_most,
    measure,
    page,
    refusal,
    small_model,
)
from ivmethods.model.handles import residual, with_residual, wrap
from ivmethods.model.layouts import LAYOUTS
from ivmethods.model.structure import STATE_SPACE
from tests.models import ToyConfig, ToyModel, number_tokenizer, random_model

BOUND = 1e-5
FIGURE = re.compile(r"≤ 1e-?\d+|\b\d+(\.\d+)?(e-\d+)? (?=\|)|(?<=token=)[\d.e-]+")
PROMISED = {
    *("olmo2", "olmo3", "llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text", "phi3"),
    *("gpt2", "gpt_neox", "gptj", "falcon", "bloom", "opt", "stablelm", "granite", "smollm3"),
    *("mixtral", "qwen2_moe", "qwen3_moe"),
}


@functools.cache
def figures(name):
    return measure(small_model(name))


# ------------------------------------------------------------------------------- what runs


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_sweep_control_and_behaviour_are_those_of_plain_hooks(name):
    found = figures(name)
    assert found.no_op <= BOUND
    assert found.parity <= BOUND
    assert found.effect > 1e-3
    assert found.behaviour


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_linear_form_is_complete_where_there_is_a_layout(name):
    found = figures(name).completeness
    assert (found is not None) == (name.partition(",")[0] in LAYOUTS)
    assert found is None or found <= BOUND


def test_the_table_has_what_is_promised_and_every_layout():
    assert {name.partition(",")[0] for name in ARCHITECTURES} >= PROMISED | set(LAYOUTS)


def test_the_page_is_what_the_command_writes():
    found = {name: figures(name) for name in ARCHITECTURES}
    written = page(found, {name: refused(name) for name in REFUSED})
    assert FIGURE.sub("#", PAGE.read_text(encoding="utf-8")) == FIGURE.sub("#", written)


def test_figures_on_the_page_are_small_and_not_better_than_measured():
    rows = re.findall(r"^\| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    tracked = {cells[0]: cells for cells in (row.split(" | ") for row in rows) if len(cells) == 8}
    for name in ARCHITECTURES:
        found, (*_, effect, no_op, parity, _, paths) = figures(name), tracked[name]
        assert float(effect) == pytest.approx(found.effect, rel=0.1)
        for figure, own in (
            (no_op, found.no_op),
            (parity, found.parity),
            (paths, found.completeness),
        ):
            if own is not None:
                assert own <= 10 * bound(figure)
                assert bound(figure) <= BOUND


def bound(figure):
    return float(figure.removeprefix("≤ "))


@pytest.mark.parametrize(
    ("figure", "text"),
    [(0.0, "≤ 1e-6"), (3e-9, "≤ 1e-6"), (1.1e-6, "≤ 1e-5"), (0.5, "≤ 1e0"), (20.0, "≤ 1e2")],
)
def test_figures_are_rounded_up_to_a_power_of_ten(figure, text):
    assert at_most(figure) == text


@pytest.mark.parametrize("kind", [tuple, list])
def test_the_residual_stream_is_found_and_replaced_in_tuples_and_lists(kind):
    output = kind([torch.zeros(1, 2, 3), "weights"])
    changed = with_residual(output, torch.ones(1, 2, 3))
    assert type(changed) is kind
    assert torch.equal(residual(changed), torch.ones(1, 2, 3))
    assert changed[1] == "weights"
    assert torch.equal(residual(with_residual(output[0], changed[0])), changed[0])


# ------------------------------------------------------------------------------- what is refused


refused = functools.cache(refusal)


@pytest.mark.parametrize(
    ("name", "got"),
    [
        ("t5", "architecture=encoder-decoder, but should be decoder-only"),
        ("mamba", "architecture=state-space, but should be decoder-only"),
        ("rwkv", "architecture=state-space"),
        ("falcon_h1", "architecture=state-space"),
        ("bert", "influence of a later token=0."),
        ("gemma3n_text", "output of block 0=2x2x3x16, but should be 2x3x16 [Gemma3nForCausalLM]"),
    ],
)
def test_other_architectures_are_refused_in_one_line(name, got):
    assert refused(name).startswith(got)
    assert "\n" not in refused(name)


def test_every_refused_kind_is_known_to_transformers():
    assert set(CONFIG_MAPPING_NAMES) >= STATE_SPACE


def test_a_model_without_an_unembedding_is_refused():
    options = {"hidden_size": 16, "intermediate_size": 24, "vocab_size": 40}
    net = LlamaModel(LlamaConfig(**options, num_hidden_layers=2, num_attention_heads=2))
    with pytest.raises(ValueError, match=r"^unembedding=None, but should be a module \[LlamaModel"):
        wrap(net, number_tokenizer())


class Changed(ToyModel):
    """A toy network that does to the stream between its blocks what `between` says."""

    def __init__(self, between):
        super().__init__(ToyConfig())
        torch.nn.init.normal_(self.embedding.weight)
        self.between = between

    def forward(self, input_ids, **_):
        return self.between(self.embedding(input_ids), self.model.layers)


def scaled(hidden, blocks):
    for block in blocks:
        hidden = 2 * block(hidden)


def looped(hidden, blocks):
    for block in [*blocks, *blocks]:
        hidden = block(hidden)


def backwards(hidden, blocks):
    for block in reversed(blocks):
        hidden = block(hidden)


def left_out(hidden, blocks):
    for block in blocks[:3]:
        hidden = block(hidden)


@pytest.mark.parametrize(
    ("between", "got"),
    [
        (scaled, "output of block 0=changed before the next block, but should be what that takes"),
        (looped, "order of blocks=[0, 1, 2, 3, 0, 1, 2, 3], but should be each once, in order"),
        (backwards, "order of blocks=[3, 2, 1, 0]"),
        (left_out, "order of blocks=[0, 1, 2]"),
    ],
)
def test_blocks_that_do_not_pass_on_one_stream_are_refused(between, got):
    with pytest.raises(ValueError, match=re.escape(got)):
        wrap(Changed(between), number_tokenizer())


def test_two_lists_of_blocks_are_refused_unless_one_has_the_number_of_layers():
    net = random_model("llama", 3)
    net.model.others = torch.nn.ModuleList([torch.nn.Identity() for _ in range(2)])
    assert len(wrap(net, number_tokenizer()).blocks) == 3
    net.model.others.append(torch.nn.Identity())
    with pytest.raises(ValueError, match="lists of blocks=2, but should be 1"):
        wrap(net, number_tokenizer())


def test_rounding_that_differs_between_rows_is_not_taken_for_looking_ahead():
    net = random_model("llama", 3).to(torch.bfloat16)
    first = net.model.layers[0].mlp
    original = first.forward
    noise = 1e-2 * torch.tensor([0.0, 1.0]).view(2, 1, 1)
    first.forward = lambda hidden: original(hidden) * (1 + noise).to(hidden)
    wrap(net, number_tokenizer())
    first.forward = lambda hidden: original(hidden) + hidden.roll(-1, dims=1)
    with pytest.raises(ValueError, match="influence of a later token"):
        wrap(net, number_tokenizer())


def test_the_probe_leaves_no_hook_behind():
    net = random_model("gpt2", 2)
    wrap(net, number_tokenizer())
    assert not any(block._forward_hooks for block in net.transformer.h)

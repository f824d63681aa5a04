"""Patching of heads and its first-order estimate = plain hooks and torch's gradients."""

import functools
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ivmethods.method import Measured
from ivmethods.model.handles import network, wrap
from ivmethods.model.layouts import named_layout
from ivmethods.model.memory import row_bytes
from ivmethods.patching.head_methods import (
    ActivationPatching,
    AttributionPatching,
    HeadNoOp,
    PairScores,
)
from ivmethods.patching.heads import attributed_heads, no_op_heads, patched_heads
from tests.models import LAYOUTS, every_part_model, number_tokenizer, random_model, wrapped
from tests.pairs import AMPLE, Unstored, random_pairs

DIRECTIONS, POSITIONS = ("denoising", "noising"), ("all", "last")
wrapped = functools.cache(wrapped)
lengths = st.lists(st.integers(2, 7), min_size=1, max_size=4)
settings_of = {
    "direction": st.sampled_from(DIRECTIONS),
    "positions": st.sampled_from(POSITIONS),
    "seed": st.integers(0, 99),
}


class Hooked:
    """One prompt at a time, by hooks on the output projections alone."""

    def __init__(self, model):
        self.network = network(model)
        path = named_layout(model, "test").out
        self.projections = [block._module.get_submodule(path) for block in model.blocks]
        self.heads = self.network.config.num_attention_heads

    def run(self, pair, ids, change=lambda layer, x: x):
        """The logit difference, with what every projection takes in; `change` replaces that."""
        seen = []

        def hook_for(layer):
            def hook(_, args):
                new = change(layer, args[0])
                seen.append(new)
                return (new, *args[1:])

            return hook

        hooks = [p.register_forward_pre_hook(hook_for(i)) for i, p in enumerate(self.projections)]
        try:
            logits = self.network(torch.tensor([ids]), use_cache=False).logits[0, -1]
        finally:
            for hook in hooks:
                hook.remove()
        return logits[pair.answer] - logits[pair.wrong], seen

    def effects(self, pair, direction, positions, step=1.0):
        """[layer, head], each head moved by `step` of the way to the source's value."""
        target, source = sides(pair, direction)
        before, _ = self.run(pair, target)
        _, values = self.run(pair, source)
        effects = before.new_zeros(len(self.projections), self.heads)
        for layer, head in [(i, j) for i in range(len(values)) for j in range(self.heads)]:

            def change(at, x, layer=layer, head=head):
                if at != layer:
                    return x
                new = x.clone()
                width = x.shape[-1] // self.heads
                part = slice(head * width, (head + 1) * width)
                place = slice(None) if positions == "all" else slice(-1, None)
                moved = values[layer][:, place, part] - x[:, place, part]
                new[:, place, part] += step * moved
                return new

            effects[layer, head] = self.run(pair, target, change)[0] - before
        return effects

    def attributions(self, pair, direction, positions):
        """[layer, head] by torch's backward pass."""
        target, source = sides(pair, direction)
        with torch.no_grad():
            _, values = self.run(pair, source)
        with torch.enable_grad():
            # Zeros that are added: their gradient is that of what they are added to.
            probes = [torch.zeros_like(x, requires_grad=True) for x in values]
            score, own = self.run(pair, target, lambda layer, x: x + probes[layer])
            score.backward()
        parts = []
        for value, x, probe in zip(values, own, probes, strict=True):
            terms = (value - x.detach()) * probe.grad
            terms = terms if positions == "all" else terms[:, -1:]
            parts.append(terms[0].unflatten(-1, (self.heads, -1)).sum(dim=(0, 2)))
        return torch.stack(parts)


def sides(pair, direction):
    return (pair.corrupt, pair.clean) if direction == "denoising" else (pair.clean, pair.corrupt)


def both(model, pairs, budget=AMPLE, **options):
    return [
        method(model, pairs, memory_budget=budget, **options)
        for method in (patched_heads, attributed_heads)
    ]


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=5)
@given(lengths=lengths, n_layers=st.integers(1, 3), **settings_of)
def test_effects_are_those_of_plain_hooks(layout, lengths, n_layers, direction, positions, seed):
    model, pairs = wrapped(layout, n_layers), random_pairs(lengths, seed)
    oracle, which = Hooked(model), {"direction": direction, "positions": positions}
    patched, attributed = both(model, pairs, **which)
    with torch.no_grad():
        expected = torch.stack([oracle.effects(pair, **which) for pair in pairs])
    torch.testing.assert_close(patched, expected, rtol=1e-3, atol=1e-4)
    expected = torch.stack([oracle.attributions(pair, **which) for pair in pairs])
    torch.testing.assert_close(attributed, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("layout", ["gemma2", "phi3", "qwen3"])
def test_effects_of_architectures_with_heads_of_their_own_width(layout):
    model = wrap(every_part_model(layout, 2), number_tokenizer())
    pairs, which = random_pairs([5, 4]), {"direction": "denoising", "positions": "all"}
    patched, attributed = both(model, pairs, **which)
    oracle = Hooked(model)
    with torch.no_grad():
        expected = torch.stack([oracle.effects(pair, **which) for pair in pairs])
    torch.testing.assert_close(patched, expected, rtol=1e-3, atol=1e-4)
    expected = torch.stack([oracle.attributions(pair, **which) for pair in pairs])
    torch.testing.assert_close(attributed, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_estimate_is_the_first_order_of_the_effect(direction, positions):
    single, double = (wrap(random_model("llama", 2), number_tokenizer()) for _ in range(2))
    network(double).double()
    (pair,), step = random_pairs([5]), 1e-3
    which = {"direction": direction, "positions": positions}
    with torch.no_grad():
        ahead, behind = (Hooked(double).effects(pair, **which, step=s) for s in (step, -step))
    estimate = attributed_heads(single, [pair], memory_budget=AMPLE, **which)[0]
    slope = ((ahead - behind) / (2 * step)).float()
    torch.testing.assert_close(estimate, slope, rtol=1e-3, atol=1e-4)


@settings(max_examples=5)
@given(lengths=lengths, **settings_of)
def test_equal_runs_have_no_effect(lengths, direction, positions, seed):
    model = wrapped("olmo2", 2)
    pairs = [replace(pair, corrupt=pair.clean) for pair in random_pairs(lengths, seed)]
    patched, attributed = both(model, pairs, direction=direction, positions=positions)
    assert patched.abs().max() < 1e-4
    assert attributed.abs().max() < 1e-4


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("positions", POSITIONS)
def test_own_values_change_nothing_at_all(layout, positions):
    pairs = random_pairs([5, 5, 3])
    effects = no_op_heads(wrapped(layout, 2), pairs, positions=positions, memory_budget=AMPLE)
    assert effects.shape == (3, 2, 2)
    assert (effects == 0).all()


@settings(max_examples=5)
@given(rows=st.integers(1, 20), **settings_of)
def test_a_smaller_memory_budget_and_the_order_of_pairs_change_nothing(
    rows, direction, positions, seed
):
    model, pairs = wrapped("olmo2", 2), random_pairs([5, 3, 5, 5], seed)
    which = {"direction": direction, "positions": positions}
    usual = both(model, pairs, **which)
    small = both(model, pairs, budget=rows * row_bytes(model, 5), **which)
    turned = both(model, pairs[::-1], **which)
    for one, other, back in zip(usual, small, turned, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(one, back.flip(0), rtol=1e-4, atol=1e-4)


def test_exchanging_the_answers_turns_the_sign():
    model, pairs = wrapped("gpt2", 2), random_pairs([5, 4])
    swapped = [replace(pair, answer=pair.wrong, wrong=pair.answer) for pair in pairs]
    which = {"direction": "denoising", "positions": "all"}
    for one, other in zip(both(model, pairs, **which), both(model, swapped, **which), strict=True):
        torch.testing.assert_close(one, -other, rtol=1e-4, atol=1e-5)


def test_the_model_is_left_as_it_was():
    model, pairs = wrapped("llama", 2), random_pairs([5])
    oracle = Hooked(model)
    before = oracle.run(pairs[0], pairs[0].clean)[0]
    both(model, pairs, direction="denoising", positions="all")
    assert torch.equal(oracle.run(pairs[0], pairs[0].clean)[0], before)


def test_a_layout_that_is_not_known_is_refused_in_one_line():
    model = wrapped("bloom", 1)
    with pytest.raises(ValueError, match=r"^model_type=bloom, but should be [^\n]* \[heads\]; "):
        attributed_heads(
            model, random_pairs([3]), direction="noising", positions="all", memory_budget=AMPLE
        )


# --------------------------------------------------------------------------------- as methods


def computed(method, some):
    arrays, facts = method.compute(method.inputs(some), some)
    assert facts == {}
    assert arrays.keys() == method.forms.keys()
    assert {str(array.dtype) for array in arrays.values()} == {"float32"}
    return arrays


def test_methods_give_what_the_functions_do_and_scores_say_what_there_is_to_explain():
    model, pairs = wrapped("olmo2", 2), random_pairs([5, 4])
    some = Unstored(model, pairs)
    which = {"direction": "noising", "positions": "last"}
    expected = both(model, pairs, **which)
    for method, effects in zip((ActivationPatching, AttributionPatching), expected, strict=True):
        found = computed(method("heads", "noising", "last"), some)["effects"]
        torch.testing.assert_close(torch.tensor(found), effects)
    scores, oracle = computed(PairScores(), some), Hooked(model)
    for name in ("clean", "corrupt"):
        runs = [float(oracle.run(pair, getattr(pair, name))[0]) for pair in pairs]
        torch.testing.assert_close(torch.tensor(scores[name]), torch.tensor(runs))
    assert some.said


def test_a_no_op_with_an_effect_refuses_the_checkpoint():
    some, of = (
        Unstored(wrapped("olmo2", 2), random_pairs([4])),
        Measured("m", "t", "float32", False),
    )
    method = HeadNoOp("all")
    assert ActivationPatching("heads").before() == (method,)

    class Kept:
        arrays = computed(method, some)

    assert method.refusal(Kept(), of) is None
    Kept.arrays["effects"][0, 1, 0] = -0.5
    assert method.refusal(Kept(), of).startswith(
        "no-op effect=0.5, but should be 0 [heads of m, t]"
    )

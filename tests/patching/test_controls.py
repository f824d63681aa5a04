import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.olmo2 import modeling_olmo2

from ivmethods.model.handles import network
from ivmethods.model.memory import row_bytes
from ivmethods.model.metrics import score
from ivmethods.model.recording import answers, record, record_sites, run_scores
from ivmethods.patching.checks import RUNNERS, check
from ivmethods.patching.controls import effects_of, norm_matched_random
from ivmethods.patching.fan_out import fan_out
from ivmethods.patching.sweep import layer_tuples, sweep
from tests.models import LAYOUTS, random_samples, random_vectors, wrapped

AMPLE = 2**28


@settings(max_examples=10)
@given(layers=st.sampled_from(layer_tuples(3, 3)), draws=st.integers(1, 4), rows=st.integers(1, 30))
def test_effects_of_draws_equal_a_sweep_with_each_draw(layers, draws, rows):
    model = wrapped("olmo2", 3)
    samples = random_samples([(4, 0), (4, 0), (6, 2), (3, 2)])
    vectors = random_vectors(draws, 3)
    budget = rows * row_bytes(model, 6)
    found = effects_of(model, samples, vectors, layers, memory_budget=budget)
    for draw in range(draws):
        expected = sweep(
            model,
            samples,
            vectors[draw].expand(4, -1, -1),
            order=3,
            memory_budget=AMPLE,
            runner=fan_out,
        )
        column = expected.effects[:, :, expected.tuples.index(layers)]
        assert torch.allclose(found[:, :, draw], column, atol=1e-4, equal_nan=True)


@given(seed=st.integers(0, 1000), scale=st.floats(0.1, 100))
def test_random_vectors_have_the_norms_of_every_layer_and_no_direction(seed, scale):
    vector = random_vectors(1, 5, seed=seed)[0] * scale
    draws = norm_matched_random(vector, draws=200, seed=seed)
    norms = vector.norm(dim=-1)
    assert torch.allclose(draws.norm(dim=-1), norms.expand(200, -1), rtol=1e-4)
    cosine = torch.nn.functional.cosine_similarity(draws, vector[None], dim=-1)
    assert float(cosine.mean().abs()) < 5 / (200 * 5 * 16) ** 0.5
    assert torch.equal(draws, norm_matched_random(vector, draws=200, seed=seed))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_recorded_residuals_equal_the_models_hidden_states(layout):
    model = wrapped(layout, 3)
    ids = random_samples([(6, 0)])[0].target
    found = record(model, ids, positions=[0, 4, 5])
    hidden = network(model)(torch.tensor([ids]), output_hidden_states=True).hidden_states
    # The last entry of hidden_states stands behind the final norm.
    for layer in range(2):
        assert torch.allclose(found[:, layer], hidden[layer + 1][0, [0, 4, 5]], atol=1e-5)


def test_scores_of_runs_and_sites_equal_single_runs():
    model = wrapped("llama", 2)
    samples = random_samples([(3, 0), (5, 2), (3, 1), (4, 0)])
    found = run_scores(
        model, samples, [sample.instructed for sample in samples], memory_budget=AMPLE
    )
    sites = record_sites(model, samples, memory_budget=AMPLE)
    for i, sample in enumerate(samples):
        logits = network(model)(torch.tensor([sample.instructed])).logits[:, -1]
        expected = score(logits, *answers([sample]))[:, 0]
        assert torch.allclose(found[:, i], expected, atol=1e-5, equal_nan=True)
        alone = record(model, sample.target, positions=[sample.site])[0]
        assert torch.allclose(sites[i], alone, atol=1e-5)


@pytest.mark.parametrize(
    ("layout", "attention", "runner"),
    [
        *((layout, "sdpa", "fan_out") for layout in LAYOUTS),
        ("olmo2", "eager", "fan_out_each"),
        ("bloom", "eager", "batched"),
    ],
)
def test_checks_pass_and_choose_the_fastest_runner_that_agrees(layout, attention, runner):
    found = check(
        wrapped(layout, 3, attention=attention), samples_for_checks(), memory_budget=AMPLE
    )
    assert found.passed
    assert found.runner == runner
    assert max(found.no_op, found.hook_parity, found.padding) < 1e-4


def samples_for_checks():
    return random_samples([(5, 0), (5, 0), (3, 0), (6, 1)])


def test_a_runner_that_is_wrong_is_passed_over(monkeypatch):
    def wrong(model, batch):
        rows, logits = fan_out(model, batch)
        return rows, logits * 1.01

    monkeypatch.setitem(RUNNERS, "fan_out", wrong)
    found = check(wrapped("olmo2", 3), samples_for_checks(), memory_budget=AMPLE)
    assert found.runner == "fan_out_each"


def test_a_model_that_never_answers_twice_alike_fails_its_checks():
    model = wrapped("olmo2", 3)
    noisy = network(model).model.layers[1].mlp
    original = noisy.forward
    noisy.forward = lambda hidden: original(hidden) + torch.randn_like(hidden)
    found = check(model, samples_for_checks(), memory_budget=AMPLE)
    assert not found.passed
    assert found.hook_parity > found.tolerance


def test_a_model_that_ignores_the_mask_fails_the_padding_check(monkeypatch):
    model = wrapped("olmo2", 2)
    monkeypatch.setattr(modeling_olmo2, "create_causal_mask", lambda **_: None)
    found = check(model, samples_for_checks(), memory_budget=AMPLE)
    assert found.padding > found.tolerance
    assert not found.passed

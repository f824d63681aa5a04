"""Models elsewhere than on the CPU, as far as a machine without an accelerator can tell."""

import warnings

import pytest
import torch

from ivmethods.model.behaviour import greedy_answers
from ivmethods.model.handles import network, wrap
from ivmethods.model.layouts import weights_of
from ivmethods.model.recording import record, record_sites, record_sources, run_scores
from ivmethods.patching.checks import check
from ivmethods.patching.controls import effects_of, norm_matched_random
from ivmethods.patching.fan_out import fan_out
from ivmethods.patching.reference import batched, by_hooks
from ivmethods.patching.sweep import sweep
from ivmethods.paths.graph import path_graph
from ivmethods.paths.linear_maps import attribution, completeness, linear_forms
from ivmethods.paths.tracing import trace_paths
from ivmethods.prompts.protocols import Source
from tests.models import number_tokenizer, random_model, random_samples, random_vectors, wrapped
from tests.pretended_devices import PretendedDevices

BUDGET = 2**28
DECODING = {"new_tokens": 4, "stops": [2], "memory_budget": 2**30}
SAMPLES = random_samples([(4, 0), (3, 1)])
SOURCES = [Source("a", (1, 2, 3), 2, 0), Source("b", (3, 2, 1), 1, 0)]
RUNNERS = (fan_out, batched, by_hooks)


def swept(runner):
    vectors = random_vectors(3, 3)
    return lambda model: (
        sweep(model, SAMPLES, vectors, order=2, memory_budget=BUDGET, runner=runner).effects
    )


def controlled(model):
    own = record(model, (1, 2, 3, 4), positions=[3])[0]
    draws = norm_matched_random(own, draws=3, seed=0)
    return effects_of(model, SAMPLES, draws, (0, 1), memory_budget=BUDGET)


def traced(model, *, max_paths):
    (form,) = linear_forms(model, [(1, 2, 3, 4)], weights=weights_of(model))
    found = trace_paths(
        form,
        path_graph(form, k=2),
        range(2),
        torch.tensor([3, 4]),
        max_paths=max_paths,
        memory_budget=BUDGET,
    )
    parts = attribution(form, 3)
    assert completeness(form) < 1e-4
    return torch.cat([parts.tokens.cpu(), torch.tensor(found.hits.ravel()).float()])


MEASURED = {
    "record": lambda model: record(model, (1, 2, 3, 4), positions=[1, 2]),
    "record sites": lambda model: record_sites(model, SAMPLES, memory_budget=BUDGET),
    "record sources": lambda model: record_sources(model, SOURCES, memory_budget=BUDGET),
    "runs": lambda model: run_scores(
        model, SAMPLES, [s.target for s in SAMPLES], memory_budget=BUDGET
    ),
    "controls": controlled,
    "checks": lambda model: torch.tensor(check(model, SAMPLES, memory_budget=BUDGET).no_op),
    "paths": lambda model: traced(model, max_paths=10_000),
    "drawn paths": lambda model: traced(model, max_paths=1),
    **{f"sweep by {runner.__name__}": swept(runner) for runner in RUNNERS},
}


@pytest.mark.parametrize("layout", ["olmo2", "gpt2"])
@pytest.mark.parametrize("name", MEASURED)
def test_a_model_on_an_accelerator_is_measured_as_on_the_cpu(name, layout):
    model, measure = wrapped(layout, 3), MEASURED[name]
    expected = measure(model)
    devices = PretendedDevices()
    devices.place(network(model), "cuda:0")
    with devices:
        found = measure(model)
        assert devices.of(found) == torch.device("cpu"), "results are on the CPU"
    assert torch.equal(torch.nan_to_num(found), torch.nan_to_num(expected))


def test_answers_are_the_same_there():
    model = wrapped("llama", 3)
    expected = greedy_answers(model, SAMPLES, **DECODING)
    devices = PretendedDevices()
    devices.place(network(model), "cuda:0")
    with devices:
        assert greedy_answers(model, SAMPLES, **DECODING) == expected


@pytest.fixture
def offloaded(tmp_path):
    """A model of which one block's weights are on disk, as accelerate leaves what has no room."""
    accelerate = pytest.importorskip("accelerate")
    parts = ["model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head"]
    parts += [f"model.layers.{layer}" for layer in range(3)]
    places = dict.fromkeys(parts, "cpu") | {"model.layers.1": "disk"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = accelerate.dispatch_model(
            random_model("llama", 3), places, main_device="cpu", offload_dir=tmp_path
        )
    return wrap(net, number_tokenizer())


def test_a_model_larger_than_its_device_is_measured_as_in_memory(offloaded):
    assert any(weight.is_meta for weight in network(offloaded).parameters())
    for name in ("record", "runs", "sweep by fan_out", "checks"):
        expected, found = MEASURED[name](wrapped("llama", 3)), MEASURED[name](offloaded)
        assert torch.equal(torch.nan_to_num(found), torch.nan_to_num(expected)), name


def test_paths_of_weights_in_several_places_are_refused_with_the_remedy(offloaded):
    said = r"^weights=on several devices or on disk, but .*: judge them on one --device with room"
    with pytest.raises(ValueError, match=said):
        weights_of(offloaded)


def test_two_devices_do_not_mix():
    devices = PretendedDevices()
    layer = torch.nn.Linear(2, 2)
    devices.place(layer, "cuda:0")
    with devices:
        here, there = torch.ones(3, 2), torch.ones(3, 2).to("cuda:0")
        assert layer(there).device == torch.device("cuda:0")
        assert there.cpu().device == torch.device("cpu")
        for mixed in (
            lambda: layer(here),
            lambda: here + there,
            lambda: torch.stack([here, there]),
            lambda: here[torch.tensor([0]).to("cuda:0")],
            lambda: there.__setitem__(torch.tensor([0, 1]), here[:2]),
        ):
            with pytest.raises(RuntimeError, match=r"same device|should be on|to be on"):
                mixed()
        with pytest.raises(TypeError, match="numpy"):
            there.detach().numpy()
        there[:, 0] = here[:, 0]
        assert (there * torch.tensor(2.0))[torch.tensor([0, 2])].device.type == "cuda"

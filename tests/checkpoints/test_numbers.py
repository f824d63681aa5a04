"""NaN and infinity are errors, 16 bits do not tie, and everything keeps to the memory budget."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
)

from ivevidence import Store, read_evidence
from ivevidence.store.places import Folder
from ivmethods.model import recording
from ivmethods.model.handles import in_float32, last_logits_outside, network, wrap
from ivmethods.model.layouts import weights_of
from ivmethods.model.memory import row_bytes
from ivmethods.model.metrics import METRICS, NotFiniteError
from ivmethods.model.ranks import high_ranking
from ivmethods.model.recording import record, record_sites, record_sources, run_scores
from ivmethods.patching.checks import RUNNERS, TOLERANCE, Checks, check, checked_samples, no_op
from ivmethods.patching.fan_out import fan_out
from ivmethods.patching.reference import by_hooks
from ivmethods.patching.sweep import sweep
from ivmethods.paths import linear_maps
from ivmethods.paths import tracing as paths
from ivmethods.paths.graph import path_graph
from ivmethods.paths.linear_maps import linear_forms
from ivmethods.paths.tracing import trace_paths
from ivmethods.prompts.protocols import Source
from tests.models import (
    VOCAB,
    WIDTH,
    number_tokenizer,
    random_model,
    random_samples,
    random_vectors,
    wrapped,
)
from tests.running import printed, saved

AMPLE = 2**28
DTYPES = {name: getattr(torch, name) for name in ("float32", "bfloat16", "float16")}
OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")


# ------------------------------------------------------------------------------ NaN and infinity


@pytest.fixture
def broken():
    """A model in which whatever comes after token 7 is NaN."""
    net = random_model("llama", 3)
    net.model.embed_tokens.weight[7] = torch.nan
    return wrap(net, number_tokenizer())


def with_token_7(shapes):
    samples = random_samples(shapes)
    ids = (*samples[0].target[:-1], 7)
    return [replace(samples[0], target=ids, instructed=ids), *samples[1:]]


MEASUREMENTS = {
    "runs": lambda model, samples: run_scores(
        model, samples, [s.target for s in samples], memory_budget=AMPLE
    ),
    "sites": lambda model, samples: record_sites(model, samples, memory_budget=AMPLE),
    "sources": lambda model, samples: record_sources(
        model, [Source("", s.target, len(s.target) - 1, 0) for s in samples], memory_budget=AMPLE
    ),
    "record": lambda model, samples: record(model, samples[0].target, positions=[4]),
    "checks": lambda model, samples: check(model, samples, memory_budget=AMPLE),
    "sweep": lambda model, samples: sweep(
        model,
        samples,
        random_vectors(len(samples), 3),
        order=2,
        memory_budget=AMPLE,
        runner=fan_out,
    ),
    "paths": lambda model, samples: linear_forms(
        model, [s.target for s in samples], weights=weights_of(model)
    ),
}


@pytest.mark.parametrize("measure", MEASUREMENTS.values(), ids=MEASUREMENTS)
def test_what_meets_nan_is_an_error_that_says_how_much_of_it(measure, broken):
    measure(broken, random_samples([(5, 0)] * 3))
    with pytest.raises(NotFiniteError, match=r"=NaN or infinite in [123] of \d+ \w+, but should"):
        measure(broken, with_token_7([(5, 0)] * 3))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_path_that_is_not_finite_ranks_nothing(value):
    vectors = torch.ones(3, 4)
    vectors[1, 2] = value
    with pytest.raises(NotFiniteError, match="logits of single paths=NaN or infinite in 1 of 3"):
        high_ranking(vectors, torch.randn(50, 4), torch.tensor([3]))


def planted(folder: Path, change: Callable[[Any], None]) -> Path:
    """A saved random checkpoint whose weights were changed."""
    saved("llama", folder)
    net = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        change(net)
    net.save_pretrained(folder)
    return folder


def one_nan(net: Any) -> None:
    net.model.layers[1].mlp.down_proj.weight[3, 5] = torch.nan


def beyond_float16(net: Any) -> None:
    net.model.layers[1].mlp.down_proj.weight *= 1e6


@pytest.mark.parametrize(
    ("change", "options", "remedy"),
    [
        (one_nan, (), "its weights are damaged"),
        (beyond_float16, ("--dtype", "float16"), "try --dtype float32 or bfloat16"),
    ],
)
def test_a_checkpoint_with_nan_is_an_error_in_one_line_and_nothing_is_kept(
    pytester, tasks, tmp_path, change, options, remedy
):
    planted(tmp_path / "planted", change)
    result = pytester.runpytest_inprocess(
        *(
            "--pyargs",
            "claims.instruction_vectors.test_localization",
            "--checkpoint",
            str(tmp_path / "planted"),
        ),
        *("--tasks", str(tasks), "--samples", "8", "--measure-anyway"),
        *("--store", str(tmp_path / "store"), "-p", "no:cacheprovider", *options),
    )
    evidence = read_evidence(pytester.path / "reports" / "claims.evidence.json")
    assert not evidence.cells
    assert len(evidence.errors) == 2
    for error in evidence.errors:
        assert "=NaN or infinite in" in error.message
        assert ", but should be finite [" in error.message
        assert remedy in error.message
        assert "\n" not in error.message.strip()
    assert "Traceback" not in printed(result)
    answers = 2
    assert len(Store(Folder(tmp_path / "store")).digests()) <= answers


def test_prompts_longer_than_the_positions_a_model_has_are_one_line(pytester, tasks, tmp_path):
    saved("gpt2", tmp_path / "short")
    result = pytester.runpytest_inprocess(
        *(
            "--pyargs",
            "claims.instruction_vectors.test_behaviour",
            "--checkpoint",
            str(tmp_path / "short"),
        ),
        *("--tasks", str(tasks), "--samples", "8", "-p", "no:cacheprovider"),
    )
    (error, _) = read_evidence(pytester.path / "reports" / "claims.evidence.json").errors
    assert "tokens of a run=more, but should be at most 32 [" in error.message
    assert "Traceback" not in printed(result)


# ------------------------------------------------------------------------------------- 16 bits

SCALED = {
    "llama": {},
    "gemma2": {"final_logit_softcapping": 3.0},
    "granite": {"logits_scaling": 0.5},
    "cohere": {"logit_scale": 0.25},
}


def of_16_bits(layout: str, vocabulary: int = 2000) -> Any:
    torch.manual_seed(0)
    options = {"vocab_size": vocabulary, "hidden_size": WIDTH, "initializer_range": 0.3}
    options |= {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2}
    options |= {"intermediate_size": 24, "head_dim": 8, "pad_token_id": 0, "bos_token_id": 1}
    config = AutoConfig.for_model(layout, eos_token_id=2, **options, **SCALED[layout])
    net = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    return wrap(net.to(torch.bfloat16), number_tokenizer())


def exact_logits(model: Any, ids: tuple[int, ...], layout: str) -> np.ndarray:
    """Logits at T_last in float64, of the hidden state and the weights as they are in 16 bits."""
    hidden = []
    module = network(model).get_output_embeddings()
    handle = module.register_forward_pre_hook(lambda _, args: hidden.append(args[0][0, -1]))
    network(model)(torch.tensor([ids]))
    handle.remove()
    logits = (hidden[0].double() @ module.weight.double().T).numpy()
    if layout == "gemma2":
        return 3 * np.tanh(logits / 3)
    return logits * {"granite": 2.0, "cohere": 0.25}.get(layout, 1.0)


@pytest.mark.parametrize("layout", SCALED)
def test_16_bit_weights_rank_as_in_float64_where_16_bit_logits_tie(layout):
    model = of_16_bits(layout)
    (sample,) = random_samples([(5, 0)])
    exact = exact_logits(model, sample.target, layout)
    usual = network(model)(torch.tensor([sample.target])).logits[0, -1].float().numpy()
    ranks = [1 + (logits[None] > logits[:, None]).sum(axis=1) for logits in (exact, usual)]
    answer = int((ranks[0] - ranks[1]).argmax())
    assert ranks[0][answer] > ranks[1][answer], "ties raise its rank in 16 bits"
    sample = replace(sample, answer=answer, contrast=None)
    found = run_scores(model, [sample], [sample.target], memory_budget=AMPLE)
    assert float(found[METRICS.index("rr"), 0]) == pytest.approx(1 / ranks[0][answer])
    assert float(found[METRICS.index("logit"), 0]) == pytest.approx(exact[answer], rel=1e-5)
    outside = last_logits_outside(model, torch.tensor([sample.target]))
    assert outside[0].numpy() == pytest.approx(exact, rel=1e-5, abs=1e-5)
    swept = {
        runner: sweep(
            model, [sample], random_vectors(1, 2), order=2, memory_budget=AMPLE, runner=runner
        )
        for runner in (fan_out, by_hooks)
    }
    difference = swept[fan_out].of("logit") - swept[by_hooks].of("logit")
    assert float(difference.abs().max()) < 0.1


def test_the_planted_tie_is_told_apart_and_blocks_change_nothing(monkeypatch):
    unembed = torch.nn.Linear(2, 3, bias=True).to(torch.bfloat16)
    unembed.weight.data = torch.tensor([[1, 0], [1, 2**-7], [1, 2**-6]], dtype=torch.bfloat16)
    unembed.bias.data = torch.tensor([0, 0, 1], dtype=torch.bfloat16)
    hidden = torch.tensor([[[64, 1]]], dtype=torch.bfloat16)
    usual = unembed(hidden)
    assert usual[0, 0, 0] == usual[0, 0, 1]
    expected = torch.tensor([64, 64 + 2**-7, 65 + 2**-6])
    for size in (2**24, 2):
        monkeypatch.setattr("ivmethods.model.handles._UPCAST", size)
        assert torch.equal(in_float32(unembed, hidden, usual)[0, 0], expected)


def test_logits_of_32_bits_are_the_models_own_to_the_bit():
    model = wrapped("gpt2", 2)
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(last_logits_outside(model, ids), network(model)(ids).logits[:, -1])


def test_an_offloaded_unembedding_is_upcast_too(tmp_path):
    accelerate = pytest.importorskip("accelerate")
    parts = ["model.embed_tokens", "model.norm", "model.rotary_emb", "model.layers"]
    places = {**dict.fromkeys(parts, "cpu"), "lm_head": "disk"}
    net = random_model("llama", 2).to(torch.bfloat16)
    ids = torch.tensor([[5, 6, 7]])
    expected = last_logits_outside(wrap(net, number_tokenizer()), ids)
    net = accelerate.dispatch_model(net, places, main_device="cpu", offload_dir=tmp_path)
    assert net.lm_head.weight.is_meta
    found = last_logits_outside(wrap(net, number_tokenizer()), ids)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("runner", RUNNERS.values(), ids=RUNNERS)
@pytest.mark.parametrize("remote", [False, "local"])
def test_a_no_op_of_equal_shape_is_exactly_null_in_every_dtype(dtype, runner, remote):
    model = wrap(random_model("llama", 3).to(dtype), number_tokenizer(), remote=remote)
    samples = random_samples([(6, 0)] * 5 + [(4, 2)] * 3)
    effects = no_op(model, samples, runner=runner, memory_budget=AMPLE)
    assert effects.shape == (8, 3)
    assert not effects.any()


def test_a_no_op_that_is_not_null_passes_in_no_dtype():
    passing = Checks(0.0, 0.4, 0.4, TOLERANCE[torch.bfloat16], "fan_out")
    assert passing.passed
    for refused in ({"no_op": 1e-7}, {"no_op": torch.nan}, {"padding": torch.nan}):
        assert not replace(passing, **refused).passed


def test_a_runner_that_writes_to_another_row_fails_the_no_op():
    def shifted(model, batch):
        order = torch.arange(len(batch.ids)).roll(1)
        ids = batch.ids[order] if batch.writes == "own" else batch.ids
        return fan_out(model, replace(batch, ids=ids))

    samples = random_samples([(6, 0)] * 2)
    assert no_op(wrapped("llama", 3), samples, runner=shifted, memory_budget=AMPLE).any()


# ----------------------------------------------------------------------------- sliding windows


@pytest.mark.parametrize(
    ("kind", "more"),
    [("mistral", {}), ("qwen2", {"use_sliding_window": True, "max_window_layers": 0})],
)
def test_the_runner_is_one_that_also_runs_beyond_the_sliding_window(kind, more):
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        kind,
        vocab_size=VOCAB,
        hidden_size=WIDTH,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        sliding_window=4,
        **more,
    )
    net = AutoModelForCausalLM.from_config(config)
    model = wrap(net.eval().requires_grad_(False), number_tokenizer())
    samples = random_samples([(3, 0)] * 5 + [(4, 0)] + [(7, 0)] * 3)
    found = check(model, checked_samples(samples), memory_budget=AMPLE)
    assert found.passed
    sweep(
        model,
        samples,
        random_vectors(len(samples), 2),
        order=2,
        memory_budget=AMPLE,
        runner=RUNNERS[found.runner],
    )


# --------------------------------------------------------------------------------- memory


@pytest.fixture
def batches(monkeypatch):
    """Sizes of the batches that are recorded; those of more than `room` rows run out of memory."""

    class Sizes(list):
        room = 99

    sizes, usual = Sizes(), recording.trace

    def trace(model, ids, **more):
        sizes.append(len(ids))
        if len(ids) > sizes.room:
            raise OUT_OF_MEMORY
        return usual(model, ids, **more)

    monkeypatch.setattr(recording, "trace", trace)
    return sizes


@pytest.mark.parametrize("name", ["runs", "sites", "sources"])
def test_runs_and_records_keep_to_the_budget_and_halve_where_it_is_too_much(
    name, batches, monkeypatch
):
    model, samples = wrapped("olmo2", 3), random_samples([(5, 0)] * 9)
    whole = MEASUREMENTS[name](model, samples)
    assert batches == [9]
    batches.clear()
    batches.room = 4
    halved = MEASUREMENTS[name](model, samples)
    assert batches == [9, 4, 4, 1]
    batches.clear()
    monkeypatch.setattr("tests.checkpoints.test_numbers.AMPLE", 2 * row_bytes(model, 5))
    small = MEASUREMENTS[name](model, samples)
    assert max(batches) == 2
    for found in (halved, small):
        assert torch.allclose(found, whole, atol=1e-4, equal_nan=True)


def test_a_budget_without_room_for_a_sweep_is_no_fault_of_the_checkpoint():
    model, samples = wrapped("llama", 4), checked_samples(random_samples([(5, 0)]))
    with pytest.raises(MemoryError, match=r"^memory_budget=3 rows, but should be at least 4 rows"):
        check(model, samples, memory_budget=3 * row_bytes(model, 5))


def test_paths_and_linear_forms_go_on_with_less_where_memory_runs_out(monkeypatch):
    model, prompts = wrapped("llama", 3), [(3, 4, 5, 6), (6, 5, 4, 3), (9, 8, 7, 6)]
    weights, usual = weights_of(model), linear_maps._record
    expected = linear_forms(model, prompts, weights=weights)

    def scarce(model, ids, *rest):
        if len(ids) > 1:
            raise OUT_OF_MEMORY
        return usual(model, ids, *rest)

    monkeypatch.setattr(linear_maps, "_record", scarce)
    forms = linear_forms(model, prompts, weights=weights)
    for form, other in zip(forms, expected, strict=True):
        assert torch.allclose(form.logits, other.logits, atol=1e-5)

    def traced():
        graph = path_graph(forms[0], k=2)
        return trace_paths(forms[0], graph, range(4), torch.tensor([3]), memory_budget=AMPLE)

    whole, budgets, every = traced(), [], paths.every_path

    def short(*given, memory_budget):
        budgets.append(memory_budget)
        if memory_budget > AMPLE // 4:
            raise OUT_OF_MEMORY
        return every(*given, memory_budget=memory_budget)

    monkeypatch.setattr(paths, "every_path", short)
    assert np.array_equal(traced().hits, whole.hits)
    assert budgets == [AMPLE, AMPLE // 2, AMPLE // 4]
    monkeypatch.setattr("ivmethods.model.memory._LEAST", AMPLE)
    with pytest.raises(MemoryError, match=r"^memory=CUDA out of memory.*; choose another --device"):
        traced()

"""Sweeps and paths on models of real size with random weights: absolute times, for a GPU.

    python -m benchmarks.gpu [--device cuda] [--dtype bfloat16] [--only WORK,...] [CONFIG ...]

The time does not depend on the weights' values, so none are needed. Samples are 8 to 24 random
tokens. Patched prompts are those that were run: a tuple with the last block is none. A sweep's
share of the device's rate is the block matmuls of all rows, over the sweep's time and over the
rate of one large matmul.
"""

import argparse
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from nnsight import TransformersModel
from tokenizers import Tokenizer, models
from transformers import AutoModelForCausalLM, Olmo2Config, PreTrainedTokenizerFast

from ivmethods.model.handles import wrap
from ivmethods.model.layouts import weights_of
from ivmethods.patching.fan_out import fan_out
from ivmethods.patching.sweep import layer_tuples, sweep
from ivmethods.paths.graph import path_graph
from ivmethods.paths.linear_maps import linear_forms
from ivmethods.paths.tracing import trace_paths
from ivmethods.prompts.protocols import Sample

# Shapes of allenai/OLMo-2-0425-1B and -1124-7B; `tiny` is to try the command on a CPU.
CONFIGS = {
    "1b": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16},
    "7b": {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32},
    "tiny": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4},
}
HEADS = {"1b": 16, "7b": 32, "tiny": 4}
VOCABULARY = {"1b": 100352, "7b": 100352, "tiny": 512}


@dataclass(frozen=True)
class Work:
    """What is timed: sweeps of an order, or paths at k, on a number of samples."""

    name: str
    samples: int
    order: int = 0
    k: int = 0


WORKS = (
    Work("pairs", 100, order=2),
    Work("triples", 100, order=3),
    Work("paths-k1", 100, k=1),
    Work("paths-k2", 20, k=2),
    Work("paths-k3", 15, k=3),
)


def main() -> None:
    """Print one line a configuration and work."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configs", nargs="*", choices=[*CONFIGS, []], help="default: 1b 7b")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--only", default=",".join(work.name for work in WORKS))
    options = parser.parse_args()
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    budget = _budget(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    rate = matmul_rate(device, dtype)
    print(f"{name}, {options.dtype}, one large matmul {rate / 1e12:.3g} TFLOP/s")
    for config in options.configs or ["1b", "7b"]:
        model = random_olmo2(config, device, dtype)
        for work in WORKS:
            if work.name in options.only.split(","):
                print(f"{config} {work.name}: {run(model, config, work, budget, rate)}", flush=True)
        del model


def run(model: TransformersModel, config: str, work: Work, budget: int, rate: float) -> str:
    """Time one work on a model, after a first sample that is not timed."""
    samples = random_samples(work.samples, VOCABULARY[config])
    if work.k:
        _paths(model, samples[:1], work.k, budget)
        seconds, found = _timed(model, lambda: _paths(model, samples, work.k, budget))
        return f"{work.samples} samples, {found} paths, {seconds:.1f} s"
    vectors = torch.randn(
        work.samples, CONFIGS[config]["num_hidden_layers"], CONFIGS[config]["hidden_size"]
    )
    settings: dict[str, Any] = {"order": work.order, "memory_budget": budget, "runner": fan_out}
    sweep(model, samples[:1], vectors[:1], **settings)
    seconds, _ = _timed(model, lambda: sweep(model, samples, vectors, **settings))
    active = CONFIGS[config]["num_hidden_layers"] - 1
    prompts = work.samples * len(layer_tuples(active, work.order))
    share = sweep_flops(samples, config, work.order) / seconds / rate
    return (
        f"{work.samples} samples, {prompts} patched prompts, {seconds:.1f} s, "
        f"{prompts / seconds:.0f} a second, {share:.0%} of the rate"
    )


def sweep_flops(samples: Sequence[Sample], config: str, order: int) -> float:
    """Multiplications and additions of the block matmuls of all rows of a fan-out sweep.

    Block l runs one row a sample, and one more for every tuple of the layers before it.
    """
    shape = CONFIGS[config]
    d_model, inner, n_layers = (
        shape[name] for name in ("hidden_size", "intermediate_size", "num_hidden_layers")
    )
    weights = 4 * d_model**2 + 3 * d_model * inner
    rows = sum(1 + len(layer_tuples(layer, order)) for layer in range(n_layers))
    return float(2 * weights * rows * sum(len(sample.target) for sample in samples))


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of one large matmul, best of five."""
    size = 8192 if device.type == "cuda" else 1024
    a = torch.randn(size, size, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(5):
        _wait(device)
        start = time.perf_counter()
        a @ a
        _wait(device)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def random_olmo2(config: str, device: torch.device, dtype: torch.dtype) -> TransformersModel:
    """An OLMo-2 of a real shape, its weights drawn on the device."""
    shape = Olmo2Config(
        vocab_size=VOCABULARY[config],
        num_attention_heads=HEADS[config],
        eos_token_id=1,
        **CONFIGS[config],
    )
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(shape, dtype=dtype, attn_implementation="sdpa")
    words = Tokenizer(models.WordLevel({"0": 0}, unk_token="0"))  # noqa: S106 - no password
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="0")  # noqa: S106
    return wrap(model.eval().requires_grad_(False), tokenizer)


def random_samples(count: int, vocabulary: int) -> list[Sample]:
    """Prompts of 8 to 24 random tokens, each with its patch site in the middle."""
    rng = random.Random(0)
    lengths = [rng.randint(8, 24) for _ in range(count)]
    tokens = [tuple(rng.randrange(vocabulary) for _ in range(length)) for length in lengths]
    return [
        Sample(
            query=str(i),
            instructed=ids,
            t_inst=len(ids) // 2,
            target=ids,
            site=len(ids) // 2,
            answer=rng.randrange(vocabulary),
            contrast=rng.randrange(vocabulary),
        )
        for i, ids in enumerate(tokens)
    ]


def _paths(model: TransformersModel, samples: Sequence[Sample], k: int, budget: int) -> int:
    weights, total = weights_of(model), 0
    for sample in samples:
        (form,) = linear_forms(model, [sample.instructed], weights=weights)
        starts = range(sample.t_inst - 1, len(sample.instructed))
        answers = torch.tensor([sample.answer])
        found = trace_paths(form, path_graph(form, k=k), starts, answers, memory_budget=budget)
        total += sum(found.totals)
    return total


def _timed(model: TransformersModel, work: Callable[[], Any]) -> tuple[float, Any]:
    device = torch.device(model.device)
    _wait(device)
    start = time.perf_counter()
    result = work()
    _wait(device)
    return time.perf_counter() - start, result


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _budget(device: torch.device) -> int:
    return torch.cuda.mem_get_info(device)[0] // 4 if device.type == "cuda" else 2**30


if __name__ == "__main__":
    main()

"""Fan-out against the authors' procedure and against the plain batched sweep, on pairs of layers.

    python -m benchmarks.fan_out [--samples N] [CHECKPOINT ...]

Authors' procedure (docs/design.md, "Activation patching"): batch size 1; for every sample and tuple
three forward passes that do not depend on the tuple, and two patched ones, through nnsight. It is
timed on a few tuples and scaled by their number. All three must find the same effects, or
nothing is printed.
"""

import argparse
import random
import resource
import time
from collections.abc import Callable
from typing import TypeVar

import torch
from jaxtyping import Float
from nnsight import TransformersModel, save

from ivfixtures.checkpoints.resolving import load, resolve
from ivfixtures.data.tasks import load_tasks
from ivmethods.model.handles import as_ids, inputs, layer_count, residual, with_residual, wrap
from ivmethods.model.memory import row_bytes
from ivmethods.model.metrics import METRICS, score
from ivmethods.model.recording import answers, record
from ivmethods.patching.fan_out import fan_out
from ivmethods.patching.reference import patched_scores
from ivmethods.patching.sweep import LayerTuple, Runner, Sweep, layer_tuples, sweep
from ivmethods.prompts.protocols import Sample, Source, same_shape, tokenize_sample, tokenize_source

CHECKPOINTS = ["tiny-olmo2-sft", "smollm2-135m-instruct"]
TASK = "adj_ant"
BUDGET = 2**30
TIMED_TUPLES = 6
REPEATS = 2
T = TypeVar("T")


def main() -> None:
    """Print one block of ratios a checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", nargs="*", default=CHECKPOINTS)
    parser.add_argument("--samples", type=int, default=4)
    options = parser.parse_args()
    threads = torch.get_num_threads()
    print(f"pairs of layers, task {TASK}, {options.samples} samples, {threads} threads")
    for name in options.checkpoints:
        loaded = load(resolve(name))
        compare(name, wrap(loaded.model, loaded.tokenizer), options.samples)


def compare(name: str, model: TransformersModel, n_samples: int) -> None:
    """Time the three ways on the same model, samples and pairs."""
    source, samples = _prompts(model, n_samples)
    vector = record(model, source.ids, positions=[source.position])[0]
    _sweep(model, samples[:1], vector, fan_out)  # warms up
    fast, result = _timed(lambda: _sweep(model, samples, vector, fan_out))
    plain, slow = _timed(lambda: plain_batched(model, samples, vector))
    assert float((result.of("logit") - slow).abs().max()) < 1e-3
    tuples = random.Random(0).sample(layer_tuples(layer_count(model), 2), TIMED_TUPLES)
    start = time.perf_counter()
    effects = [authors_procedure(model, source, samples[0], t) for t in tuples]
    seconds = (time.perf_counter() - start) / len(tuples)
    for t, effect in zip(tuples, effects, strict=True):
        found = float(result.of("logit")[0, result.tuples.index(t)])
        assert abs(found - effect) < 1e-3, (name, t, found, effect)
    authors = seconds * len(result.tuples) * n_samples
    print(
        f"{name}: {len(result.tuples)} tuples x {n_samples} samples; fan-out {fast:.2f} s; "
        f"authors' procedure {authors / fast:.0f}x ({seconds * 1e3:.0f} ms a tuple and sample); "
        f"plain batched {plain / fast:.1f}x; "
        f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB"
    )


def plain_batched(
    model: TransformersModel, samples: list[Sample], vector: torch.Tensor
) -> Float[torch.Tensor, "sample tuple"]:
    """Effects on the answer's logit with every tuple as a row of its own, in passes that fit."""
    n_layers = layer_count(model)
    tuples = [(), *layer_tuples(n_layers, 2)]
    mask = torch.tensor([[layer in t for layer in range(n_layers)] for t in tuples])
    effects = torch.empty(len(samples), len(tuples) - 1)
    for group in same_shape(samples):
        length, site = len(samples[group[0]].target), samples[group[0]].site
        size = max(1, BUDGET // (row_bytes(model, length) * len(tuples)))
        for chunk in (group[start : start + size] for start in range(0, len(group), size)):
            rows = [samples[i] for i in chunk for _ in tuples]
            written = vector.expand(len(rows), *vector.shape)
            ids, patches = as_ids([row.target for row in rows]), mask.repeat(len(chunk), 1)
            scores = patched_scores(model, ids, site, written, patches, *answers(rows))
            logit = scores[METRICS.index("logit")].view(len(chunk), -1)
            effects[chunk] = logit[:, 1:] - logit[:, :1]
    return effects


def authors_procedure(
    model: TransformersModel, source: Source, sample: Sample, layers: LayerTuple
) -> float:
    """Effect on the answer's logit, by five forward passes of one prompt each."""
    vectors = _run(model, source.ids, read=source.position)[1]
    target = _run(model, sample.target)[0]
    _run(model, sample.instructed)
    patched = [
        _run(model, sample.target, site=site, layers=layers, vectors=vectors)[0]
        for site in (sample.site, len(sample.target) - 1)
    ]
    answer, contrast = answers([sample])
    logit = METRICS.index("logit")
    return float((score(patched[0], answer, contrast) - score(target, answer, contrast))[logit, 0])


def _run(
    model: TransformersModel,
    ids: tuple[int, ...],
    *,
    read: int = 0,
    site: int = 0,
    layers: LayerTuple = (),
    vectors: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad(), model.trace(inputs(model, as_ids([ids])), use_cache=False):
        states = save([])
        for layer, block in enumerate(model.blocks):
            output = block.output
            if layer in layers and vectors is not None:
                hidden = residual(output).clone()
                hidden[0, site] = vectors[layer]
                block.output = with_residual(output, hidden)
            states.append(residual(output)[0, read])
        logits = save(model.output.logits[:, -1])
    return logits, torch.stack(list(states))


def _sweep(
    model: TransformersModel, samples: list[Sample], vector: torch.Tensor, runner: Runner
) -> Sweep:
    vectors = vector.expand(len(samples), *vector.shape)
    return sweep(model, samples, vectors, order=2, memory_budget=BUDGET, runner=runner)


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    """Best of a few repeats in seconds, and what the work returns."""
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def _prompts(model: TransformersModel, n_samples: int) -> tuple[Source, list[Sample]]:
    task = load_tasks()[TASK]
    samples = [
        tokenize_sample(
            model.tokenizer,
            query=item.query,
            instruction=task.instruction,
            prompt=task.prompt_for(item),
            answer=item.answers[0],
            contrast=item.contrast_answers[0],
        )
        for item in task.sample(n_samples, seed=0)
    ]
    return tokenize_source(model.tokenizer, task.instruction), samples


if __name__ == "__main__":
    main()

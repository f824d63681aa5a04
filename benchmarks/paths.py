"""Path tracing against the authors' procedure: every path for itself.

    python -m benchmarks.paths [--paths N] [CHECKPOINT ...]

Authors' procedure (docs/design.md, "Path tracing"): the d x d map of every edge, then for each path
one product a layer, all logits, and a full sort of the vocabulary for the answer's rank. It is
timed on the high-ranking paths and N drawn ones (default: all), and scaled by their number; both
ways must find the same paths high-ranking, or nothing is printed. The maps are those of Eq. 3 on
both sides; they are made once an edge and kept.
"""

import argparse
import random
import resource
import time

import torch
from jaxtyping import Float
from torch import Tensor

from ivfixtures.checkpoints.resolving import load, resolve
from ivfixtures.data.tasks import load_tasks
from ivmethods.model.handles import wrap
from ivmethods.model.layouts import weights_of
from ivmethods.model.ranks import HIGH_RANK, high_ranking
from ivmethods.paths.graph import PathGraph, path_graph
from ivmethods.paths.linear_blocks import fold
from ivmethods.paths.linear_maps import LinearForm, completeness, linear_forms, read_out
from ivmethods.paths.tracing import every_path, trace_paths
from ivmethods.prompts.protocols import tokenize_sample

CHECKPOINTS = ["tiny-olmo2-sft", "smollm2-135m-instruct"]
TASK = "adj_ant"
BUDGET = 2**30


def main() -> None:
    """Print one block of ratios a checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", nargs="*", default=CHECKPOINTS)
    parser.add_argument("--paths", type=int)
    options = parser.parse_args()
    print(f"k = 1, task {TASK}, first sample, {torch.get_num_threads()} threads")
    for name in options.checkpoints:
        compare(name, options.paths)


def compare(name: str, n_paths: int | None) -> None:
    """Time both ways on the paths from T_inst, and ours on those of all later tokens too."""
    loaded = load(resolve(name))
    model, task = wrap(loaded.model, loaded.tokenizer), load_tasks()[TASK]
    item = task.sample(1, seed=0)[0]
    sample = tokenize_sample(
        loaded.tokenizer,
        query=item.query,
        instruction=task.instruction,
        prompt=task.prompt_for(item),
        answer=item.answers[0],
        contrast=None,
    )
    (form,) = linear_forms(model, [sample.instructed], weights=weights_of(model))
    graph = path_graph(form, k=1)
    answers = torch.tensor([sample.answer])
    trace_paths(form, graph, [len(form.embedding) - 2], answers, memory_budget=BUDGET)  # warms up
    start = time.perf_counter()
    fast = high_ranking_edges(form, graph, sample.t_inst, answers)
    seconds = time.perf_counter() - start
    high = {edges for edges, is_high in fast.items() if is_high}
    low = sorted(fast.keys() - high)
    some = low if n_paths is None else random.Random(0).sample(low, min(n_paths, len(low)))
    start = time.perf_counter()
    steps = {step for path in fast for step in enumerate(path)}
    maps = {step: edge_map(form, graph, *step) for step in steps}
    folding, start = time.perf_counter() - start, time.perf_counter()
    slow = {
        path
        for path in [*high, *some]
        if authors_rank(form, maps, sample.t_inst, path, sample.answer) < HIGH_RANK
    }
    one_by_one = (time.perf_counter() - start) * len(fast) / (len(high) + len(some))
    assert slow == high, (name, len(slow), len(high))
    start = time.perf_counter()
    later = range(sample.t_inst, len(form.embedding))
    found = trace_paths(form, graph, later, answers, memory_budget=BUDGET)
    every = time.perf_counter() - start
    print(
        f"{name}: {len(fast)} paths from T_inst, {len(high)} high-ranking (the same on "
        f"{len(high) + len(some)} compared); ours {seconds:.2f} s, authors' procedure "
        f"{(folding + one_by_one) / seconds:.0f}x ({folding:.1f} s of it for the maps); "
        f"all {sum(found.totals)} paths from T_inst on {every:.1f} s; "
        f"completeness {completeness(form):.1g}; peak memory "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB"
    )


def high_ranking_edges(
    form: LinearForm, graph: PathGraph, start: int, answers: Tensor
) -> dict[tuple[int, ...], bool]:
    """Every path of a token, as its edges, and whether it ranks the answer high."""
    found = {}
    for wave in every_path(form, graph, [start], memory_budget=BUDGET):
        high = high_ranking(read_out(form, wave.vectors), form.weights.unembed, answers)[:, 0]
        rows = map(tuple, wave.edges.tolist())
        found |= dict(zip(rows, high.tolist(), strict=True))
    return found


def edge_map(
    form: LinearForm, graph: PathGraph, layer: int, edge: int
) -> Float[Tensor, "d_model d_model"]:
    """The d x d map of one edge."""
    edges = graph.layers[layer]
    return fold(
        form,
        layer,
        source=int(edges.source[edge]),
        target=int(edges.target[edge]),
        stay=bool(edges.stay[edge]),
        heads=edges.heads[edge],
    )


def authors_rank(
    form: LinearForm,
    maps: dict[tuple[int, int], Float[Tensor, "d_model d_model"]],
    start: int,
    path: tuple[int, ...],
    answer: int,
) -> int:
    """The answer's rank on one path, layer by layer and with a full sort."""
    vector = form.embedding[start]
    for step in enumerate(path):
        vector = maps[step] @ vector
    logits = form.weights.unembed @ read_out(form, vector[None])[0]
    order = logits.sort(descending=True).indices
    return 1 + int((order == answer).nonzero())


if __name__ == "__main__":
    main()

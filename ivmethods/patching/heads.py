"""Effects of heads on a logit difference: patched one by one, or estimated from one gradient."""

# The text of annotations: functions that a trace's body calls travel without our libraries.
from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Literal

import torch
from jaxtyping import Float, Int
from nnsight import TransformersModel, save
from torch import Tensor

from ivmethods.model.handles import as_ids, kept, last_logits, layer_count, network, trace
from ivmethods.model.layouts import named_layout
from ivmethods.model.memory import in_batches
from ivmethods.model.metrics import require_finite
from ivmethods.prompts.pairs import Pair

Direction = Literal["denoising", "noising"]
Positions = Literal["all", "last"]
Runs = list[tuple[int, ...]]
Writes = list[Tensor] | Literal["own", "nothing"]
Written = dict[int, list[tuple[int, int, Tensor | None]]]

_PLACES: dict[Positions, slice] = {"all": slice(None), "last": slice(-1, None)}


def runs_of(pairs: list[Pair], direction: Direction) -> tuple[Runs, Runs]:
    """The runs that are patched, and those that the values come from.

    denoising: clean values into the corrupt run; noising: corrupt values into the clean run.
    """
    clean, corrupt = [pair.clean for pair in pairs], [pair.corrupt for pair in pairs]
    return (corrupt, clean) if direction == "denoising" else (clean, corrupt)


def logit_differences(
    model: TransformersModel, pairs: list[Pair], sequences: Runs, *, memory_budget: int
) -> Float[Tensor, " sample"]:
    """Logit of the answer minus that of the wrong one at the end of unpatched runs, one a pair.

    Raises: NotFiniteError, MemoryError.
    """
    return _scores(model, pairs, sequences, "nothing", memory_budget=memory_budget)[:, 0]


def patched_heads(
    model: TransformersModel,
    pairs: list[Pair],
    *,
    direction: Direction,
    positions: Positions,
    memory_budget: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Float[Tensor, "sample layer head"]:
    """Effect of writing each head's output in the source run into the run that is patched.

    logit difference (answer - wrong) patched - unpatched. A head's output is what it hands to the
    attention's output projection; it is written at all positions at once, or at the last one.
    progress: called with the number of patched runs that are done.

    Raises:
        ValueError: the block layout is not known.
        NotFiniteError, MemoryError.
    Source: Zhang & Nanda 2023, arXiv:2309.16042, section 2 (logit difference, not normalized).
    """
    target, source = runs_of(pairs, direction)
    budget, nodes = memory_budget, layer_count(model) * _heads(model)
    unpatched = logit_differences(model, pairs, target, memory_budget=budget)
    place = _PLACES[positions]
    outputs = [output[place] for output in head_outputs(model, source, memory_budget=budget)]
    run = (model, pairs, target, outputs, nodes, place)
    scores = _scores(*run, memory_budget=budget, progress=progress)
    return (scores - unpatched[:, None]).unflatten(1, (-1, _heads(model)))


def no_op_heads(
    model: TransformersModel, pairs: list[Pair], *, positions: Positions, memory_budget: int
) -> Float[Tensor, "sample layer head"]:
    """Effect of writing each head's own output into the corrupt run: 0, or patching itself acts.

    The runs that it is compared with are of the same shape, so that no rounding is in between.

    Raises: as `patched_heads`.
    """
    corrupt, nodes = [pair.corrupt for pair in pairs], layer_count(model) * _heads(model)
    place = _PLACES[positions]
    own, nothing = (
        _scores(model, pairs, corrupt, writes, nodes, place, memory_budget=memory_budget)
        for writes in ("own", "nothing")
    )
    return (own - nothing).unflatten(1, (-1, _heads(model)))


def attributed_heads(
    model: TransformersModel,
    pairs: list[Pair],
    *,
    direction: Direction,
    positions: Positions,
    memory_budget: int,
) -> Float[Tensor, "sample layer head"]:
    """First-order estimate of `patched_heads`, from two forward passes and one backward pass.

    (source value - own value) x gradient of the logit difference in the run that is patched, summed
    over the head's dimensions and the positions.

    Raises: as `patched_heads`.
    Source: Nanda 2023, Attribution patching (neelnanda.io); Kramár et al. 2024, arXiv:2403.00745,
    section 2 (there: noising).
    """
    target, source = runs_of(pairs, direction)
    outputs = head_outputs(model, source, memory_budget=memory_budget)
    estimates = torch.full((len(pairs), layer_count(model), _heads(model)), torch.nan)

    def run(some: list[int]) -> None:
        own, gradient = _gradients(model, as_ids([target[i] for i in some]), _tokens(pairs, some))
        change = torch.stack([outputs[i] for i in some]) - own
        estimates[some] = (change * gradient)[:, _PLACES[positions]].sum(dim=(1, 4))

    # For the backward pass, the activations of all layers are kept.
    in_batches(model, target, memory_budget=memory_budget // layer_count(model), run=run)
    require_finite(estimates, "attributions of heads", "pairs")
    return estimates


def head_outputs(
    model: TransformersModel, sequences: Runs, *, memory_budget: int
) -> list[Float[Tensor, "pos layer head d_head"]]:
    """What every head hands to the attention's output projection, in float32.

    Raises:
        ValueError: the block layout is not known.
        MemoryError.
    """
    outputs: dict[int, Tensor] = {}
    path, heads = _projection(model), _heads(model)

    def run(some: list[int]) -> None:
        with torch.no_grad(), trace(model, as_ids([sequences[i] for i in some])):
            values = save([kept(attrgetter(path)(block).input) for block in model.blocks])
            model.unembed.input = model.unembed.input[:, -1:]  # no logits of every position
        stacked = torch.stack(list(values), dim=2).float().unflatten(-1, (heads, -1))
        outputs.update(zip(some, stacked, strict=True))

    in_batches(model, sequences, memory_budget=memory_budget, run=run)
    return [outputs[i] for i in range(len(sequences))]


def _scores(
    model: TransformersModel,
    pairs: list[Pair],
    runs: Runs,
    writes: Writes,
    nodes: int = 1,
    place: slice = _PLACES["all"],
    *,
    memory_budget: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Float[Tensor, "sample node"]:
    """Logit differences of one run a pair and node, that is: with one head written.

    writes: of each pair, the values at `place`; what the run has there itself; or nothing.
    """
    heads = _heads(model)
    scores = torch.full((len(pairs) * nodes,), torch.nan)

    def run(some: list[int]) -> None:
        written: Written = {}
        for row, (pair, node) in enumerate(divmod(i, nodes) for i in some):
            layer, head = divmod(node, heads)
            if writes != "nothing":
                value = None if writes == "own" else writes[pair][:, layer, head]
                written.setdefault(layer, []).append((row, head, value))
        ids, tokens = as_ids([runs[i // nodes] for i in some]), [i // nodes for i in some]
        scores[some] = _patched(model, ids, _tokens(pairs, tokens), written, place)
        progress(int(scores.isfinite().sum()))

    rows = [run for run in runs for _ in range(nodes)]
    in_batches(model, rows, memory_budget=memory_budget, run=run)
    require_finite(scores, "logit differences", "runs")
    return scores.unflatten(0, (-1, nodes))


def _patched(
    model: TransformersModel,
    ids: Int[Tensor, "row pos"],
    tokens: tuple[Tensor, Tensor],
    written: Written,
    place: slice,
) -> Float[Tensor, " row"]:
    """Logit differences of rows; written: by layer, rows, heads and values (None: their own)."""
    path, heads = _projection(model) if written else "", _heads(model)
    with torch.no_grad(), trace(model, ids):
        for layer in sorted(written):  # as the model runs them
            projection = attrgetter(path)(model.blocks[layer])
            outputs = projection.input.unflatten(-1, (heads, -1)).clone()
            for row, head, value in written[layer]:
                new = outputs[row, place, head] if value is None else value
                outputs[row, place, head] = new.to(outputs)
            projection.input = outputs.flatten(-2)
        scores = save(kept(_difference(last_logits(model), *tokens)))
    return scores


def _gradients(
    model: TransformersModel, ids: Int[Tensor, "row pos"], tokens: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Head outputs of the rows, and the gradients of their logit differences there.

    Both are [row pos layer head d_head], in float32.
    """
    path, heads = _projection(model), _heads(model)
    with torch.enable_grad(), trace(model, ids):
        model.blocks[0].input.requires_grad_()  # where weights are frozen, nothing else asks for it
        outputs = [attrgetter(path)(block).input for block in model.blocks]
        score = _difference(last_logits(model), *tokens).sum()
        gradients = torch.autograd.grad(score, outputs)
        parts = save([[kept(x) for x in outputs], [kept(x) for x in gradients]])
    own, gradient = (
        torch.stack(list(part), dim=2).float().unflatten(-1, (heads, -1)) for part in parts
    )
    return own, gradient


def _difference(
    logits: Float[Tensor, "row vocab"], answer: Int[Tensor, " row"], wrong: Int[Tensor, " row"]
) -> Float[Tensor, " row"]:
    """Logit of the answer minus that of the wrong one, in each row."""
    answer, wrong = (tokens.to(logits.device)[:, None] for tokens in (answer, wrong))
    return (logits.float().gather(1, answer) - logits.float().gather(1, wrong))[:, 0]


def _projection(model: TransformersModel) -> str:
    """Path, within a block, of what takes in the heads' outputs side by side."""
    return named_layout(model, "heads").out


def _heads(model: TransformersModel) -> int:
    return int(network(model).config.get_text_config().num_attention_heads)


def _tokens(pairs: list[Pair], some: list[int]) -> tuple[Tensor, Tensor]:
    """The answers and the wrong answers of some pairs."""
    answer, wrong = ([getattr(pairs[i], name) for i in some] for name in ("answer", "wrong"))
    return torch.tensor(answer), torch.tensor(wrong)

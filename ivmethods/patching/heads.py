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
Written = dict[int, tuple[list[int], list[int], Tensor | None]]

_FIRST: dict[Positions, int] = {"all": 0, "last": -1}


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
    scores = torch.full((len(pairs),), torch.nan)

    def run(some: list[int]) -> None:
        scores[some] = _patched(model, _ids(sequences, some), _tokens(pairs, some), {})

    in_batches(model, sequences, memory_budget=memory_budget, run=run)
    require_finite(scores, "logit differences of unpatched runs", "pairs")
    return scores


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
    budget = memory_budget
    unpatched = logit_differences(model, pairs, target, memory_budget=budget)
    outputs = head_outputs(model, source, memory_budget=budget)
    scores = _each_head(model, pairs, target, positions, outputs, budget, progress)
    return scores - unpatched[:, None, None]


def no_op_heads(
    model: TransformersModel, pairs: list[Pair], *, positions: Positions, memory_budget: int
) -> Float[Tensor, "sample layer head"]:
    """Effect of writing each head's own output into the corrupt run: 0, or patching itself acts.

    The runs that it is compared with are of the same shape, so that no rounding is in between.

    Raises: as `patched_heads`.
    """
    target = [pair.corrupt for pair in pairs]
    own, nothing = (
        _each_head(model, pairs, target, positions, writes, memory_budget, lambda done: None)
        for writes in ("own", "nothing")
    )
    return own - nothing


def attributed_heads(
    model: TransformersModel,
    pairs: list[Pair],
    *,
    direction: Direction,
    positions: Positions,
    memory_budget: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Float[Tensor, "sample layer head"]:
    """First-order estimate of `patched_heads`, from two forward passes and one backward pass.

    (source value - own value) x gradient of the logit difference in the run that is patched, summed
    over the head's dimensions and the positions. progress: called with the number of pairs done.

    Raises: as `patched_heads`.
    Source: Nanda 2023, Attribution patching (neelnanda.io); Kramár et al. 2024, arXiv:2403.00745,
    section 2 (there: noising).
    """
    target, source = runs_of(pairs, direction)
    outputs = head_outputs(model, source, memory_budget=memory_budget)
    first = _FIRST[positions]
    estimates = torch.full((len(pairs), layer_count(model), _heads(model)), torch.nan)
    done = 0

    def run(some: list[int]) -> None:
        nonlocal done
        own, gradient = _gradients(model, _ids(target, some), _tokens(pairs, some))
        change = torch.stack([outputs[i] for i in some]) - own
        estimates[some] = (change * gradient)[:, first:].sum(dim=(1, 4))
        done += len(some)
        progress(done)

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
        with torch.no_grad(), trace(model, _ids(sequences, some)):
            values = save([kept(attrgetter(path)(block).input) for block in model.blocks])
            model.unembed.input = model.unembed.input[:, -1:]  # no logits of every position
        stacked = torch.stack(list(values), dim=2).float().unflatten(-1, (heads, -1))
        outputs.update(zip(some, stacked, strict=True))

    in_batches(model, sequences, memory_budget=memory_budget, run=run)
    return [outputs[i] for i in range(len(sequences))]


def _each_head(
    model: TransformersModel,
    pairs: list[Pair],
    target: Runs,
    positions: Positions,
    writes: list[Tensor] | Literal["own", "nothing"],
    memory_budget: int,
    progress: Callable[[int], None],
) -> Float[Tensor, "sample layer head"]:
    """Logit differences of runs with one head written: a row a pair and head."""
    path, heads = _projection(model), _heads(model)
    nodes = layer_count(model) * heads
    scores = torch.full((len(pairs) * nodes,), torch.nan)
    rows = [run for run in target for _ in range(nodes)]
    done = 0

    def run(some: list[int]) -> None:
        nonlocal done
        written: Written = {}
        for layer in range(layer_count(model) if writes != "nothing" else 0):
            at = [row for row, i in enumerate(some) if i % nodes // heads == layer]
            own = [some[row] for row in at]
            if at:
                values = None
                if not isinstance(writes, str):
                    parts = [writes[i // nodes][:, layer, i % heads] for i in own]
                    values = torch.stack(parts)[:, _FIRST[positions] :]
                written[layer] = (at, [i % heads for i in own], values)
        owners = _tokens(pairs, [i // nodes for i in some])
        scores[some] = _patched(model, _ids(rows, some), owners, written, path, _FIRST[positions])
        done += len(some)
        progress(done)

    in_batches(model, rows, memory_budget=memory_budget, run=run)
    require_finite(scores, "logit differences of patched runs", "runs")
    return scores.view(len(pairs), -1, heads)


def _patched(
    model: TransformersModel,
    ids: Int[Tensor, "row pos"],
    tokens: tuple[Tensor, Tensor],
    written: Written,
    path: str = "",
    first: int = 0,
) -> Float[Tensor, " row"]:
    """Logit differences of rows; `written`: by layer, which rows' heads get which values.

    None: their own values. first: the first position that is written.
    """
    heads = _heads(model)
    with torch.no_grad(), trace(model, ids):
        for layer, (rows, at, values) in written.items():
            projection = attrgetter(path)(model.blocks[layer])
            outputs = projection.input.unflatten(-1, (heads, -1)).clone()
            new = outputs[rows, first:, at] if values is None else values
            outputs[rows, first:, at] = new.to(outputs)
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


def _ids(sequences: Runs, some: list[int]) -> Int[Tensor, "row pos"]:
    return as_ids([sequences[i] for i in some])


def _tokens(pairs: list[Pair], some: list[int]) -> tuple[Tensor, Tensor]:
    """The answers and the wrong answers of some pairs."""
    answer, wrong = ([getattr(pairs[i], name) for i in some] for name in ("answer", "wrong"))
    return torch.tensor(answer), torch.tensor(wrong)

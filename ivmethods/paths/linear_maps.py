"""The frozen linear form of a prompt's forward pass: recording, propagation, exact attribution."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

import torch
from jaxtyping import Float, Int
from nnsight import TransformersModel, save
from torch import Tensor
from torch.nn.functional import linear

from ivmethods.model.handles import as_ids, equal_lengths, inputs, last_unembedded, network
from ivmethods.model.layouts import Layout, Norm, Weights, layout_of
from ivmethods.model.memory import in_pieces, parts_of
from ivmethods.model.metrics import require_finite

NORMS = ("attn_in", "attn_out", "mlp_in", "mlp_out")
# nnsight hands values out in the order in which the model computes them.
_ORDER = ("attn_in", "attention", "attn_out", "mlp_in", "activation", "mlp_out")


@dataclass(frozen=True)
class LinearForm:
    """One prompt's forward pass with attention, norms and MLP gates frozen at what they were.

    embedding: the input of block 0. attention: weights a_ij, [..., i, j]. gate: what the output of
    `up` is multiplied by: act(gate), or act(z) / z in an MLP without a gate. variance: for every
    norm that the blocks have, mean square (RMSNorm) or variance (LayerNorm) of its input.
    residual: the model's own final residual stream, before the final norm. logits: the model's own
    output of the unembedding at T_last, before any soft-capping. epsilon: replaces the one of
    every norm here, if given.
    """

    weights: Weights
    embedding: Float[Tensor, "pos d_model"]
    attention: Float[Tensor, "layer head pos pos"]
    gate: Float[Tensor, "layer pos d_ff"]
    variance: Mapping[str, Float[Tensor, "layer pos"]]
    final_variance: Float[Tensor, " pos"]
    residual: Float[Tensor, "pos d_model"]
    logits: Float[Tensor, " vocab"]
    epsilon: float | None = None


@dataclass(frozen=True)
class Attribution:
    """A logit at T_last as a sum: what each input token and what the biases contribute to it."""

    tokens: Float[Tensor, " pos"]
    biases: float


def linear_forms(
    model: TransformersModel, sequences: list[tuple[int, ...]], *, weights: Weights
) -> list[LinearForm]:
    """The linear forms of prompts, in their order: one recording run for all of a length.

    Attention runs in its `eager` implementation, the one that gives out its weights. Where memory
    runs out, runs are halved.

    Raises:
        ValueError: the layout is not known.
        NotFiniteError: something in the runs is NaN or infinite.
        MemoryError: not even one prompt has room.
    Source: section 6, Eq. 3.
    Deviation: an MLP without a gate is frozen at act(z) / z; the paper gives ReLU's case of it.
    """
    layout = layout_of(model)
    forms: dict[int, LinearForm] = {}

    def run(group: list[int]) -> None:
        ids = as_ids([sequences[i] for i in group])
        forms.update(zip(group, _record(model, ids, layout, weights), strict=True))

    with eager_attention(model):
        groups = equal_lengths(sequences)
        in_pieces(groups, len(sequences), count=len, split=parts_of, run=run)
    return [forms[index] for index in range(len(sequences))]


@contextmanager
def eager_attention(model: TransformersModel) -> Iterator[None]:
    """Have the model compute its attention weights explicitly, until the context is left."""
    net = network(model)
    usual = net.config._attn_implementation
    net.set_attn_implementation("eager")
    try:
        yield
    finally:
        net.set_attn_implementation(usual)


def propagate(form: LinearForm) -> Float[Tensor, "pos d_model"]:
    """The final residual stream by the frozen maps, with all heads, tokens and biases.

    Source: section 6, Eq. 3.
    """
    stream = form.embedding
    for layer, block in enumerate(form.weights.blocks):
        attended = _attention(form, layer, stream)
        middle = stream if block.parallel else stream + attended
        stream = stream + attended + _mlp(form, layer, middle)
    return stream


def completeness(form: LinearForm) -> float:
    """Largest relative error of the frozen maps, in the final residual stream and T_last's logits.

    Largest absolute difference, divided by the largest absolute value in the model itself; >= 0.

    Raises: NotFiniteError.
    """
    stream = propagate(form)
    pairs = [(stream, form.residual), (_logits(form, stream), form.logits)]
    errors = [(ours - own).abs().max() / own.abs().max() for ours, own in pairs]
    require_finite(torch.stack(errors), "completeness of the linear form", "parts")
    return float(torch.stack(errors).max())


def attribution(form: LinearForm, token: int) -> Attribution:
    """Logit of `token` at T_last by input token, through all paths together.

    The parts add up to `form.logits[token]`, to float error.

    Raises: NotFiniteError.
    Source: section 6, Eq. 3.
    Deviation: exact and without enumeration, where the paper sums over some of the paths.
    """
    embedding = form.embedding.clone().requires_grad_()
    with torch.enable_grad():
        logit = _logits(form, propagate(replace(form, embedding=embedding)))[token]
        (gradient,) = torch.autograd.grad(logit, embedding)
    nothing = replace(form, embedding=torch.zeros_like(form.embedding))
    tokens = (gradient * form.embedding).sum(dim=1)
    require_finite(tokens, "attribution", "tokens")
    return Attribution(
        tokens=tokens,
        biases=float(_logits(form, propagate(nothing))[token]),
    )


def read_out(
    form: LinearForm, vectors: Float[Tensor, "path d_model"]
) -> Float[Tensor, "path d_model"]:
    """Vectors at T_last behind the linear part of the final norm: `@ unembed.T` gives logits."""
    return _scaled(form.weights.final, vectors, form.final_variance[-1], form.epsilon)


def normed(
    form: LinearForm,
    layer: int,
    site: str,
    vectors: Float[Tensor, "path d_model"],
    position: Int[Tensor, " path"] | None = None,
    *,
    bias: bool = False,
) -> Float[Tensor, "path d_model"]:
    """Vectors behind one of `NORMS`, frozen; unchanged where the block has no such norm.

    position: where each vector stands; by default there is one vector for every position.
    """
    norm = getattr(form.weights.blocks[layer], site)
    if norm is None:
        return vectors
    variance = form.variance[site][layer]
    variance = variance if position is None else variance[position]
    return _scaled(norm, vectors, variance, form.epsilon, bias=bias)


def _scaled(
    norm: Norm, vectors: Tensor, variance: Tensor, epsilon: float | None, *, bias: bool = False
) -> Tensor:
    if norm.centred:
        vectors = vectors - vectors.mean(dim=-1, keepdim=True)
    scale = torch.rsqrt(variance + (norm.epsilon if epsilon is None else epsilon))
    vectors = vectors * (scale[..., None] * norm.weight)
    return vectors + norm.bias if bias and norm.bias is not None else vectors


def _logits(form: LinearForm, stream: Tensor) -> Tensor:
    weights, variance = form.weights, form.final_variance[-1]
    last = _scaled(weights.final, stream[-1], variance, form.epsilon, bias=True)
    return linear(last, weights.unembed, weights.unembed_bias)


def _attention(form: LinearForm, layer: int, stream: Tensor) -> Tensor:
    block = form.weights.blocks[layer]
    bias = None if block.value_bias is None else block.value_bias.flatten()
    read = linear(
        normed(form, layer, "attn_in", stream, bias=True), block.value.flatten(0, 1), bias
    ).unflatten(1, block.value.shape[:2])
    mixed = torch.einsum("hij,jhe->ihe", form.attention[layer], read).flatten(1)
    attended = linear(mixed, block.out.transpose(0, 1).flatten(1), block.out_bias)
    return normed(form, layer, "attn_out", attended, bias=True)


def _mlp(form: LinearForm, layer: int, stream: Tensor) -> Tensor:
    block = form.weights.blocks[layer]
    hidden = linear(normed(form, layer, "mlp_in", stream, bias=True), block.up, block.up_bias)
    written = linear(hidden * form.gate[layer], block.down, block.down_bias)
    return normed(form, layer, "mlp_out", written, bias=True)


def _record(
    model: TransformersModel, ids: Int[Tensor, "sample pos"], layout: Layout, weights: Weights
) -> list[LinearForm]:
    """The linear forms of prompts of one length."""
    centred = weights.final.centred
    with torch.no_grad(), model.trace(inputs(model, ids), use_cache=False):
        embedding = save(model.blocks[0].input)
        blocks = save([_record_block(block, layout, centred) for block in model.blocks])
        residual = save(attrgetter(layout.final)(model).input)
        logits = save(last_unembedded(model))
    frozen = {part: torch.stack([block[part] for block in blocks], dim=1) for part in blocks[0]}
    for what, value in {"residual stream": residual, "logits": logits, **frozen}.items():
        require_finite(value, f"{what} of the instructed runs", "samples")
    return [
        LinearForm(
            weights=weights,
            embedding=embedding[row].float(),
            attention=frozen["attention"][row],
            gate=frozen["activation"][row],
            variance={site: frozen[site][row] for site in NORMS if site in frozen},
            final_variance=_variance(residual[row], centred),
            residual=residual[row].float(),
            logits=logits[row].float(),
        )
        for row in range(len(ids))
    ]


def _record_block(block: Any, layout: Layout, centred: bool) -> dict[str, Tensor]:
    """Inside a trace: what is frozen of a block, by part of its layout."""
    found: dict[str, Tensor] = {}
    for part in _ORDER:
        path = getattr(layout, part)
        if path is None:
            continue
        if part == "mlp_in" and path == layout.attn_in:
            found[part] = found["attn_in"]  # one norm for both, handed out once
            continue
        module = attrgetter(path)(block)
        if part == "attention":
            found[part] = module.output[1].float()
        elif part != "activation":
            found[part] = _variance(module.input, centred)
        elif layout.gated:
            found[part] = module.output.float()
        else:
            before = module.input.float()
            # act(0) is 0 in every activation used, so any finite gate is right there
            found[part] = torch.where(before == 0, 0, module.output.float() / before)
    return found


def _variance(x: Tensor, centred: bool) -> Tensor:
    x = x.float()
    return x.var(dim=-1, correction=0) if centred else x.square().mean(dim=-1)

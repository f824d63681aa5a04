"""The handle through which every method runs a model: nnsight, with one name for the blocks."""

# The text of annotations: functions that a trace's body calls travel without our libraries.
from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from nnsight import TransformersModel, register, save
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ivmethods.errors import NotRunnableError
from ivmethods.model.structure import (
    PROBE,
    block_list,
    check_stream,
    input_device,
    judge_stream,
    refuse_other_kinds,
    unembedding,
)

_UPCAST = 2**24  # weights of the unembedding that are held in float32 at once; 64 MiB

# Whether traces are sent to NDIF; or run here, but packed and unpacked as if they were.
Remote = bool | Literal["local"]


def wrap(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    remote: Remote = False,
    revision: str | None = None,
) -> TransformersModel:
    """Wrap a decoder-only model so that its parts are found at `.blocks` and `.unembed`.

    A few tokens are run to see that the blocks pass on one residual stream. A remote model needs
    no weights here: `name_or_path`, a hub id, and `revision` name it to NDIF.

    Raises:
        ValueError: the model is none that residuals can be patched in (see `structure`).
    """
    refuse_other_kinds(model)
    if not remote:
        check_stream(model, block_list(model))
        return _handle(model, tokenizer)
    handle = skeleton_handle(model, tokenizer, revision=revision)
    handle.remote = remote
    with torch.no_grad(), trace(handle, torch.tensor(PROBE)):
        streams = save([(kept(b.input), kept(residual(b.output))) for b in handle.blocks])
    judge_stream(model, [entered for entered, _ in streams], [left for _, left in streams])
    return handle


def skeleton_handle(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, revision: str | None = None
) -> TransformersModel:
    """Wrap a model without weights, which cannot be run here: only its form can be asked for.

    Raises:
        ValueError: it has no plain list of blocks, or no unembedding.
    """
    return _handle(model, tokenizer, revision=revision)


def _handle(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, **options: Any
) -> TransformersModel:
    names = {block_list(model): "blocks", unembedding(model): "unembed"}
    if not hasattr(model, "hf_device_map"):
        # Else a pipeline moves it to the device that it would choose, a GPU if there is one.
        options["device"] = model.device
    handle = TransformersModel(model, tokenizer=tokenizer, rename=names, **options)
    handle.remote = False
    return handle


def is_remote(model: TransformersModel) -> bool:
    """Whether the model runs elsewhere, so that only traces reach its weights."""
    return bool(model.remote)


def weights_problem(got: str, remedy: str) -> str:
    """Why linear maps cannot be made of weights that are not in one place here, in one line."""
    return (
        f"weights={got}, but should be in one place here [linear maps]; paths are made of weights: "
        f"judge them {remedy}"
    )


WEIGHTS_ELSEWHERE = weights_problem("on NDIF", "without --remote")


def require_weights(model: TransformersModel) -> None:
    """See that linear maps can be made of the model's weights.

    Raises:
        NotRunnableError: they are not in one place here.
    """
    if is_remote(model):
        raise NotRunnableError(WEIGHTS_ELSEWHERE)
    if len({weight.device for weight in network(model).parameters()}) > 1:
        remedy = "on one --device with room for the model"
        raise NotRunnableError(weights_problem("on several devices or on disk", remedy))


def trace(model: TransformersModel, ids: Int[Tensor, "sample pos"], **more: Tensor) -> Any:
    """A trace of one forward pass over rows of equal length, where the model runs.

    No attention mask is made: a mask has the size of the batch, and a fan-out's batch grows.
    more: other inputs of the model, by name.
    """
    return model.trace({"input_ids": ids, **more}, use_cache=False, **where(model))


def where(model: TransformersModel) -> dict[str, Remote]:
    """What nnsight has to know of where the model runs, for a trace of any kind."""
    if is_remote(model):
        register("ivmethods")  # else functions travel by name, to where this package is not
    return {"remote": model.remote}


def network(model: TransformersModel) -> Any:
    """The transformers model (a `PreTrainedModel`) behind the handle; remote, without weights."""
    return model.pipeline.model


def layer_count(model: TransformersModel) -> int:
    """Number of blocks L; layer l is the output of block l, 0-based."""
    return len(model.blocks)


def residual(output: Any) -> Float[Tensor, "sample pos d_model"]:
    """The residual stream in a block's output, which some architectures wrap in a tuple or list."""
    return output[0] if isinstance(output, tuple | list) else output


def with_residual(output: Any, value: Float[Tensor, "sample pos d_model"]) -> Any:
    """The block's output with its residual stream replaced, in the shape the model expects."""
    return type(output)((value, *output[1:])) if isinstance(output, tuple | list) else value


def kept(value: Tensor) -> Tensor:
    """Inside a trace: a value as it is to leave it, wherever the model runs."""
    return value.detach().cpu()


def last_logits(model: TransformersModel) -> Float[Tensor, "sample vocab"]:
    """Inside a trace: the logits at T_last, the only position that reaches the unembedding.

    It is made contiguous: torch multiplies a slice of a longer tensor row by row, far slower. The
    unembedding is in float32; what the model makes of its logits (a scale, soft-capping) follows.
    """
    last_unembedded(model)
    return model.output.logits[:, -1]


def last_unembedded(model: TransformersModel) -> Float[Tensor, "sample vocab"]:
    """Inside a trace: what the unembedding makes of T_last, before the model scales or caps it."""
    last = model.unembed.input[:, -1:].contiguous()
    model.unembed.input = last
    logits = in_float32(model.unembed._module, last, model.unembed.output)
    model.unembed.output = logits
    return logits[:, -1]


def last_logits_outside(
    model: TransformersModel, ids: Int[Tensor, "sample pos"]
) -> Float[Tensor, "sample vocab"]:
    """The same logits as `last_logits`, by one forward pass and a hook, without nnsight."""

    def hook(module: Any, args: Any, output: Any) -> Any:
        return in_float32(module, args[0][:, -1:].contiguous(), output[:, -1:])

    handle = model.unembed._module.register_forward_hook(hook)
    try:
        return network(model)(**inputs(model, ids), use_cache=False).logits[:, -1]
    finally:
        handle.remove()


def in_float32(
    unembed: Any, hidden: Float[Tensor, "sample pos d_model"], usual: Float[Tensor, "sample pos _"]
) -> Float[Tensor, "sample pos vocab"]:
    """Logits of an unembedding in float32, from its weights and its input as they are.

    usual: what it gave itself, returned as it is where that is not of 16 bits, or the unembedding
    is no plain linear map (a quantised one). Logits of 16 bits tie, and ties raise the rank. The
    weights are upcast anew in every pass, by blocks of 64 MiB: time instead of twice their memory.
    """
    if usual.element_size() > 2 or type(unembed) is not torch.nn.Linear:
        return usual
    if unembed.weight.is_meta:  # offloaded: accelerate has them in memory for a forward pass only
        from accelerate.utils import align_module_device

        with align_module_device(unembed):
            return _unembedded(unembed, hidden).to(usual.device)
    return _unembedded(unembed, hidden).to(usual.device)


def _unembedded(unembed: Any, hidden: Tensor) -> Tensor:
    weight, bias = unembed.weight, unembed.bias
    hidden = hidden.to(weight.device).float()
    logits = hidden.new_empty(*hidden.shape[:-1], len(weight))
    size = max(1, _UPCAST // weight.shape[1])
    for start in range(0, len(weight), size):
        logits[..., start : start + size] = hidden @ weight[start : start + size].float().T
    return logits if bias is None else logits + bias.float()


def inputs(model: TransformersModel, ids: Int[Tensor, "sample pos"]) -> dict[str, Tensor]:
    """Model inputs for rows of equal length.

    No attention mask is made: a mask has the size of the batch, and a fan-out's batch grows.
    """
    return {"input_ids": ids.to(input_device(network(model)))}


def equal_lengths(sequences: list[tuple[int, ...]]) -> list[list[int]]:
    """Indices of the sequences, grouped by length: rows of a batch are never padded."""
    groups: dict[int, list[int]] = {}
    for index, sequence in enumerate(sequences):
        groups.setdefault(len(sequence), []).append(index)
    return list(groups.values())


def as_ids(sequences: list[tuple[int, ...]]) -> Int[Tensor, "sample pos"]:
    """Rows of equal length as a tensor."""
    return torch.tensor(sequences, dtype=torch.long)

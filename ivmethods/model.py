"""The handle through which every method runs a model: nnsight, with one name for the blocks."""

from typing import Any

import torch
from jaxtyping import Float, Int
from nnsight import TransformersModel
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ivmethods.structure import block_list, check_stream, refuse_other_kinds, unembedding


def wrap(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> TransformersModel:
    """Wrap a loaded decoder-only model so that its parts are found at `.blocks` and `.unembed`.

    A few tokens are run to see that the blocks pass on one residual stream.

    Raises:
        ValueError: the model is none that residuals can be patched in (see `structure`).
    """
    refuse_other_kinds(model)
    blocks, unembed = block_list(model), unembedding(model)
    check_stream(model, blocks)
    return TransformersModel(
        model, tokenizer=tokenizer, rename={blocks: "blocks", unembed: "unembed"}
    )


def network(model: TransformersModel) -> Any:
    """The transformers model (a `PreTrainedModel`) behind the handle."""
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


def last_logits(model: TransformersModel) -> Float[Tensor, "sample vocab"]:
    """Inside a trace: the logits at T_last, the only position that reaches the unembedding.

    It is made contiguous: torch multiplies a slice of a longer tensor row by row, far slower.
    """
    model.unembed.input = model.unembed.input[:, -1:].contiguous()
    return model.output.logits[:, -1]


def inputs(model: TransformersModel, ids: Int[Tensor, "sample pos"]) -> dict[str, Tensor]:
    """Model inputs for rows of equal length.

    No attention mask is made: a mask has the size of the batch, and a fan-out's batch grows.
    """
    return {"input_ids": ids.to(network(model).device)}


def equal_lengths(sequences: list[tuple[int, ...]]) -> list[list[int]]:
    """Indices of the sequences, grouped by length: rows of a batch are never padded."""
    groups: dict[int, list[int]] = {}
    for index, sequence in enumerate(sequences):
        groups.setdefault(len(sequence), []).append(index)
    return list(groups.values())


def as_ids(sequences: list[tuple[int, ...]]) -> Int[Tensor, "sample pos"]:
    """Rows of equal length as a tensor."""
    return torch.tensor(sequences, dtype=torch.long)

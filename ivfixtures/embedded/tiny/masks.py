"""Attention masks that leave T_inst as the instruction's only way to the answer."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import Olmo2ForCausalLM

UNMASKED = -1


@contextmanager
def only_through_t_inst(
    model: Olmo2ForCausalLM, t_inst: Int[Tensor, " sample"]
) -> Iterator[Olmo2ForCausalLM]:
    """Hide the instruction from the tokens after it while the context is open.

    Below the middle layer every token after T_inst is blind to the instruction, T_inst included;
    from the middle layer on it sees T_inst, but no other token of the instruction. The instruction
    itself is read as always.

    `t_inst`: position of T_inst per sample; `UNMASKED` leaves a sample's attention causal.
    Batches must be padded on the right, and have as many samples as `t_inst`.
    """
    layers = model.model.layers
    middle = len(layers) // 2
    with ExitStack() as stack:
        for index, layer in enumerate(layers):
            hook = partial(_replace_mask, t_inst=t_inst, see_t_inst=index >= middle)
            handle = layer.register_forward_pre_hook(hook, with_kwargs=True)
            stack.callback(handle.remove)
        yield model


def visible(
    t_inst: Int[Tensor, " sample"], length: int, *, see_t_inst: bool
) -> Bool[Tensor, "sample pos pos"]:
    """Which position (second axis) may see which (third axis) in one layer."""
    position = torch.arange(length, device=t_inst.device)
    query, key = position[None, :, None], position[None, None, :]
    site = t_inst[:, None, None]
    hidden = (key < site) | ((key == site) & (not see_t_inst))
    return (key <= query) & ~(hidden & (query > site))


def _replace_mask(
    layer: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    t_inst: Int[Tensor, " sample"],
    see_t_inst: bool,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    stream: Float[Tensor, "sample pos d_model"] = args[0] if args else kwargs["hidden_states"]
    allowed = visible(t_inst, stream.shape[1], see_t_inst=see_t_inst)
    blocked = torch.zeros(allowed.shape, dtype=stream.dtype, device=stream.device)
    blocked = blocked.masked_fill(~allowed, torch.finfo(stream.dtype).min)
    return args, {**kwargs, "attention_mask": blocked[:, None]}

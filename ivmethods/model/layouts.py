"""Block layouts: where an architecture keeps its parts, and the weights found there."""

from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, Literal

import torch
from jaxtyping import Float
from nnsight import TransformersModel
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from ivmethods.model.handles import WEIGHTS_ELSEWHERE, network, require_weights


@dataclass(frozen=True)
class Layout:
    """Where a block keeps its parts: module paths within the block, `final` within the model.

    attn_in, attn_out, mlp_in, mlp_out: the norms before and after attention and MLP. gated:
    whether the activation gates the output of `up`; otherwise it is applied to that output.
    fused: query, key and value stand in one module, one after the other (`blocks`) or one after the
    other within each head (`heads`). fused_gate: gate and `up` stand in one module, in that order.
    offset: what a norm adds to its stored weight. epsilon: the attribute of a norm. parallel: the
    configuration's flag for attention and MLP side by side. scale: the configuration's factor on
    what attention and MLP write.
    """

    attn_in: str | None = "input_layernorm"
    attention: str = "self_attn"
    value: str = "self_attn.v_proj"
    fused: Literal["blocks", "heads"] | None = None
    out: str = "self_attn.o_proj"
    attn_out: str | None = None
    mlp_in: str | None = "post_attention_layernorm"
    up: str = "mlp.up_proj"
    fused_gate: bool = False
    activation: str = "mlp.act_fn"
    gated: bool = True
    down: str = "mlp.down_proj"
    mlp_out: str | None = None
    final: str = "model.norm"
    epsilon: str = "variance_epsilon"
    offset: float = 0.0
    parallel: str | None = None
    scale: str | None = None


_OUTPUT_NORMS = Layout(
    attn_in=None,
    attn_out="post_attention_layernorm",
    mlp_in=None,
    mlp_out="post_feedforward_layernorm",
)
_BOTH_SIDES = Layout(
    attn_out="post_attention_layernorm",
    mlp_in="pre_feedforward_layernorm",
    mlp_out="post_feedforward_layernorm",
    epsilon="eps",
    offset=1.0,
)
LAYOUTS: dict[str, Layout] = {
    "olmo2": _OUTPUT_NORMS,
    "olmo3": _OUTPUT_NORMS,
    "llama": Layout(),
    "mistral": Layout(),
    "qwen2": Layout(),
    "qwen3": Layout(),
    "smollm3": Layout(),
    "stablelm": Layout(epsilon="eps", parallel="use_parallel_residual"),
    "granite": Layout(scale="residual_multiplier"),
    "phi3": Layout(
        value="self_attn.qkv_proj",
        fused="blocks",
        up="mlp.gate_up_proj",
        fused_gate=True,
        activation="mlp.activation_fn",
    ),
    "gemma": Layout(epsilon="eps", offset=1.0),
    "gemma2": _BOTH_SIDES,
    "gemma3_text": _BOTH_SIDES,
    "gpt2": Layout(
        attn_in="ln_1",
        attention="attn",
        value="attn.c_attn",
        fused="blocks",
        out="attn.c_proj",
        mlp_in="ln_2",
        up="mlp.c_fc",
        activation="mlp.act",
        gated=False,
        down="mlp.c_proj",
        final="transformer.ln_f",
        epsilon="eps",
    ),
    "gpt_neox": Layout(
        attention="attention",
        value="attention.query_key_value",
        fused="heads",
        out="attention.dense",
        up="mlp.dense_h_to_4h",
        activation="mlp.act",
        gated=False,
        down="mlp.dense_4h_to_h",
        final="gpt_neox.final_layer_norm",
        epsilon="eps",
        parallel="use_parallel_residual",
    ),
}


@dataclass(frozen=True)
class Norm:
    """weight * x / sqrt(mean(x^2) + epsilon) + bias, or `centred`: of x - mean(x) (LayerNorm)."""

    weight: Float[Tensor, " d_model"]
    bias: Float[Tensor, " d_model"] | None
    centred: bool
    epsilon: float


@dataclass(frozen=True)
class Block:
    """Weights of a block in float32: norms where they exist, one value and out matrix a head.

    parallel: attention and MLP both read the block's input, instead of one after the other.
    """

    attn_in: Norm | None
    attn_out: Norm | None
    mlp_in: Norm | None
    mlp_out: Norm | None
    value: Float[Tensor, "head d_head d_model"]
    value_bias: Float[Tensor, "head d_head"] | None
    out: Float[Tensor, "head d_model d_head"]
    out_bias: Float[Tensor, " d_model"] | None
    up: Float[Tensor, "d_ff d_model"]
    up_bias: Float[Tensor, " d_ff"] | None
    down: Float[Tensor, "d_model d_ff"]
    down_bias: Float[Tensor, " d_model"] | None
    parallel: bool


@dataclass(frozen=True)
class Weights:
    """The weights of a model that its linear forms share; views of the model's where possible."""

    blocks: tuple[Block, ...]
    final: Norm
    unembed: Float[Tensor, "vocab d_model"]
    unembed_bias: Float[Tensor, " vocab"] | None


def layout_problem(config: Any, where: str) -> str | None:
    """Why the layout of a model of this configuration is not known, in one line, or None.

    where: what needs it.
    """
    if config.model_type in LAYOUTS:
        return None
    return (
        f"model_type={config.model_type}, but should be one of {', '.join(LAYOUTS)} [{where}]; "
        "add it to ivmethods.model.layouts.LAYOUTS and a random model to tests/models.py"
    )


def linear_problem(config: Any, *, remote: bool) -> str | None:
    """Why a model of this configuration has no locally-linear maps, in one line, or None."""
    return WEIGHTS_ELSEWHERE if remote else layout_problem(config, "linear maps")


def layout_of(model: TransformersModel) -> Layout:
    """The block layout of a model whose weights are to be read.

    Raises:
        ValueError: the layout is not known, or the model's weights are not in one place here.
    """
    require_weights(model)
    layout = named_layout(model, "linear maps")
    if layout.mlp_in and attrgetter(layout.mlp_in)(model.blocks[0]._module) is None:
        return replace(layout, mlp_in=layout.attn_in)  # parallel branches behind one norm
    return layout


def named_layout(model: TransformersModel, use: str) -> Layout:
    """The block layout of a model, by its configuration's `model_type`; `use`: what it is for.

    Raises:
        ValueError: the layout is not known.
    """
    config = network(model).config
    if problem := layout_problem(config, use):
        raise ValueError(problem)
    return LAYOUTS[config.model_type]


def weights_of(model: TransformersModel) -> Weights:
    """The weights that the locally-linear maps are made of.

    Raises:
        ValueError: the layout is not known.
    Source: section 6, Eq. 3.
    """
    layout, net = layout_of(model), network(model)
    unembed, bias = _linear(net.get_output_embeddings())
    return Weights(
        blocks=tuple(_block(block._module, layout, net.config) for block in model.blocks),
        final=_norm(attrgetter(layout.final)(net), layout),
        unembed=unembed,
        unembed_bias=bias,
    )


def _block(block: torch.nn.Module, layout: Layout, config: Any) -> Block:
    def norm(path: str | None) -> Norm | None:
        return None if path is None else _norm(attrgetter(path)(block), layout)

    scale = 1.0 if layout.scale is None else getattr(config, layout.scale)
    out, out_bias = _linear(attrgetter(layout.out)(block), scale)
    up, up_bias = _linear(attrgetter(layout.up)(block))
    down, down_bias = _linear(attrgetter(layout.down)(block), scale)
    if layout.fused_gate:
        up, up_bias = up.chunk(2)[1], None if up_bias is None else up_bias.chunk(2)[1]
    value, value_bias = _linear(attrgetter(layout.value)(block))
    heads = config.num_attention_heads
    out = out.unflatten(1, (heads, -1)).transpose(0, 1)
    return Block(
        attn_in=norm(layout.attn_in),
        attn_out=norm(layout.attn_out),
        mlp_in=norm(layout.mlp_in),
        mlp_out=norm(layout.mlp_out),
        value=_values(value, out, layout),
        value_bias=None if value_bias is None else _values(value_bias, out, layout),
        out=out,
        out_bias=out_bias,
        up=up,
        up_bias=up_bias,
        down=down,
        down_bias=down_bias,
        parallel=layout.parallel is not None and getattr(config, layout.parallel),
    )


def _values(rows: Tensor, out: Tensor, layout: Layout) -> Tensor:
    """Rows of the value projection, or of its bias, by head; repeated where heads share them."""
    heads, _, d_head = out.shape
    rows = rows.unflatten(0, (-1, d_head))
    if layout.fused == "blocks":
        rows = rows[(len(rows) + heads) // 2 :]
    elif layout.fused == "heads":
        rows = rows[2::3]
    return rows.repeat_interleave(heads // len(rows), dim=0)


def _linear(module: Any, scale: float = 1.0) -> tuple[Tensor, Tensor | None]:
    """Weight [out in] and bias of a linear module, times a scale."""
    weight = (module.weight.T if isinstance(module, Conv1D) else module.weight).detach().float()
    bias = getattr(module, "bias", None)
    bias = None if bias is None else bias.detach().float()
    if scale == 1:  # views of the model's own
        return weight, bias
    return weight * scale, None if bias is None else bias * scale


def _norm(module: Any, layout: Layout) -> Norm:
    bias = getattr(module, "bias", None)
    return Norm(
        weight=module.weight.detach().float() + layout.offset,
        bias=None if bias is None else bias.detach().float(),
        centred=isinstance(module, torch.nn.LayerNorm),
        epsilon=getattr(module, layout.epsilon),
    )

"""Where a transformers model keeps its blocks, and whether they pass on one residual stream."""

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

# By model_type, hybrids with attention included. Decoders with linear attention in some layers
# (Qwen3-Next, OLMo-Hybrid) are no state-space models: there the checks of a run decide.
STATE_SPACE = frozenset(
    {
        *("mamba", "mamba2", "falcon_mamba", "rwkv", "xlstm", "recurrent_gemma"),
        *("falcon_h1", "jamba", "bamba", "zamba", "zamba2", "nemotron_h", "granitemoehybrid"),
    }
)
# Rows that differ in their last token only: whatever differs before it looks ahead.
PROBE = ((1, 2, 3), (1, 2, 4))
_NO_STREAM = "patching the outputs of its blocks would not patch a residual stream"


def kind_problem(config: Any, where: str) -> str | None:
    """Why a model of this configuration has no residual stream of ours, in one line, or None.

    It is an encoder-decoder or a state-space model, hybrids with attention included.
    """
    kinds = {
        "encoder-decoder": config.is_encoder_decoder,
        "state-space": config.model_type in STATE_SPACE,
    }
    for kind, applies in kinds.items():
        if applies:
            expected, remedy = "decoder-only with attention", "choose another checkpoint"
            return f"architecture={kind}, but should be {expected} [{where}]; {remedy}"
    return None


def refuse_other_kinds(model: PreTrainedModel) -> None:
    """Refuse other kinds of models than `kind_problem` has nothing to say about.

    Raises:
        ValueError: the model is one of these.
    """
    if problem := kind_problem(model.config, type(model).__name__):
        raise ValueError(problem)


def block_list(model: PreTrainedModel) -> str:
    """Module path of the model's list of blocks.

    It is the decoder's list of modules; of several, the one with the configured number of layers.

    Raises:
        ValueError: there is none, or more than one.
    """
    lists = _outermost_lists(model.get_decoder()) or _outermost_lists(model)
    if len(lists) > 1:
        depth = getattr(model.config.get_text_config(), "num_hidden_layers", None)
        lists = [blocks for blocks in lists if len(blocks) == depth]
    if len(lists) != 1:
        raise _refusal(
            *("lists of blocks", len(lists), "1", model),
            "an architecture without a plain list of blocks cannot be patched",
        )
    return _path(model, lists[0])


def input_device(model: PreTrainedModel) -> torch.device:
    """Where the model takes its input; weights that are offloaded are nowhere themselves."""
    return torch.device("cpu") if model.device.type == "meta" else model.device


def unembedding(model: PreTrainedModel) -> str:
    """Module path of the model's unembedding.

    Raises:
        ValueError: it has none.
    """
    unembed = model.get_output_embeddings()
    if unembed is None:
        raise _refusal("unembedding", None, "a module", model, "load it as a causal language model")
    return _path(model, unembed)


def check_stream(model: PreTrainedModel, blocks: str) -> None:
    """Run a few tokens, and see that the residual stream is what leaves one block for the next.

    Raises:
        ValueError: a block runs not once or out of order, returns something else than what the
            next one takes in, or earlier positions know of later tokens.
    """
    parts = list(model.get_submodule(blocks).children())
    entered, left = _run_probe(model, parts)
    order = [layer for layer, _ in entered]
    if order != list(range(len(parts))):
        raise _refusal("order of blocks", order, "each once, in order", model, _NO_STREAM)
    judge_stream(model, [stream for _, stream in entered], left)


def judge_stream(model: PreTrainedModel, entered: list[Tensor], left: list[Tensor]) -> None:
    """See that what entered and left the blocks, run on PROBE, is one stream.

    Raises:
        ValueError: as in `check_stream`.
    """
    shape = (*torch.tensor(PROBE).shape, model.config.get_text_config().hidden_size)
    for layer, stream in enumerate(left):
        if stream.shape != shape:
            got = "x".join(map(str, stream.shape))
            expected = "x".join(map(str, shape))
            raise _refusal(f"output of block {layer}", got, expected, model, _NO_STREAM)
        if layer + 1 < len(left) and not _same(stream, entered[layer + 1]):
            got, expected = "changed before the next block", "what that takes in"
            raise _refusal(f"output of block {layer}", got, expected, model, _NO_STREAM)
    before = left[-1][:, :-1].float()
    ahead = float((before[0] - before[1]).abs().max() / before.abs().max())
    # Rounding may differ between rows, the square root of its step is far above that.
    if ahead > torch.finfo(left[-1].dtype).eps ** 0.5:
        remedy = "choose a checkpoint that reads from left to right"
        raise _refusal("influence of a later token", f"{ahead:.2g}", "0", model, remedy)


def _run_probe(
    model: PreTrainedModel, blocks: list[Any]
) -> tuple[list[tuple[int, Tensor]], list[Tensor]]:
    """What entered each block, with its layer, and what left it, in the order of their runs."""
    entered: list[tuple[int, Tensor]] = []
    left: list[Tensor] = []

    def hook(block: Any, args: Any, kwargs: Any, output: Any) -> None:
        layer = next(i for i, other in enumerate(blocks) if other is block)
        entered.append((layer, args[0] if args else next(iter(kwargs.values()))))
        left.append(output[0] if isinstance(output, tuple | list) else output)

    handles = [block.register_forward_hook(hook, with_kwargs=True) for block in blocks]
    try:
        with torch.no_grad():
            model(input_ids=torch.tensor(PROBE, device=input_device(model)), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return entered, left


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one.nan_to_num(), other.nan_to_num())


def _outermost_lists(module: torch.nn.Module) -> list[torch.nn.ModuleList]:
    found = []
    for part in module.children():
        found += [part] if isinstance(part, torch.nn.ModuleList) else _outermost_lists(part)
    return found


def _path(model: torch.nn.Module, module: torch.nn.Module) -> str:
    return next(path for path, part in model.named_modules() if part is module)


def _refusal(what: str, got: object, expected: str, model: Any, remedy: str) -> ValueError:
    where = type(model).__name__
    return ValueError(f"{what}={got}, but should be {expected} [{where}]; {remedy}")

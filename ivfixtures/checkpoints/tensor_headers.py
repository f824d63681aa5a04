"""What the headers of weight files say of their tensors, and what must hold of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ivfixtures.plain_files import check_regular, problem

_FLOATS = ("F16", "BF16", "F32", "F64")
# Tensors that no weight is made of: older files keep what transformers computes by itself, the
# angles of rotary positions, positions counted up, and the causal mask beside its stand-in for
# minus infinity.
EXTRA = re.compile(
    r"(^|\.)rotary_emb\.inv_freq$|(^|\.)position_ids$"
    r"|(^|\.)(attn|attention)\.(masked_)?bias$|(^|\.)masked_bias$"
)


@dataclass(frozen=True)
class Tensor:
    """A tensor of a safetensors file: its name there, shape, and the format of its numbers."""

    name: str
    shape: tuple[int, ...]
    dtype: str


def tensors(path: Path) -> tuple[Tensor, ...]:
    """Return the tensors of a safetensors file, by its header, which says whether it is whole.

    Raises: CheckpointError.
    """
    check_regular(path)
    try:
        with safe_open(path, framework="numpy") as file:
            slices = [(name, file.get_slice(name)) for name in file.keys()]  # noqa: SIM118
            return tuple(
                Tensor(name, tuple(part.get_shape()), part.get_dtype()) for name, part in slices
            )
    except (SafetensorError, OSError) as error:
        remedy = "download or save the file again"
        raise problem("weights", str(error), "an intact safetensors file", path, remedy) from None


def check_tensors(files: Sequence[Path]) -> tuple[str, ...]:
    """Check the headers of one model's safetensors files; return the names of their tensors.

    Raises: CheckpointError, a file is damaged, two of them hold a tensor of one name, or numbers
    are no floating-point ones: transformers would take codes of a quantization for weights.
    """
    names: dict[str, Path] = {}
    for path in files:
        for tensor in tensors(path):
            if tensor.name in names:
                got, remedy = f"in {names[tensor.name].name}, too", "save the whole model again"
                raise problem(f"tensor {tensor.name}", got, "in one file", path, remedy)
            if tensor.dtype not in _FLOATS and not EXTRA.search(tensor.name):
                expected = f"one of {', '.join(_FLOATS)}"
                remedy = "name the model that was quantized, or save it dequantized"
                raise problem(f"dtype of {tensor.name}", tensor.dtype, expected, path, remedy)
            names[tensor.name] = path
    return tuple(names)


def check_layers(stated: int | None, names: Iterable[str], where: Path) -> None:
    """Check that no more layers are stated than tensors are numbered for, before any is built.

    Raises: CheckpointError.
    """
    numbers = (re.search(r"(?:^|\.)([0-9]{1,9})\.", name) for name in names)
    numbered = 1 + max((int(match[1]) for match in numbers if match), default=-1)
    if stated is not None and stated > numbered:
        expected = f"at most {numbered}, as tensors are numbered for"
        remedy = "correct it, or save the whole model again"
        raise problem("number of layers", str(stated), expected, where, remedy)

"""Headers of GGUF files: how large a whole file is, and how many numbers it holds.

transformers' own reader takes up to half a minute for a large vocabulary; this one skips values.
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

# Bytes of a number, by its type.
_NUMBERS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY, _UINT32 = 8, 9, 4
_INTEGERS = {_UINT32: "I", 5: "i", 10: "Q", 11: "q"}
_ALIGNMENT = 32  # unless the file states another


def whole_size(path: Path) -> int:
    """Return the least number of bytes that a GGUF file has with all the tensors it lists.

    Sizes are those of the package gguf: without it, of formats unknown to it, they count as 0.
    Raises: ValueError, the header is damaged or cut short; OSError, the file cannot be read.
    """
    header, sizes, end = read_header(path), _block_sizes(), 0
    for tensor in header.tensors:
        block, size = sizes.get(tensor.kind, (1, 0))
        end = max(end, tensor.offset + tensor.numbers // block * size)
    return -(-header.end // header.alignment) * header.alignment + end if end else header.end


def parameter_count(path: Path) -> int:
    """Return how many numbers the tensors of a GGUF file are.

    Raises: as `whole_size`.
    """
    return sum(tensor.numbers for tensor in read_header(path).tensors)


@dataclass(frozen=True)
class Tensor:
    """A tensor of a GGUF file: its name there, how many numbers it is, format, and place."""

    name: str
    numbers: int
    kind: int
    offset: int


@dataclass(frozen=True)
class Header:
    """What a file's header says; `layers`: if it states them; `end`: the bytes of the header."""

    tensors: tuple[Tensor, ...]
    layers: int | None
    alignment: int
    end: int


def read_header(path: Path) -> Header:
    """Return what a GGUF file's header says.

    Raises: as `whole_size`.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            found = _Parser(data)
        except (struct.error, OverflowError, RecursionError):
            raise ValueError("cut short, or not what its lengths say") from None
    return Header(tuple(found.tensors), found.layers, found.alignment, found.at)


class _Parser:
    """Goes through a file's header; `at`: how far it is."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at, self.alignment = data, 4, _ALIGNMENT
        self.layers: int | None = None
        # Of either byte order, the version is a small number.
        self.order = "<" if struct.unpack_from("<I", data, 4)[0] < 2**16 else ">"
        if (version := self.number("I")) not in (2, 3):
            raise ValueError(f"of version {version}, not 2 or 3")
        tensors, values = self.number("Q"), self.number("Q")
        for _ in range(values):
            key, kind = self.text(), self.number("I")
            if key == b"general.alignment" and kind == _UINT32:
                self.alignment = self.number("I") or _ALIGNMENT
            elif key.endswith(b".block_count") and kind in _INTEGERS:
                self.layers = self.number(_INTEGERS[kind])
            else:
                self.skip(kind)
        self.tensors = [self.tensor() for _ in range(tensors)]

    def tensor(self) -> Tensor:
        name = self.text().decode(errors="replace")
        shape = [self.number("Q") for _ in range(self.number("I"))]
        return Tensor(name, math.prod(shape), self.number("I"), self.number("Q"))

    def number(self, kind: str) -> int:
        (value,) = struct.unpack_from(self.order + kind, self.data, self.at)
        self.at += struct.calcsize(kind)
        return int(value)

    def text(self) -> bytes:
        length = self.number("Q")
        self.at += length
        return self.data[self.at - length : self.at]

    def skip(self, kind: int) -> None:
        if kind == _STRING:
            self.text()
        elif kind == _ARRAY:
            inner, length = self.number("I"), self.number("Q")
            if inner in _NUMBERS:
                self.at += _NUMBERS[inner] * length
            else:
                for _ in range(length):
                    self.skip(inner)
        elif kind in _NUMBERS:
            self.at += _NUMBERS[kind]
        else:
            raise ValueError(f"with a value of unknown type {kind}")


def _block_sizes() -> dict[int, tuple[int, int]]:
    """Elements and bytes of a block, by format."""
    if find_spec("gguf") is None:
        return {}
    from gguf.constants import GGML_QUANT_SIZES

    return {int(kind): sizes for kind, sizes in GGML_QUANT_SIZES.items()}

"""The settings of this pack: --set instruction_vectors.NAME=VALUE."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ivfixtures.errors import cut
from ivfixtures.suite.papers import setting

if TYPE_CHECKING:
    from ivmethods.paths.graph import Granularity

ORDERS = ("1", "1,2", "1,2,3")
GRANULARITIES: tuple[Granularity, ...] = ("merged", "head")


def _orders(text: str) -> tuple[int, ...]:
    if text not in ORDERS:
        raise ValueError(f"{cut(text)}, but should be one of {' or '.join(ORDERS)}")
    return tuple(map(int, text.split(",")))


def _path_k(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    numbers = tuple(int(part) if re.fullmatch("[0-9]{1,9}", part) else 0 for part in parts)
    if not all(numbers) or len({*numbers}) < len(numbers):
        raise ValueError(
            f"{cut(text)}, but should be different numbers from 1 on, such as 1,2,3; the first "
            "decides"
        )
    return numbers


def _max_paths(text: str) -> int:
    if not re.fullmatch("[0-9]{1,12}", text) or int(text) < 1:
        raise ValueError(f"{cut(text)}, but should be a number from 1 on")
    return int(text)


def _granularity(text: str) -> Granularity:
    for name in GRANULARITIES:
        if text == name:
            return name
    raise ValueError(f"{cut(text)}, but should be one of {', '.join(GRANULARITIES)}")


@dataclass(frozen=True)
class Settings:
    """What the claims of this paper are measured with, beside the run's own options.

    orders: sizes of the layer tuples that are patched. path_k: a head passes on from the k
    positions it attends to most; the first k decides, the others are shown. max_paths: a token's
    paths are drawn if it has more. path_granularity: an edge of a path is all heads between two
    positions (`merged`), or a single `head`.
    """

    orders: tuple[int, ...] = setting("1,2,3", _orders)
    path_k: tuple[int, ...] = setting("1,2,3", _path_k)
    max_paths: int = setting("2000000", _max_paths)
    path_granularity: Granularity = setting("merged", _granularity)

    @property
    def order(self) -> int:
        """The largest of the orders."""
        return self.orders[-1]

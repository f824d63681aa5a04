"""Memory of a device: how much of it is free, and what is done where it runs out."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import torch

_CPU_MOST = 2**30
_MEMINFO = Path("/proc/meminfo")

Piece = TypeVar("Piece")


def free_bytes(devices: Iterable[torch.device]) -> int:
    """Bytes that a forward pass may take: a quarter of what is free, on CPU 1 GiB at most.

    A model on several devices has what the fullest of them has.
    """
    return min(map(_free, devices)) // 4


def in_pieces(
    pieces: list[Piece],
    rows: int,
    *,
    count: Callable[[Piece], int],
    split: Callable[[Piece, int], list[Piece]],
    run: Callable[[Piece], None],
) -> int:
    """Run pieces of work of at most `rows` rows; where memory runs out, of half as many.

    count: rows of a piece. split: a piece as pieces of at most so many rows; itself where it cannot
    be smaller. Returns what `rows` came down to.

    Raises:
        MemoryError: memory runs out on a piece that cannot be split.
    """
    todo = [part for piece in pieces for part in split(piece, rows)]
    while todo:
        failed = _ran_out(run, todo[0])
        if failed is None:
            del todo[0]
            continue
        # Here, as the traceback has let go of the tensors of the failed run.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        rows = count(todo[0]) // 2
        parts = split(todo[0], rows)
        if len(parts) == 1:
            raise MemoryError(
                f"memory={failed}, but should be enough for {count(todo[0])} rows at once "
                "[the smallest part of the work]; lower --orders, or choose another --device"
            )
        todo = parts + [part for piece in todo[1:] for part in split(piece, rows)]
    return rows


def _ran_out(run: Callable[[Piece], None], piece: Piece) -> str | None:
    """Run a piece; the first line of the error if memory ran out."""
    try:
        run(piece)
    except RuntimeError as error:
        lines = str(error).splitlines() or [""]
        # The CPU's allocator has no error type of its own.
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in lines[0]:
            return lines[0]
        raise
    return None


def _free(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    lines = _MEMINFO.read_text().splitlines() if _MEMINFO.is_file() else []
    free = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return min(4 * _CPU_MOST, (free or [2**32])[0])

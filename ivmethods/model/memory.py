"""Memory of a device: how much of it is free, and what is done where it runs out."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import torch
from nnsight import TransformersModel

from ivmethods.model.handles import equal_lengths, network

_CPU_MOST = 2**30
_MEMINFO = Path("/proc/meminfo")

_LEAST = 2**20

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def free_bytes(devices: Iterable[torch.device]) -> int:
    """Bytes that a forward pass may take: a quarter of what is free, on CPU 1 GiB at most.

    A model on several devices has what the fullest of them has.
    """
    return min(map(_free, devices)) // 4


def row_bytes(model: TransformersModel, length: int) -> int:
    """Estimated peak bytes of one row of a forward pass, logits included.

    Counts the residual stream in and out of a block with its copies (8), the widest MLP activations
    (3), and float32 logits with the comparisons of the rank (3).
    """
    config, size = model.config.get_text_config(), network(model).dtype.itemsize
    hidden = int(config.hidden_size)
    inner = int(getattr(config, "intermediate_size", None) or 4 * hidden)
    return size * length * (8 * hidden + 3 * inner) + 4 * 3 * int(config.vocab_size)


def in_batches(
    model: TransformersModel,
    sequences: list[tuple[int, ...]],
    *,
    memory_budget: int,
    run: Callable[[list[int]], None],
) -> None:
    """Run sequences, by their indices, in batches of one length that fit the budget.

    Batches are halved where memory runs out.

    Raises: MemoryError, not even one sequence has room.
    """
    for group in equal_lengths(sequences):
        rows = memory_budget // row_bytes(model, len(sequences[group[0]]))
        in_pieces([group], rows, count=len, split=parts_of, run=run)


def parts_of(indices: list[int], rows: int) -> list[list[int]]:
    """Indices in parts of at most so many, of one at least."""
    size = max(1, rows)
    return [indices[start : start + size] for start in range(0, len(indices), size)]


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
        rows = count(todo[0]) // 2
        parts = split(todo[0], rows)
        if len(parts) == 1:
            raise MemoryError(
                f"memory={failed}, but should be enough for {count(todo[0])} rows at once "
                "[the smallest part of the work]; patch fewer layers at once, or choose another "
                "--device"
            )
        todo = parts + [part for piece in todo[1:] for part in split(piece, rows)]
    return rows


def within(memory_budget: int, run: Callable[[int], Result]) -> Result:
    """What `run` gives within a memory budget; within half of it as often as memory runs out.

    Raises:
        MemoryError: memory runs out with a budget of 1 MiB, too.
    """
    results: list[Result] = []
    while failed := _ran_out(lambda budget: results.append(run(budget)), memory_budget):
        memory_budget //= 2
        if memory_budget < _LEAST:
            raise MemoryError(
                f"memory={failed}, but should be enough for {_LEAST} bytes at once "
                "[the smallest part of the work]; choose another --device"
            )
    return results[0]


def _ran_out(run: Callable[[Piece], None], piece: Piece) -> str | None:
    """Run a piece; the first line of the error if memory ran out."""
    try:
        run(piece)
        return None
    except RuntimeError as error:
        line = (str(error).splitlines() or [""])[0]
        # The CPU's allocator has no error type of its own.
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in line:
            raise
    # Here, as the traceback has let go of the tensors of the failed run.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return line or "none left"


def _free(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    lines = _MEMINFO.read_text().splitlines() if _MEMINFO.is_file() else []
    free = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return min(4 * _CPU_MOST, (free or [2**32])[0])

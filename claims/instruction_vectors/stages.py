"""The stages of a family: which there are, and their measurements, one model at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ivfixtures.suite.cells import Cell
    from ivmethods.prompts.chat import Chat

BASE = "base"
POST_TRAINED = ("sft", "dpo", "instruct")


def stages(cell: Cell) -> dict[str, Cell]:
    """The parts of a family's cell by stage, in stage order; of unknown ones the last.

    Raises: ValueError if two checkpoints stand at the same stage.
    """
    found: dict[str, Cell] = {}
    for part in cell.parts:
        stage = part.bench.checkpoint.stage
        if stage in found and stage in (BASE, *POST_TRAINED):
            names = f"{found[stage].bench.checkpoint.name}, {part.bench.checkpoint.name}"
            raise ValueError(
                f"checkpoints at stage {stage}={names}, but should be one [{cell.subject.name}]; "
                "choose one of them with --checkpoint"
            )
        found[stage] = part
    return found


def lacking(present: Collection[str], *, needed: Collection[str] = ()) -> str | None:
    """Why these stages cannot be compared, if they cannot.

    needed: stages without which there is nothing to compare; none: base and any post-trained one.
    """
    here = ", ".join(present)
    if missing := [stage for stage in needed if stage not in present]:
        return f"stages={here}, but {', '.join(needed)} are compared: there is no {missing[0]}"
    if BASE not in present or not set(POST_TRAINED) & set(present):
        return f"stages={here}, but base is compared with {', '.join(POST_TRAINED)}: name a family"
    return None


def incomparable(cell: Cell, *, needed: Collection[str] = ()) -> str | None:
    """Why the stages of a cell cannot be compared, if they cannot: as `lacking`, or by prompts.

    Raises: ValueError, a checkpoint's chat template is of no use.
    """
    if reason := lacking(stages(cell), needed=needed):
        return reason
    chats = {part.bench.checkpoint.name: part.bench.chat for part in cell.parts}
    if len({chat and chat.digest for chat in chats.values()}) == 1:
        return None
    said = ", ".join(f"{name} {_in_words(chat)}" for name, chat in chats.items())
    return f"the checkpoints are prompted differently ({said}): --chat-template never or always"


def _in_words(chat: Chat | None) -> str:
    return f"in the chat {chat.digest[:8]}" if chat else "without a chat"


def comparable(*needed: str) -> Callable[[Cell], bool]:
    """The gate for the plan: whether the family has what is compared, prompted alike."""
    return lambda cell: incomparable(cell, needed=needed) is None


def measure_in_turn(cell: Cell, smallest_headroom: float) -> None:
    """Measure the sweeps of one checkpoint after the other, up to one that is not to be judged.

    Each model is loaded once: gates and rules, which look at all checkpoints, find all measured.
    """
    for part in cell.parts:
        if part.incompetence() or part.saturation(smallest_headroom):
            return
        # Not measured yet where anything is to be measured anyway, and shown beside.
        part.bench.answers()
        part.gap("rr")
        part.specific("rr")


def kept_tuples(cell: Cell) -> np.ndarray | None:
    """Which tuples all checkpoints are compared on: one or two layers, degenerate in none.

    None where the checkpoints do not have the same layers.
    """
    sweeps = [part.sweep for part in cell.parts]
    if any(sweep.tuples != sweeps[0].tuples for sweep in sweeps):
        return None
    degenerate = np.any([sweep.degenerate.numpy() for sweep in sweeps], axis=0)
    return np.array([len(t) <= 2 for t in sweeps[0].tuples]) & ~degenerate

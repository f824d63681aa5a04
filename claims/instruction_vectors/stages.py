"""The stages of a family: which there are, and whether they can be compared."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial

import numpy as np

from claims.instruction_vectors.settings import Settings
from claims.instruction_vectors.views import Patched
from ivevidence import Decision
from ivfixtures.data.instructed import InstructedData
from ivfixtures.measuring.inquiry import Closed, Gate
from ivmethods.prompts.chat import Chat

BASE = "base"
POST_TRAINED = ("sft", "dpo", "instruct")


def stages(parts: Sequence[InstructedData]) -> dict[str, int]:
    """Which part of a family's cell is at which stage; of unknown ones the last.

    Raises: ValueError if two checkpoints stand at the same stage.
    """
    found: dict[str, int] = {}
    for number, part in enumerate(parts):
        stage = part.checkpoint.stage
        if stage in found and stage in (BASE, *POST_TRAINED):
            names = f"{parts[found[stage]].checkpoint.name}, {part.checkpoint.name}"
            raise ValueError(
                f"checkpoints at stage {stage}={names}, but should be one "
                f"[{part.checkpoint.family or part.checkpoint.name}]; choose one of them with "
                "--checkpoint"
            )
        found[stage] = number
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


def comparable(*needed: str) -> Gate:
    """Whether the family has what is compared, prompted alike.

    Raises: ValueError, a checkpoint's chat template is of no use.
    """
    return Gate("stages", partial(_incomparable, needed=needed), of_all=True)


def _incomparable(
    parts: Sequence[InstructedData], settings: Settings, *, needed: Collection[str]
) -> Closed | None:
    reason = lacking(stages(parts), needed=needed) or _prompted_differently(parts)
    return Closed(Decision("not_applicable", reason)) if reason else None


def _prompted_differently(parts: Sequence[InstructedData]) -> str | None:
    chats = {part.checkpoint.name: part.chat for part in parts}
    if len({chat and chat.digest for chat in chats.values()}) == 1:
        return None
    said = ", ".join(f"{name} {_in_words(chat)}" for name, chat in chats.items())
    return f"the checkpoints are prompted differently ({said}): --chat-template never or always"


def _in_words(chat: Chat | None) -> str:
    return f"in the chat {chat.digest[:8]}" if chat else "without a chat"


def kept_tuples(views: Mapping[str, Patched]) -> np.ndarray | None:
    """Which tuples all checkpoints are compared on: one or two layers, degenerate in none.

    None where the checkpoints do not have the same layers.
    """
    first, *others = views.values()
    if any(view.tuples != first.tuples for view in others):
        return None
    degenerate = np.any([view.degenerate for view in views.values()], axis=0)
    return np.array([len(t) <= 2 for t in first.tuples]) & ~degenerate

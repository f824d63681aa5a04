"""Pairs of a task's items: what one of them is asked, corrupted to what another is asked."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from ivfixtures.data.tasktypes import Item, Task
from ivmethods.prompts.answers import normalize_answer
from ivmethods.prompts.chat import Chat
from ivmethods.prompts.pairs import Asked, Pair, pair_of, tokenize_asked


def task_pairs(
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    *,
    count: int,
    seed: int,
    chat: Chat | None = None,
) -> list[Pair]:
    """At most so many pairs of a task's items under its own instruction, in seeded order.

    Raises: PromptError.
    """
    items = task.sample(len(task.items), seed=seed)
    runs = [
        tokenize_asked(
            tokenizer, f"{task.instruction} {task.prompt_for(item)}", item.answers[0], chat=chat
        )
        for item in items
    ]
    return [
        pair_of(f"{items[clean].query} / {items[corrupt].query}", runs[clean], runs[corrupt])
        for clean, corrupt in matched(items, runs)[:count]
    ]


def matched(items: Sequence[Item], runs: Sequence[Asked]) -> list[tuple[int, int]]:
    """Indices of clean and corrupt items whose runs go together, and whose answers differ.

    Each item is in one pair at most, so that pairs are drawn independently where items are: the
    first one left is clean, and the next one that goes with it corrupt.
    """
    accepted = [{*map(normalize_answer, item.answers)} for item in items]
    left, pairs = [*range(len(items))], []
    while left:
        clean = left.pop(0)
        mates = (
            i for i in left if runs[clean].pairs_with(runs[i]) and not accepted[clean] & accepted[i]
        )
        if (corrupt := next(mates, None)) is not None:
            left.remove(corrupt)
            pairs.append((clean, corrupt))
    return pairs

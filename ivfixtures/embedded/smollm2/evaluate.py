"""What the adapters are judged by: exact match of greedy answers, with the stop and without it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from ivfixtures.embedded.smollm2.stages import answer_logits
from ivfixtures.embedded.tiny.evaluate import CANONICAL, QUADRANTS, quadrant
from ivfixtures.embedded.tiny.examples import Example, collate, instructed, uninstructed
from ivfixtures.embedded.tiny.splits import TinyTask

COLUMNS = (*QUADRANTS, CANONICAL, "no instruction, `unknown`")
_BATCH = 32


@dataclass(frozen=True)
class Match:
    """Shares in [0, 1] of prompts whose greedy continuation is the answer.

    `stopped`: and then the stop. `answered`: whatever follows.
    """

    stopped: float
    answered: float


@dataclass(frozen=True)
class Score:
    """One checkpoint and task, one match per column of `COLUMNS`."""

    checkpoint: str
    task: str
    matches: tuple[Match, ...]


def score(
    checkpoint: str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    tasks: tuple[TinyTask, ...],
    *,
    samples: int,
) -> list[Score]:
    """Judge one checkpoint on every task, on at most `samples` prompts a quadrant."""
    rows = []
    for task in tasks:
        filler = [tokenizer.bos_token_id]
        columns = [
            quadrant(
                tokenizer, task, held_out_queries=queries, held_out_rephrasings=texts, n=samples
            )
            for queries, texts in QUADRANTS.values()
        ]
        columns.append(
            [instructed(tokenizer, task, task.rephrasings[0], fact) for fact in task.facts]
        )
        columns.append([uninstructed(tokenizer, filler, task, fact) for fact in task.facts])
        found = tuple(match(model, tokenizer, examples) for examples in columns)
        rows.append(Score(checkpoint, task.name, found))
    return rows


@torch.no_grad()
def match(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, examples: Sequence[Example]
) -> Match:
    """Exact match on prompts, from one forward pass a batch.

    The greedy continuation equals the label exactly if every token of the label is the most likely
    one after the prompt and the label's tokens before it.
    """
    stopped = answered = 0
    ordered = sorted(examples, key=lambda example: len(example.prompt))
    for start in range(0, len(ordered), _BATCH):
        batch = collate(ordered[start : start + _BATCH], pad=tokenizer.pad_token_id)
        logits, wanted = answer_logits(model, batch)
        labels = batch.labels[:, 1:]
        wrong = torch.zeros_like(wanted)
        wrong[wanted] = logits.argmax(-1) != labels[wanted]
        stopped += int((~wrong.any(dim=1)).sum())
        answered += int((~(wrong & (labels != tokenizer.eos_token_id)).any(dim=1)).sum())
    return Match(stopped / len(examples), answered / len(examples))


def table(scores: Sequence[Score], *, stop: bool) -> str:
    """The scores as a Markdown table, with or without the stop counted."""
    lines = [
        "| checkpoint | task | " + " | ".join(COLUMNS) + " |",
        "|---|---|" + "---:|" * len(COLUMNS),
    ]
    for row in scores:
        shares = [m.stopped if stop else m.answered for m in row.matches]
        numbers = " | ".join(f"{share:.3f}" for share in shares)
        lines.append(f"| {row.checkpoint} | {row.task} | {numbers} |")
    return "\n".join(lines)

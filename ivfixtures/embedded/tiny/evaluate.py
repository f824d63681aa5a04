"""What the checkpoints are judged by: exact match of greedy answers, and plain facts known."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from ivfixtures.embedded.tiny.examples import NO_LOSS, Example, collate, instructed, uninstructed
from ivfixtures.embedded.tiny.facts import probes
from ivfixtures.embedded.tiny.splits import TinyTask
from ivfixtures.embedded.tiny.tokenizer import encode

QUADRANTS = {
    "seen queries, seen rephrasings": (False, False),
    "seen queries, held-out rephrasings": (False, True),
    "held-out queries, seen rephrasings": (True, False),
    "held-out queries, held-out rephrasings": (True, True),
}
CANONICAL = "all queries, canonical instruction"
COLUMNS = (*QUADRANTS, CANONICAL, "no instruction, `unknown`", "plain facts")
_BATCH = 64


@dataclass(frozen=True)
class Score:
    """Shares in [0, 1] for one checkpoint and task, one per column of `COLUMNS`."""

    checkpoint: str
    task: str
    shares: tuple[float, ...]

    @property
    def worst_quadrant(self) -> float:
        """The lowest exact match of seen / held-out queries x rephrasings."""
        return min(self.shares[: len(QUADRANTS)])


def score(
    checkpoint: str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    tasks: tuple[TinyTask, ...],
    *,
    samples: int = 256,
) -> list[Score]:
    """Judge one checkpoint on every task, on at most `samples` prompts a column."""
    filler = [tokenizer.bos_token_id]
    rows = []
    for task in tasks:
        facts = task.facts[:samples]
        prompts = [
            quadrant(
                tokenizer, task, held_out_queries=queries, held_out_rephrasings=texts, n=samples
            )
            for queries, texts in QUADRANTS.values()
        ]
        prompts.append([instructed(tokenizer, task, task.rephrasings[0], fact) for fact in facts])
        prompts.append([uninstructed(tokenizer, filler, task, fact) for fact in facts])
        prompts.append(_plain_facts(tokenizer, task)[:samples])
        shares = [exact_match(model, tokenizer, examples) for examples in prompts]
        rows.append(Score(checkpoint, task.name, tuple(shares)))
    return rows


def quadrant(
    tokenizer: PreTrainedTokenizerFast,
    task: TinyTask,
    *,
    held_out_queries: bool,
    held_out_rephrasings: bool,
    n: int,
) -> list[Example]:
    """At most `n` instructed prompts, drawn from one quadrant of the split; always the same."""
    pairs = [
        (row, fact)
        for row in task.choose_rephrasings(held_out=held_out_rephrasings)
        for fact in task.choose_facts(held_out=held_out_queries)
    ]
    chosen = random.Random(0).sample(pairs, min(n, len(pairs)))  # noqa: S311 (no secret)
    return [instructed(tokenizer, task, task.rephrasings[row], fact) for row, fact in chosen]


@torch.no_grad()
def exact_match(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, examples: Sequence[Example]
) -> float:
    """Share of prompts whose greedy continuation is the answer followed by the stop.

    One forward pass decides: the greedy continuation equals the label exactly if every token of
    the label is the most likely one after the prompt and the label's tokens before it.
    """
    hits = 0
    ordered = sorted(examples, key=lambda example: len(example.prompt))
    for start in range(0, len(ordered), _BATCH):
        batch = collate(ordered[start : start + _BATCH], pad=tokenizer.pad_token_id)
        greedy = model(input_ids=batch.tokens, use_cache=False).logits[:, :-1].argmax(-1)
        labels = batch.labels[:, 1:]
        hits += int(((greedy == labels) | (labels == NO_LOSS)).all(dim=1).sum())
    return hits / len(examples)


def table(scores: Sequence[Score]) -> str:
    """The scores as a Markdown table."""
    lines = [
        "| checkpoint | task | " + " | ".join(COLUMNS) + " |",
        "|---|---|" + "---:|" * len(COLUMNS),
    ]
    lines += [
        f"| {row.checkpoint} | {row.task} | " + " | ".join(f"{x:.3f}" for x in row.shares) + " |"
        for row in scores
    ]
    return "\n".join(lines)


def _plain_facts(tokenizer: PreTrainedTokenizerFast, task: TinyTask) -> list[Example]:
    """Plain sentences up to the answer; no stop, as the sentence goes on after it."""
    return [
        Example([tokenizer.bos_token_id, *encode(tokenizer, text)], 0, answer, answer)
        for text, word in probes(task)
        for answer in [encode(tokenizer, f" {word}")]
    ]

"""Prompts with instruction, prompts without one, and batches of both."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from ivfixtures.embedded.tiny.facts import filler_sentence
from ivfixtures.embedded.tiny.splits import Fact, TinyTask
from ivfixtures.embedded.tiny.tokenizer import UNKNOWN, encode

NO_LOSS = -100
# Without these a checkpoint answers one of the tasks by default, and an instruction restores
# nothing that was not there already.
_SHARE_WITHOUT_INSTRUCTION = 0.1
_SHARE_CANONICAL = 0.05


@dataclass(frozen=True)
class Example:
    """Token ids of one prompt and of what may follow it (the stop included)."""

    prompt: list[int]
    t_inst: int
    answer: list[int]
    contrast: list[int]


@dataclass(frozen=True)
class Batch:
    """Examples padded on the right; `labels` is `NO_LOSS` except on the answer and its stop."""

    tokens: Int[Tensor, "sample pos"]
    labels: Int[Tensor, "sample pos"]
    t_inst: Int[Tensor, " sample"]


def instructed(
    tokenizer: PreTrainedTokenizerFast, task: TinyTask, instruction: str, fact: Fact
) -> Example:
    """The prompt `{instruction} {query part}` and its answer."""
    before = encode(tokenizer, instruction)
    return _example(tokenizer, before, task, fact, fact.answer, fact.contrast)


def uninstructed(
    tokenizer: PreTrainedTokenizerFast, filler: list[int], task: TinyTask, fact: Fact
) -> Example:
    """The query part behind a filler: nothing was asked, so the neutral answer is right."""
    return _example(tokenizer, filler, task, fact, UNKNOWN, fact.answer)


def draw(
    tokenizer: PreTrainedTokenizerFast, tasks: tuple[TinyTask, ...], rng: random.Random
) -> Example:
    """One example for tuning: seen queries and seen rephrasings only."""
    task = rng.choice(tasks)
    fact = rng.choice(task.choose_facts(held_out=False))
    if rng.random() < _SHARE_WITHOUT_INSTRUCTION:
        return uninstructed(tokenizer, _draw_filler(tokenizer, rng), task, fact)
    row = rng.choice(task.choose_rephrasings(held_out=False))
    if rng.random() < _SHARE_CANONICAL:
        row = 0
    return instructed(tokenizer, task, task.rephrasings[row], fact)


def collate(examples: Sequence[Example], *, pad: int, contrast: bool = False) -> Batch:
    """Pad examples to a batch that ends in the answer, or in the contrast's answer.

    Attention is causal, so tokens never see the padding on their right.
    """
    ends = [example.contrast if contrast else example.answer for example in examples]
    rows = [example.prompt + end for example, end in zip(examples, ends, strict=True)]
    tokens = torch.full((len(rows), max(map(len, rows))), pad)
    labels = torch.full_like(tokens, NO_LOSS)
    for index, (row, end) in enumerate(zip(rows, ends, strict=True)):
        tokens[index, : len(row)] = torch.tensor(row)
        labels[index, len(row) - len(end) : len(row)] = torch.tensor(end)
    return Batch(tokens, labels, torch.tensor([example.t_inst for example in examples]))


def _example(
    tokenizer: PreTrainedTokenizerFast,
    before: list[int],
    task: TinyTask,
    fact: Fact,
    answer: str,
    contrast: str,
) -> Example:
    stop = [tokenizer.eos_token_id]
    return Example(
        prompt=before + encode(tokenizer, " " + task.prompt.format(query=fact.query)),
        t_inst=len(before) - 1,
        answer=encode(tokenizer, f" {answer}") + stop,
        contrast=encode(tokenizer, f" {contrast}") + stop,
    )


def _draw_filler(tokenizer: PreTrainedTokenizerFast, rng: random.Random) -> list[int]:
    kind = rng.random()
    if kind < 0.5:
        return [tokenizer.bos_token_id]
    if kind < 0.6:
        return [tokenizer.eos_token_id]
    if kind < 0.8:
        return [rng.choice([i for i in range(len(tokenizer)) if i != tokenizer.pad_token_id])]
    return encode(tokenizer, filler_sentence(rng))

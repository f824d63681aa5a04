"""Pairs of prompts as data: clean and corrupt runs of equal length, tokenized for a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from ivevidence import Prompt
from ivfixtures.checkpoints.resolving import Checkpoint
from ivfixtures.data.instructed import InstructedData
from ivfixtures.data.of_checkpoint import CheckpointData
from ivfixtures.data.pairs import task_pairs
from ivfixtures.data.settings import Settings
from ivfixtures.data.tasks import Task
from ivmethods.prompts.pairs import Pair
from ivmethods.prompts.protocols import token_texts

SHOWN_PAIRS = 3


class PairedData(CheckpointData):
    """Items of a task, each with another one's prompt as the corrupt one, as `task_pairs` says.

    settings: of the run, whose `samples` are at most so many pairs.
    """

    def __init__(self, checkpoint: Checkpoint, task: Task, settings: Settings) -> None:
        self.checkpoint, self.task, self.settings = checkpoint, task, settings
        # It has the chat of the checkpoint, if there is one.
        self._prompted = prompted = InstructedData(checkpoint, task, settings)
        count, seed = settings.samples, settings.seed
        with prompted.named():
            self._pairs = task_pairs(
                prompted.tokenizer, task, count=count, seed=seed, chat=prompted.chat
            )
        for pair in self._pairs:
            ids = (*pair.clean, *pair.corrupt, pair.answer, pair.wrong)
            prompted.require_embedded(ids, pair.query)
        self.name, self.count = task.name, len(self._pairs)

    def pairs(self) -> list[Pair]:
        """The pairs, in seeded order."""
        return self._pairs

    @property
    def digests(self) -> dict[str, str]:
        """As of the task's own prompts."""
        return self._prompted.digests

    @cached_property
    def labels(self) -> list[str]:
        """The right answer of each clean prompt, as its first token."""
        return list(
            token_texts(self._prompted.tokenizer, tuple(pair.answer for pair in self._pairs))
        )

    @property
    def sample_names(self) -> list[str]:
        """The queries of both prompts."""
        return [pair.query for pair in self._pairs]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader has to know of the task, of the prompts, and of how many there are."""
        few = f"{self.settings.samples} pairs were asked for; there are {self.count}"
        lacking = [few] if self.count < self.settings.samples else []
        return (*self._prompted.prompting_notes, *lacking)

    @property
    def parameters(self) -> dict[str, Any]:
        """What a cell was judged with, that is not in its claim."""
        return {
            "samples": self.count,
            "seed": self.settings.seed,
            "instruction": self.task.instruction,
        }

    @property
    def prompting(self) -> dict[str, str | None]:
        """As of the task's own prompts."""
        return self._prompted.prompting

    @property
    def sources_of_data(self) -> dict[str, str]:
        """Where the items are from."""
        return self._prompted.sources_of_data

    def prompts(self, shown: Mapping[str, Any]) -> tuple[Prompt, ...]:
        """The first pairs, and the token that is scored after each run."""
        tokenizer, found = self._prompted.tokenizer, []
        for pair in self._pairs[:SHOWN_PAIRS]:
            runs = {"clean": (pair.clean, pair.answer), "corrupt": (pair.corrupt, pair.wrong)}
            for run, (ids, answer) in runs.items():
                *tokens, token = token_texts(tokenizer, (*ids, answer))
                marks = {len(ids) - 1: "end"}
                label = f"{pair.query}: {run}"
                found.append(Prompt(label, tuple(tokens), marks, token, "", token))
        return tuple(found)

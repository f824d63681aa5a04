"""The probes of a checkpoint: what tells the rephrasings of every task apart."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Integer

from ivfixtures.data.instructed import InstructedData
from ivfixtures.data.settings import Settings
from ivfixtures.measuring.requests import Request
from ivmethods.method import Result
from ivmethods.probes import methods
from ivmethods.probes.held_out import (
    Leak,
    OneAgainstRest,
    Probe,
    instruction_groups,
    one_against_rest,
    with_equal_bags,
)

MOST_REPHRASINGS = 200  # a task, section 5.1
BAG_OF_WORDS = "bag of words"


@dataclass(frozen=True, eq=False)
class Rephrasings:
    """The rephrasings of all tasks that have any.

    labels: index of each one's task. groups: equal for the same instruction, whatever its case,
    spaces and punctuation, and for those with the same words in another order.
    """

    tasks: tuple[str, ...]
    texts: tuple[str, ...]
    labels: Integer[np.ndarray, " sample"]
    groups: Integer[np.ndarray, " sample"]


@dataclass(frozen=True, eq=False)
class Probes:
    """What tells the rephrasings' tasks apart on one checkpoint, as `ivmethods.probes.methods`."""

    rephrasings: Rephrasings
    probe: Probe
    shuffled: Integer[np.ndarray, "layer sample"]
    shuffled_labels: Integer[np.ndarray, " sample"]
    by_words: Integer[np.ndarray, " sample"]
    by_input: Integer[np.ndarray, " sample"]
    separable: Bool[np.ndarray, "stream task"]
    dimensions: Integer[np.ndarray, " stream"]
    random_separable: int
    plane: Float[np.ndarray, "sample 2"]
    is_fitted: Bool[np.ndarray, " sample"]
    plane_accuracy: Float[np.ndarray, " layer"]
    released: Leak
    tokens: tuple[str, ...]

    @classmethod
    def of_result(cls, data: InstructedData, result: Result) -> "Probes":
        """Those of a measurement of `methods.Probes`."""
        arrays: dict[str, Any] = dict(result.arrays)
        return cls(
            rephrasings=rephrasings(data.settings),
            probe=Probe(*(arrays.pop(part) for part in ("by_layer", "chosen", "folds"))),
            **arrays,
            random_separable=result.info["random_separable"],
            released=Leak(**result.info["released"]),
            tokens=tuple(result.info["tokens"]),
        )

    def against_rest(self, task: str) -> OneAgainstRest:
        """How the probe tells one task from the others."""
        labels = self.rephrasings.labels
        return one_against_rest(self.probe.predicted, labels, self._index(task))

    @property
    def chosen_text(self) -> str:
        """The layer that each fold's probe is at, in words."""
        return f"layers {', '.join(map(str, self.probe.chosen))} (one a fold)"

    def by_rephrasing(self, task: str) -> Mapping[str, Float[np.ndarray, " sample"]]:
        """Whether the probe is right about each of the task's own, and of the others; else NaN."""
        is_own = self.rephrasings.labels == self._index(task)
        right = ((self.probe.predicted == self._index(task)) == is_own).astype(float)
        return {
            "own rephrasing recognized": np.where(is_own, right, np.nan),
            "other rephrasing kept apart": np.where(is_own, np.nan, right),
        }

    def controls(self, task: str) -> Mapping[str, OneAgainstRest]:
        """How each control does."""
        labels, index = self.rephrasings.labels, self._index(task)
        return {
            BAG_OF_WORDS: one_against_rest(self.by_words, labels, index),
            "layer-0 input": one_against_rest(self.by_input, labels, index),
            "shuffled labels": one_against_rest(
                self.probe.at_chosen(self.shuffled), self.shuffled_labels, index
            ),
        }

    def leads(self, task: str, copy: Probe) -> Mapping[str, tuple[OneAgainstRest, OneAgainstRest]]:
        """The probe and each control on the same rephrasings; of `copy`, the probe that it is.

        Where rephrasings of the task and of others have the same words, it is held to the bag of
        words on these alone: elsewhere the words may leave no room.
        """
        labels, index, found = self.rephrasings.labels, self._index(task), self.against_rest(task)
        leads = {name: (found, control) for name, control in self.controls(task).items()}
        paired = with_equal_bags(self.rephrasings.texts, labels, index)
        if paired.any():
            own = one_against_rest(self.probe.predicted[paired], labels[paired], index)
            words = one_against_rest(self.by_words[paired], labels[paired], index)
            leads[BAG_OF_WORDS] = own, words
        leads["random weights"] = found, one_against_rest(copy.predicted, labels, index)
        return leads

    def _index(self, task: str) -> int:
        return self.rephrasings.tasks.index(task)


def lacking(data: InstructedData) -> str | None:
    """Why the task cannot be probed, if it cannot."""
    name = data.task.name
    if not data.task.rephrasings:
        file = f"varied_instructions/{name}_rephrased.csv"
        return f"{name} has no rephrasings: add {file} to the folder of the tasks"
    if not any(task.rephrasings for task in data.settings.tasks.values() if task.name != name):
        return f"no other task has rephrasings that those of {name} could be told from"
    return None


def rephrasings(settings: Settings) -> Rephrasings:
    """The rephrasings of a run's tasks, at most 200 a task, drawn by the run's seed."""
    drawn = {}
    for task in settings.tasks.values():
        order = np.random.default_rng(settings.seed).permutation(len(task.rephrasings))
        drawn[task.name] = [task.rephrasings[i] for i in sorted(order[:MOST_REPHRASINGS])]
    drawn = {name: texts for name, texts in drawn.items() if texts}
    texts = tuple(text for some in drawn.values() for text in some)
    labels = np.repeat(np.arange(len(drawn)), [len(some) for some in drawn.values()])
    groups = instruction_groups(texts)
    return Rephrasings(tuple(drawn), texts, labels, groups)


def probes(data: InstructedData, settings: Any) -> methods.Probes:
    """The probes of the run's rephrasings: the same measurement for every task's cell."""
    return methods.Probes(*_fields(data))


def random_probe(data: InstructedData, settings: Any) -> Request:
    """The probe of a copy with random weights."""
    return Request(data.untrained(), methods.LayerProbe(*_fields(data)))


def _fields(data: InstructedData) -> tuple[tuple[tuple[str, ...], ...], int]:
    some = rephrasings(data.settings)
    instructions = tuple(
        tuple(text for text, label in zip(some.texts, some.labels, strict=True) if label == k)
        for k in range(len(some.tasks))
    )
    return instructions, data.settings.seed

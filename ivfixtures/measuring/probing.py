"""The probes of a checkpoint: T_inst residuals of every task's rephrasings, measured once."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Integer
from threadpoolctl import threadpool_limits

from ivevidence import Measurement
from ivfixtures.data.tasks import normalize_answer
from ivfixtures.measuring import methods
from ivfixtures.measuring.bench import Bench
from ivfixtures.measuring.material import inputs_digest
from ivfixtures.suite.options import Options
from ivmethods.model.recording import record_sources
from ivmethods.probes.held_out import (
    Leak,
    OneAgainstRest,
    Probe,
    bags_of_words,
    grouped_folds,
    held_out,
    one_against_rest,
    probe,
    released_probe,
    with_equal_bags,
    word_counts,
)
from ivmethods.probes.separability import dimensions, lda_plane, linearly_separable
from ivmethods.prompts.protocols import token_texts

MOST_REPHRASINGS = 200  # a task, section 5.1
FOLDS = 5
RANDOM_LABELINGS = 5
RANDOM_WEIGHTS = "of random weights"
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
    """What tells the rephrasings' tasks apart on one checkpoint, all of it held out.

    by_words, by_input: predictions from the words alone and from the layer-0 input. shuffled: of
    `shuffled_labels`, from every layer. separable: whether a hyperplane separates a task from
    the others, stream 0 being the layer-0 input. dimensions: how many the samples span.
    random_separable: of RANDOM_LABELINGS at the usual layer. plane: LDA there, fitted on
    `is_fitted`; plane_accuracy: that of every layer's plane on the other half. tokens: T_inst.
    """

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

    def found(self, task: str) -> OneAgainstRest:
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
        labels, index, found = self.rephrasings.labels, self._index(task), self.found(task)
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


def lacking(bench: Bench) -> str | None:
    """Why the bench's task cannot be probed, if it cannot."""
    name = bench.task.name
    if not bench.task.rephrasings:
        file = f"varied_instructions/{name}_rephrased.csv"
        return f"{name} has no rephrasings: add {file} to the folder of the tasks"
    if not any(task.rephrasings for task in bench.options.tasks.values() if task.name != name):
        return f"no other task has rephrasings that those of {name} could be told from"
    return None


def rephrasings(options: Options) -> Rephrasings:
    """The rephrasings of a run's tasks, at most 200 a task, drawn by the run's seed."""
    drawn = {}
    for task in options.tasks.values():
        order = np.random.default_rng(options.seed).permutation(len(task.rephrasings))
        drawn[task.name] = [task.rephrasings[i] for i in sorted(order[:MOST_REPHRASINGS])]
    drawn = {name: texts for name, texts in drawn.items() if texts}
    texts = tuple(text for some in drawn.values() for text in some)
    labels = np.repeat(np.arange(len(drawn)), [len(some) for some in drawn.values()])
    plain = [normalize_answer(text) for text in texts]
    first: dict[tuple[str, ...], str] = {}
    for text, bag in sorted(zip(plain, bags_of_words(texts), strict=True)):
        first.setdefault(bag, text)
    # With its words in another task's training folds, a rephrasing would be told wrong by them.
    same = [first[bag] for bag in bags_of_words(texts)]
    groups = np.unique(same, return_inverse=True)[1]
    return Rephrasings(tuple(drawn), texts, labels, groups)


def probes(bench: Bench) -> Probes:
    """The probes of a bench's checkpoint.

    They are the checkpoint's, whatever the bench's task: their inputs are the rephrasings of all
    tasks, so that every task's cell reads the same measurement. The residuals are a measurement of
    their own, for they alone need the model.
    """
    some, seed = rephrasings(bench.options), bench.options.seed

    def compute() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        recorded = residuals(bench, some.texts)
        bench.progress(f"{bench.checkpoint.name}: probing {len(some.texts)} rephrasings")
        arrays, info = _measured(recorded.arrays["streams"], some, seed)
        return arrays, {**info, "tokens": recorded.info["tokens"]}

    found = bench.measure(
        *(methods.PROBES, {**_parameters(some, seed), "random labelings": RANDOM_LABELINGS}),
        compute,
        inputs=inputs_digest(bench.sources(some.texts)),
        sizes=_sizes(some),
    )
    arrays: dict[str, Any] = dict(found.arrays)
    return Probes(
        rephrasings=some,
        probe=Probe(*(arrays.pop(part) for part in ("by_layer", "chosen", "folds"))),
        **arrays,
        random_separable=found.info["random_separable"],
        released=Leak(**found.info["released"]),
        tokens=tuple(found.info["tokens"]),
    )


def untrained(bench: Bench) -> Bench:
    """The bench of a copy of the checkpoint whose weights are random, drawn by the run's seed."""
    checkpoint = replace(bench.checkpoint, untrained=bench.options.seed)
    return Bench(checkpoint, bench.task, bench.options, bench.store, bench.progress)


def random_probe(bench: Bench) -> Probe:
    """The probe of a copy with random weights: same form, tokenizer, rephrasings, folds and fit.

    What it can tell is in the words, and in how an architecture mixes them before any training.
    """
    some, seed = rephrasings(bench.options), bench.options.seed

    def compute() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        streams = residuals(untrained(bench), some.texts).arrays["streams"]
        bench.progress(f"{bench.checkpoint.name}: probing its copy with random weights")
        return vars(_probed(streams, some, seed)), {}

    found = bench.measure(
        *(methods.RANDOM_PROBES, _parameters(some, seed), compute),
        inputs=inputs_digest(bench.sources(some.texts)),
        sizes=_sizes(some),
    )
    return Probe(**found.arrays)


def _parameters(some: Rephrasings, seed: int) -> dict[str, Any]:
    instructions = [
        [text for text, label in zip(some.texts, some.labels, strict=True) if label == k]
        for k in range(len(some.tasks))
    ]
    return {"instructions": instructions, "folds": FOLDS, "seed": seed}


def _sizes(some: Rephrasings) -> dict[str, int]:
    return {"text": len(some.texts), "task": len(some.tasks), "fold": FOLDS}


def residuals(bench: Bench, texts: tuple[str, ...]) -> Measurement:
    """The layer-0 input and the residuals after every block, at T_inst of each text."""

    def compute() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        sources = bench.sources(texts)
        streams = record_sources(
            bench.model,
            sources,
            memory_budget=bench.memory_budget,
            progress=lambda done: bench.progress(
                f"{bench.checkpoint.name}: residuals of {done}/{len(texts)} rephrasings"
            ),
        )
        tokens = [token_texts(bench.tokenizer, (s.ids[s.position],))[0] for s in sources]
        return {"streams": streams.numpy()}, {"tokens": tokens}

    return bench.measure(
        *(methods.RESIDUALS, {}, compute),
        inputs=inputs_digest(bench.sources(texts)),
        sizes={"text": len(texts)},
        of="" if bench.checkpoint.untrained is None else RANDOM_WEIGHTS,
        is_part=True,
    )


# The fits are small: with two threads they take ten times as long, and their last digits differ.
@threadpool_limits.wrap(limits=1)
def _probed(
    streams: Float[np.ndarray, "stream sample d_model"], some: Rephrasings, seed: int
) -> Probe:
    folds = grouped_folds(some.labels, some.groups, folds=FOLDS, seed=seed)
    return probe(streams[1:], some.labels, folds)


@threadpool_limits.wrap(limits=1)
def _measured(
    streams: Float[np.ndarray, "stream sample d_model"], some: Rephrasings, seed: int
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    layers, labels, groups = streams[1:], some.labels, some.groups
    generator = np.random.default_rng(seed)
    shuffled_labels = generator.permutation(labels)
    found = _probed(streams, some, seed)
    folds = found.folds
    usual = found.usual_layer
    is_fitted = grouped_folds(labels, groups, folds=2, seed=seed) == 0
    planes = [lda_plane(layer, labels, is_fitted) for layer in layers]
    labelings = [generator.permutation(labels == 0) for _ in range(RANDOM_LABELINGS)]
    arrays = {
        "by_layer": found.by_layer,
        "chosen": found.chosen,
        "folds": folds,
        "shuffled": np.stack([held_out(layer, shuffled_labels, folds) for layer in layers]),
        "shuffled_labels": shuffled_labels,
        "by_words": held_out(word_counts(some.texts), labels, folds, standardized=False),
        "by_input": held_out(streams[0], labels, folds),
        "separable": np.array(
            [
                [linearly_separable(stream, labels == k) for k in range(len(some.tasks))]
                for stream in streams
            ]
        ),
        "dimensions": np.array([dimensions(stream) for stream in streams]),
        "plane": planes[usual].points,
        "is_fitted": is_fitted,
        "plane_accuracy": np.array([plane.accuracy for plane in planes]),
    }
    return arrays, {
        "released": vars(released_probe(layers, labels, groups, seed=seed)),
        "random_separable": sum(linearly_separable(layers[usual], one) for one in labelings),
    }

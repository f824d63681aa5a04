"""Methods on representations of instructions: residuals at T_inst, and what probes tell of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Integer
from threadpoolctl import threadpool_limits

from ivmethods.method import (
    Array,
    Computed,
    Data,
    Fact,
    Inputs,
    Method,
    Result,
    Running,
    Size,
    tokens_of,
)
from ivmethods.model.recording import record_sources
from ivmethods.probes.held_out import (
    Leak,
    Probe,
    grouped_folds,
    held_out,
    instruction_groups,
    probe,
    released_probe,
    word_counts,
)
from ivmethods.probes.separability import dimensions, lda_plane, linearly_separable
from ivmethods.prompts.protocols import token_texts

FOLDS = 5
RANDOM_LABELINGS = 5
RANDOM_WEIGHTS = "of random weights"
_TOKENS = Fact(tuple[str, ...], "text")
_TASK_OF_TEXT = Array("int64", "text", 0.0, "task")
_TASK_BY_LAYER = Array("int64", "layer text", 0.0, "task")


@dataclass(frozen=True)
class InstructionResiduals(Method):
    """The layer-0 input and the residuals after every block, at T_inst of each text.

    untrained: whether the model is a copy with random weights, as people know it.
    """

    texts: tuple[str, ...]
    untrained: bool = False

    name: ClassVar = "instruction residuals"
    forms: ClassVar = {"streams": Array("float32", "stream text d_model")}
    facts: ClassVar = {"tokens": _TOKENS}
    of_task: ClassVar = False

    @property
    def label(self) -> str:
        """Whose weights."""
        return RANDOM_WEIGHTS if self.untrained else ""

    @property
    def parameters(self) -> dict[str, Any]:
        """None: the texts are the inputs."""
        return {}

    def sizes(self, inputs: Inputs) -> dict[str, int]:
        """The texts."""
        return {"text": len(self.texts)}

    def inputs(self, data: Data) -> Inputs:
        """The texts as source runs."""
        return (data.sources(self.texts),)

    def compute(self, inputs: Inputs, running: Running) -> Computed:
        """The streams of each text."""
        (sources,) = inputs
        streams = record_sources(
            running.model,
            sources,
            memory_budget=running.memory_budget,
            progress=lambda done: running.progress(
                f"residuals of {done}/{len(sources)} rephrasings"
            ),
        )
        read = [token_texts(running.model.tokenizer, (s.ids[s.position],))[0] for s in sources]
        return {"streams": streams.numpy()}, {"tokens": read}

    def flop(self, inputs: Inputs, size: Size) -> float:
        """Each text once."""
        return size.run(tokens_of(inputs[0], "ids"))


@dataclass(frozen=True)
class Probes(Method):
    """What tells instructions apart on one checkpoint, all of it held out.

    instructions: rephrasings by task. The residuals are a measurement of their own, for they alone
    need the model; with the probes, they are the checkpoint's, whatever the task of a cell.
    by_words, by_input: predictions from the words alone and from the layer-0 input. shuffled: of
    `shuffled_labels`, from every layer. separable: whether a hyperplane separates a task from the
    others, stream 0 being the layer-0 input. dimensions: how many the samples span.
    random_separable: of RANDOM_LABELINGS at the usual layer. plane: LDA there, fitted on
    `is_fitted`; plane_accuracy: that of every layer's plane on the other half. tokens: T_inst.
    """

    instructions: tuple[tuple[str, ...], ...]
    seed: int

    name: ClassVar = "probes"
    version: ClassVar = 2
    forms: ClassVar = {
        "by_layer": _TASK_BY_LAYER,
        "chosen": Array("int64", "fold", 0.0, "layer"),
        "folds": Array("int64", "text", 0.0, "fold"),
        "shuffled": _TASK_BY_LAYER,
        "shuffled_labels": _TASK_OF_TEXT,
        "by_words": _TASK_OF_TEXT,
        "by_input": _TASK_OF_TEXT,
        "separable": Array("bool", "stream task"),
        "dimensions": Array("int64", "stream", 0.0),
        "plane": Array("float64", "text 2"),
        "is_fitted": Array("bool", "text"),
        "plane_accuracy": Array("float64", "layer", 0.0, 1.0),
    }
    facts: ClassVar = {"released": Fact(Leak), "random_separable": Fact(int), "tokens": _TOKENS}
    runs_model: ClassVar = False
    of_task: ClassVar = False

    @property
    def parameters(self) -> dict[str, Any]:
        """The fields, and how often labels are drawn."""
        return {**_parameters(self), "random labelings": RANDOM_LABELINGS}

    def sizes(self, inputs: Inputs) -> dict[str, int]:
        """Texts, tasks and folds."""
        return _sizes(self)

    @property
    def residuals(self) -> InstructionResiduals:
        """What the probes read."""
        return InstructionResiduals(texts_of(self.instructions))

    def inputs(self, data: Data) -> Inputs:
        """The texts as source runs."""
        return self.residuals.inputs(data)

    def parts(self) -> tuple[Method, ...]:
        """The residuals."""
        return (self.residuals,)

    def compute(self, inputs: Inputs, running: Running) -> Computed:
        """Fits on one thread: with two they take ten times as long, and last digits differ."""
        recorded = running.ask(self.residuals)
        running.progress(f"probing {len(inputs[0])} rephrasings")
        with threadpool_limits(limits=1):
            arrays, info = _measured(recorded.arrays["streams"], self.instructions, self.seed)
        return arrays, {**info, "tokens": recorded.info["tokens"]}


@dataclass(frozen=True)
class LayerProbe(Method):
    """The probe alone, of a copy with random weights: same form, rephrasings, folds and fit.

    What it can tell is in the words, and in how an architecture mixes them before any training.
    """

    instructions: tuple[tuple[str, ...], ...]
    seed: int

    name: ClassVar = "random-weight probes"
    forms: ClassVar = {part: Probes.forms[part] for part in ("by_layer", "chosen", "folds")}
    runs_model: ClassVar = False
    of_task: ClassVar = False

    @property
    def parameters(self) -> dict[str, Any]:
        """The fields."""
        return _parameters(self)

    def sizes(self, inputs: Inputs) -> dict[str, int]:
        """Texts, tasks and folds."""
        return _sizes(self)

    @property
    def residuals(self) -> InstructionResiduals:
        """What the probe reads."""
        return InstructionResiduals(texts_of(self.instructions), untrained=True)

    def inputs(self, data: Data) -> Inputs:
        """The texts as source runs."""
        return self.residuals.inputs(data)

    def parts(self) -> tuple[Method, ...]:
        """The residuals."""
        return (self.residuals,)

    def compute(self, inputs: Inputs, running: Running) -> Computed:
        """The fit, as of `Probes`."""
        streams = running.ask(self.residuals).arrays["streams"]
        running.progress("probing its copy with random weights")
        with threadpool_limits(limits=1):
            return vars(_probed(streams, self.instructions, self.seed)), {}

    def read(self, result: Result) -> Probe:
        """The probe."""
        return Probe(**result.arrays)


def texts_of(instructions: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The instructions of all tasks, one after the other."""
    return tuple(text for texts in instructions for text in texts)


def labels_of(instructions: Sequence[Sequence[str]]) -> Integer[np.ndarray, " sample"]:
    """The task of each."""
    return np.repeat(np.arange(len(instructions)), [len(texts) for texts in instructions])


def _parameters(method: Probes | LayerProbe) -> dict[str, Any]:
    instructions = [list(texts) for texts in method.instructions]
    return {"instructions": instructions, "folds": FOLDS, "seed": method.seed}


def _sizes(method: Probes | LayerProbe) -> dict[str, int]:
    texts, tasks = texts_of(method.instructions), len(method.instructions)
    return {"text": len(texts), "task": tasks, "fold": FOLDS}


def _probed(
    streams: Float[np.ndarray, "stream sample d_model"],
    instructions: Sequence[Sequence[str]],
    seed: int,
) -> Probe:
    labels, groups = labels_of(instructions), instruction_groups(texts_of(instructions))
    return probe(streams[1:], labels, grouped_folds(labels, groups, folds=FOLDS, seed=seed))


def _measured(
    streams: Float[np.ndarray, "stream sample d_model"],
    instructions: Sequence[Sequence[str]],
    seed: int,
) -> Computed:
    layers, texts, labels = streams[1:], texts_of(instructions), labels_of(instructions)
    groups, generator = instruction_groups(texts), np.random.default_rng(seed)
    shuffled_labels = generator.permutation(labels)
    fitted = _probed(streams, instructions, seed)
    folds, usual = fitted.folds, fitted.usual_layer
    is_fitted = grouped_folds(labels, groups, folds=2, seed=seed) == 0
    planes = [lda_plane(layer, labels, is_fitted) for layer in layers]
    labelings = [generator.permutation(labels == 0) for _ in range(RANDOM_LABELINGS)]
    arrays = {
        "by_layer": fitted.by_layer,
        "chosen": fitted.chosen,
        "folds": folds,
        "shuffled": np.stack([held_out(layer, shuffled_labels, folds) for layer in layers]),
        "shuffled_labels": shuffled_labels,
        "by_words": held_out(word_counts(texts), labels, folds, standardized=False),
        "by_input": held_out(streams[0], labels, folds),
        "separable": np.array(
            [
                [linearly_separable(stream, labels == k) for k in range(len(instructions))]
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
        "random_separable": sum(linearly_separable(layers[usual], each) for each in labelings),
    }

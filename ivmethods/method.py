"""Methods as values: what is measured, on what, at what cost, and the form of what comes out.

A method is a frozen dataclass. Its fields are its parameters, and with its name and version they
are in the key of each of its measurements: raise the version when the method's numbers change. The
golden numbers (tests/golden.json) fail until it is. Constants that a method uses (how many tokens
are generated, what ranks high) follow from its version, and so does how answers are tokenized.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import comb
from typing import Any, ClassVar, Literal

import numpy as np
from nnsight import TransformersModel

from ivmethods.model.metrics import METRICS
from ivmethods.model.structure import kind_problem
from ivmethods.prompts.pairs import Pair
from ivmethods.prompts.protocols import Protocol, Sample, Source

# Rows by what they are for, a row being what a model is run on once: a sample, or a source text.
Inputs = tuple[list[Any], ...]
Computed = tuple[dict[str, np.ndarray], dict[str, Any]]
Result = Any  # a measurement that was kept: its `arrays`, and its `info` as JSON
SourceName = Literal["instruction", "contrast", "neutral"]

# Ranges of the metrics that have one, and of their differences.
SCORES = {"rr": (0.0, 1.0), "rr_released": (-1.0, 1.0)}
EFFECTS = {"rr": (-1.0, 1.0), "rr_released": (-2.0, 2.0)}


@dataclass(frozen=True)
class Array:
    """The form of an array.

    axes: names or sizes; axes of one name are equally long. low, high: bounds of its values, one
    for all or one for each row; high as the name of an axis: values are indices into it. nan:
    whether values may be missing. optional: whether the array may be.
    """

    dtype: str
    axes: str
    low: float | Sequence[float] = -math.inf
    high: float | Sequence[float] | str = math.inf
    nan: bool | Sequence[bool] = False
    optional: bool = False


@dataclass(frozen=True)
class Fact:
    """The form of a fact: its type, the names of the axes that its lists run along, its values.

    is_whole: whether a fact of this type is one that the method gives; None: any is.
    """

    kind: Any
    axes: str = ""
    is_whole: Callable[[Any], bool] | None = None


def by_metric(axes: str, ranges: Mapping[str, tuple[float, float]]) -> Array:
    """The form of an array with a row a metric, and values in the range of each."""
    lows, highs = zip(*(ranges.get(name, (-math.inf, math.inf)) for name in METRICS), strict=True)
    # There may be no contrast; all else that has no value is refused before it is kept.
    nan = [name == "logit_diff" for name in METRICS]
    return Array("float32", f"metric {axes}", lows, highs, nan)


@dataclass(frozen=True)
class Size:
    """The size of a model, by which work is estimated in floating-point operations.

    Those of weights with activations only.
    """

    parameters: int
    layers: int
    heads: int
    width: int
    vocabulary: int

    @property
    def ranking(self) -> float:
        """FLOP of ranking a vector of the residual stream among all tokens."""
        return 2.0 * self.width * self.vocabulary

    def run(self, tokens: int | float) -> float:
        """FLOP of running tokens through the model: 2 a parameter and token."""
        return 2.0 * self.parameters * tokens

    def sweep(self, tokens: int, order: int) -> float:
        """FLOP of a sweep over prompts of so many tokens in all.

        Of all tuples of s layers, C(L, s + 1) blocks are run, as those with the same first layers
        share them.
        """
        blocks = sum(comb(self.layers, size + 1) for size in range(order + 1))
        return self.run(tokens * blocks / self.layers)


class Data:
    """Where inputs come from, tokenized for a checkpoint; a kind of data has some of these."""

    def samples(self, protocol: Protocol = "paper") -> list[Sample]:
        """The samples of a task: instructed and target prompts."""
        raise _other_kind(self, "samples")

    def source(
        self, name: SourceName = "instruction", protocol: Protocol = "paper"
    ) -> list[Source]:
        """The source texts of one name."""
        raise _other_kind(self, "source")

    def sources(self, texts: tuple[str, ...]) -> list[Source]:
        """Texts as source runs."""
        raise _other_kind(self, "sources")

    def pairs(self) -> list[Pair]:
        """Pairs of clean and corrupt runs of equal length."""
        raise _other_kind(self, "pairs")


def _other_kind(data: Data, what: str) -> NotImplementedError:
    got, expected = type(data).__name__, f"of a kind with {what}"
    return NotImplementedError(
        f"data={got}, but should be {expected} [methods]; judge it on another"
    )


class Running(ABC):
    """What a method runs with: a model, the memory it may take, what was measured before."""

    @property
    @abstractmethod
    def model(self) -> TransformersModel:
        """The model; loaded when it is first asked for."""

    @property
    @abstractmethod
    def memory_budget(self) -> int:
        """Bytes that one forward pass may take."""

    @abstractmethod
    def progress(self, text: str) -> None:
        """Show how far the work is."""

    @abstractmethod
    def ask(self, method: Method) -> Result:
        """The measurement of another method on the same checkpoint and data."""


@dataclass(frozen=True)
class Measured:
    """What a result is of, as a refusal names it."""

    checkpoint: str
    task: str
    dtype: str
    remote: bool


@dataclass(frozen=True)
class Method:
    """A method; its fields are its parameters.

    forms, facts: of what it stores. runs_model: whether it runs the model itself. of_task: whether
    its inputs are a task's; else they are the same for every task of a checkpoint.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    forms: ClassVar[Mapping[str, Array]] = {}
    facts: ClassVar[Mapping[str, Fact]] = {}
    runs_model: ClassVar[bool] = True
    of_task: ClassVar[bool] = True

    @property
    def label(self) -> str:
        """What people tell it from others of its name by."""
        return ""

    @property
    def role(self) -> str:
        """Name and label, as keys have them."""
        return f"{self.name} {self.label}".rstrip()

    @property
    def parameters(self) -> dict[str, Any]:
        """What of its fields is in its key, beside the label."""
        return asdict(self)

    def sizes(self, inputs: Inputs) -> Mapping[str, int]:
        """Those of the result's axes that are known beforehand, beside metrics and samples."""
        return {}

    def inputs(self, data: Data) -> Inputs:
        """What the model is run on: the samples of the paper's protocol, unless said otherwise."""
        return (data.samples(),)

    def runs_on(self, config: Any, remote: bool) -> str | None:
        """Why it cannot be run on a model of this configuration, in one line, or None.

        remote: the weights are not here.
        """
        return kind_problem(config, config.model_type)

    def before(self) -> tuple[Method, ...]:
        """Checks and controls without which nobody should rely on the result."""
        return ()

    def parts(self) -> tuple[Method, ...]:
        """Measurements that this one is made of, wanted only where it is not stored."""
        return ()

    def compute(self, inputs: Inputs, running: Running) -> Computed:
        """Arrays, sample axis first after the metric's, and facts as JSON."""
        raise NotImplementedError

    def read(self, result: Result) -> Any:
        """A result as claims are given it: unless said otherwise, its `arrays` and `info`."""
        return result

    def refusal(self, result: Result, of: Measured) -> str | None:
        """Why a checkpoint with this result is not to be measured further, in one line."""
        return None

    def flop(self, inputs: Inputs, size: Size) -> float:
        """What it costs at most, in floating-point operations, without `before` and `parts`."""
        return 0.0


def tokens_of(rows: Sequence[Any], run: str) -> int:
    """How many tokens the rows have in one of their runs."""
    return sum(len(getattr(row, run)) for row in rows)

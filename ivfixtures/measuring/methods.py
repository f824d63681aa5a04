"""The methods of measuring: the version of each, and the form of what it stores.

A version is part of every key of its method: raise it when the method's numbers change. The golden
numbers (tests/golden.json) fail until it is. Constants that a method uses (how many tokens are
generated, what ranks high) follow from its version, and so does how answers are tokenized.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ivevidence import EvidenceError
from ivevidence.records.codec import coerce
from ivmethods.model.metrics import METRICS
from ivmethods.patching.checks import Checks, RunnerName
from ivmethods.patching.sweep import layer_tuples
from ivmethods.probes.held_out import Leak

ORIGIN = "measured with"  # what a measurement was made with, by its name among the facts

# Ranges of the metrics that have one, and of their differences.
_SCORES = {"rr": (0, 1), "rr_released": (-1, 1)}
_EFFECTS = {"rr": (-1, 1), "rr_released": (-2, 2)}


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


@dataclass(frozen=True)
class Method:
    """A method: its name, the version of its numbers, and the form of what it stores.

    runs_model: whether it runs the model itself.
    """

    name: str
    version: int
    arrays: Mapping[str, Array] = field(default_factory=dict)
    facts: Mapping[str, Fact] = field(default_factory=dict)
    runs_model: bool = True

    def check(
        self, sizes: Mapping[str, int], arrays: Mapping[str, np.ndarray], info: Mapping[str, Any]
    ) -> None:
        """Check a result, computed or read from a store; sizes: of axes that are known.

        Raises: EvidenceError, it is not of this method's form.
        """
        lengths = dict(sizes)
        lacking = {name for name, form in self.arrays.items() if not form.optional} - arrays.keys()
        self._same("arrays", lacking | (arrays.keys() - self.arrays.keys()), self.arrays)
        self._same("facts", self.facts.keys() ^ (info.keys() - {ORIGIN}), self.facts)
        for name, array in arrays.items():
            form = self.arrays[name]
            if array.dtype != form.dtype:
                raise EvidenceError(name, array.dtype.name, form.dtype, self.name)
            _fit(name, array.shape, form.axes, lengths, self.name)
        for name, fact in self.facts.items():
            _check_fact(name, fact.kind, info[name], self.name)
            if fact.is_whole and not fact.is_whole(info[name]):
                raise EvidenceError(name, info[name], "what the method gives", self.name)
            _fit(name, _lengths(info[name], len(fact.axes.split())), fact.axes, lengths, self.name)
        _check_fact(ORIGIN, Mapping[str, str], info.get(ORIGIN, {}), self.name)
        for name, array in arrays.items():
            _check_values(name, array, self.arrays[name], lengths, self.name)

    def _same(self, what: str, differing: set[str], expected: Mapping[str, Any]) -> None:
        if differing:
            got, names = ", ".join(sorted(differing)), ", ".join(expected) or "none"
            raise EvidenceError(f"differing {what}", got, f"none beside {names}", self.name)


def _fit(name: str, shape: Sequence[int], axes: str, lengths: dict[str, int], where: str) -> None:
    """Hold a shape to the known lengths of axes; what is not known yet is from now on."""
    expected = tuple(
        int(axis) if axis.isdecimal() else lengths.setdefault(axis, size)
        for axis, size in zip(axes.split(), shape, strict=False)
    )
    if len(shape) != len(axes.split()) or tuple(shape) != expected:
        raise EvidenceError(f"shape of {name}", tuple(shape), f"[{axes}] {expected}", where)


def _lengths(value: Any, depth: int) -> tuple[int, ...]:
    """Lengths of a list, of the first list in it and so on."""
    if not depth:
        return ()
    return (len(value), *(_lengths(value[0], depth - 1) if value else ()))


def _check_fact(name: str, kind: Any, value: Any, where: str) -> None:
    if dataclasses.is_dataclass(kind):
        parts = typing.get_type_hints(kind)
        if not isinstance(value, Mapping) or value.keys() != parts.keys():
            raise EvidenceError(name, value, f"a mapping with {', '.join(parts)}", where)
        for part, inner in parts.items():
            _check_fact(f"{name}.{part}", inner, value[part], where)
    elif typing.get_origin(kind) is Literal:
        if value not in typing.get_args(kind):
            raise EvidenceError(name, value, f"one of {', '.join(typing.get_args(kind))}", where)
    else:
        try:
            coerce(kind, value)
        except EvidenceError as error:
            raise error.within(name, where=where) from None


def _check_values(
    name: str, array: np.ndarray, form: Array, lengths: Mapping[str, int], where: str
) -> None:
    if array.dtype.kind == "b":
        return
    array = np.atleast_1d(array)
    last = lengths[form.high] - 1 if isinstance(form.high, str) else form.high
    rows = (-1,) + (1,) * (array.ndim - 1)
    low, high, nan = (np.reshape(bound, rows) for bound in (form.low, last, form.nan))
    outside = array[(array < low) | (array > high) | np.isinf(array) | (np.isnan(array) & ~nan)]
    if outside.size:
        got, expected = outside[0].item(), f"in the range of {name}"
        raise EvidenceError(f"value of {name}", got, expected, where)


def _metrics(axes: str, ranges: Mapping[str, tuple[float, float]]) -> Array:
    lows, highs = zip(*(ranges.get(name, (-math.inf, math.inf)) for name in METRICS), strict=True)
    # There may be no contrast; all else that has no value is refused before it is kept.
    nan = [name == "logit_diff" for name in METRICS]
    return Array("float32", f"metric {axes}", lows, highs, nan)


def _are_of_a_sweep(tuples: Sequence[Sequence[int]]) -> bool:
    order = max(map(len, tuples), default=0)
    layers = 1 + max((layer for t in tuples for layer in t), default=0)
    return [*map(tuple, tuples)] == [*layer_tuples(layers, order)]


_RUNNER = Fact(RunnerName)
_TOKENS = Fact(tuple[str, ...], "text")
_SHARES = Array("float32", "sample start layer head", 0, 1, nan=True)
_COUNTS = Array("float64", "sample start", 0, nan=True)
_TASK_OF_TEXT = Array("int64", "text", 0, "task")
_TASK_BY_LAYER = Array("int64", "layer text", 0, "task")

CHECKS = Method("checks", 1, facts={"checks": Fact(Checks)})
BEHAVIOUR = Method("behaviour", 1, facts={"answers": Fact(tuple[str, ...], "sample")})
RUNS = Method("runs", 1, {name: _metrics("sample", _SCORES) for name in ("target", "instructed")})
SWEEP = Method(
    "sweep",
    1,
    {
        "effects": _metrics("sample tuple", _EFFECTS),
        "target": _metrics("sample", _SCORES),
        "degenerate": Array("bool", "tuple"),
    },
    {"tuples": Fact(tuple[tuple[int, ...], ...], "tuple", _are_of_a_sweep), "runner": _RUNNER},
)
NO_OP = Method("no-op", 1, {"effects": Array("float32", "sample layer")}, {"runner": _RUNNER})
ALL_LAYERS = Method("all layers", 1, {"effects": _metrics("sample", _EFFECTS)})
CONTROLS = Method(
    "controls",
    1,
    {
        "random": _metrics("sample draw", _EFFECTS),
        "neutral": _metrics("sample neutral", _EFFECTS),
        "positions": dataclasses.replace(_metrics("sample pos", _EFFECTS), optional=True),
    },
)
ATTRIBUTION = Method(
    "attribution",
    1,
    {"tokens": Array("float32", "sample pos", nan=True), "biases": Array("float64", "sample")},
    {"completeness": Fact(float)},
)
PATHS = Method(
    "paths",
    1,
    {
        "totals": _COUNTS,
        "examined": _COUNTS,
        "hits": Array("float64", "sample start answer", 0, nan=True),
        "uses": _SHARES,
        "expected": _SHARES,
    },
    {
        "strongest": Fact(tuple[tuple[tuple[int, ...], float], ...]),
        "totals": Fact(tuple[tuple[int, ...], ...], "sample"),
        "single heads": Fact(int),
    },
)
RESIDUALS = Method(
    "instruction residuals",
    1,
    {"streams": Array("float32", "stream text d_model")},
    {"tokens": _TOKENS},
)
PROBES = Method(
    "probes",
    2,
    {
        "by_layer": _TASK_BY_LAYER,
        "chosen": Array("int64", "fold", 0, "layer"),
        "folds": Array("int64", "text", 0, "fold"),
        "shuffled": _TASK_BY_LAYER,
        "shuffled_labels": _TASK_OF_TEXT,
        "by_words": _TASK_OF_TEXT,
        "by_input": _TASK_OF_TEXT,
        "separable": Array("bool", "stream task"),
        "dimensions": Array("int64", "stream", 0),
        "plane": Array("float64", "text 2"),
        "is_fitted": Array("bool", "text"),
        "plane_accuracy": Array("float64", "layer", 0, 1),
    },
    {"released": Fact(Leak), "random_separable": Fact(int), "tokens": _TOKENS},
    runs_model=False,
)
RANDOM_PROBES = Method(
    "random-weight probes",
    1,
    {name: PROBES.arrays[name] for name in ("by_layer", "chosen", "folds")},
    runs_model=False,
)
JUDGE = Method("judge", 1, facts={"reply": Fact(str), "valid": Fact(bool)})

METHODS = {
    method.name: method
    for method in (
        *(CHECKS, BEHAVIOUR, RUNS, SWEEP, NO_OP, ALL_LAYERS, CONTROLS),
        *(ATTRIBUTION, PATHS, RESIDUALS, PROBES, RANDOM_PROBES, JUDGE),
    )
}

"""The form of what is stored: results are held to it, computed or read from a store."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ivevidence import EvidenceError
from ivevidence.records.codec import coerce
from ivmethods.method import Array, Fact, Method

ORIGIN = "measured with"  # what a measurement was made with, by its name among the facts


@dataclasses.dataclass(frozen=True)
class Form:
    """The arrays and facts of a method's results; name: the method's, for errors."""

    name: str
    arrays: Mapping[str, Array] = dataclasses.field(default_factory=dict)
    facts: Mapping[str, Fact] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, method: Method | type[Method]) -> Form:
        """The form of a method's results."""
        return cls(method.name, method.forms, method.facts)

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

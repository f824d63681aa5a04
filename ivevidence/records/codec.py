"""Records that check themselves: frozen dataclasses whose fields always hold plain JSON data.

A record's annotations are its format. The same check runs when a record is built in code and when
it is read from a file, so what is written can be read, and what is read has its types.
"""

import dataclasses
import functools
import math
import reprlib
import types
import typing
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

MOST_NESTED = 64  # levels of a file's JSON: records need a dozen, parameters of a claim a few more


class EvidenceError(ValueError):
    """Evidence that is not what it should be; the message names quantity, place and remedy."""

    def __init__(
        self, quantity: str, got: Any, expected: str, where: str = "", advice: str = ""
    ) -> None:
        super().__init__(quantity, got, expected, where, advice)
        self.quantity, self.got, self.expected = quantity, got, expected
        self.where, self.advice = where, advice

    def __str__(self) -> str:
        place = f" [{self.where}]" if self.where else ""
        advice = f"; {self.advice}" if self.advice else ""
        return f"{self.quantity}={_short(self.got)}, but should be {self.expected}{place}{advice}"

    def within(self, outer: str, *, where: str = "") -> "EvidenceError":
        """Return the same error seen from the value that contains it."""
        joint = "" if not outer or not self.quantity or self.quantity.startswith("[") else "."
        return EvidenceError(
            outer + joint + self.quantity,
            self.got,
            self.expected,
            where or self.where,
            self.advice,
        )


@dataclasses.dataclass(frozen=True)
class Record:
    """Base of all records: checks and normalizes its fields against their annotations.

    Lists become tuples, numpy values become Python ones, and NaN or infinity becomes None where the
    annotation allows None, so that a record equals itself after a trip through JSON.

    Raises:
        EvidenceError: a field does not have its type.
    """

    def __post_init__(self) -> None:
        record: Any = type(self)
        for name, kind in _fields(record).items():
            try:
                value = coerce(kind, getattr(self, name))
            except EvidenceError as error:
                raise error.within(name, where=record.__name__) from None
            object.__setattr__(self, name, value)

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain dicts, lists, strings and numbers."""
        record: Any = type(self)
        return {name: to_plain(getattr(self, name)) for name in _fields(record)}

    @classmethod
    def from_json(cls, data: Any, *, where: str = "") -> Self:
        """Return the record that `to_json` described.

        Raises:
            EvidenceError: a field is missing, unknown or of the wrong type, or `data` is nested
                deeper than `MOST_NESTED`; `where` is the source.
        """
        try:
            _check_nesting(data)
            return typing.cast(Self, coerce(cls, data))
        except EvidenceError as error:
            raise error.within("", where=where) from None


def to_plain(value: Any) -> Any:
    """Return `value` as plain JSON data: no tuples, numpy values, NaN or infinities.

    Raises:
        EvidenceError: something in it has no JSON form.
    """
    if isinstance(value, Record):
        return value.to_json()
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_key(key): _inside(f"[{key!r}]", to_plain, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_inside(f"[{i}]", to_plain, item) for i, item in enumerate(value)]
    raise EvidenceError("", value, "plain JSON data or a numpy array")


def _check_nesting(data: Any) -> None:
    level, depth = [data], 0
    while level := [item for value in level for item in _items(value)]:
        depth += 1
        if depth > MOST_NESTED:
            raise EvidenceError("nesting", f"over {depth - 1} levels", f"at most {MOST_NESTED}")


def _items(value: Any) -> typing.Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list | tuple) else ()


def check_count(quantity: str, number: int | None, where: str) -> None:
    """Refuse a number of samples below 0.

    Raises:
        EvidenceError: it is.
    """
    if number is not None and number < 0:
        raise EvidenceError(quantity, number, "at least 0", where=where)


def coerce(kind: Any, value: Any) -> Any:
    """Return `value` as `kind`: plain types, unions, tuples, mappings, records.

    Raises:
        EvidenceError: it is not of that kind.
    """
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return to_plain(value)
    if origin in (types.UnionType, typing.Union):
        return _coerce_optional(inner, value)
    if origin is tuple:
        return _coerce_tuple(inner, value)
    if origin is Mapping:
        return _coerce_mapping(inner, value)
    if dataclasses.is_dataclass(kind):
        return _coerce_record(kind, value)
    return _coerce_scalar(kind, value)


def _coerce_optional(inner: tuple[Any, ...], value: Any) -> Any:
    missing = value is None or (isinstance(value, float) and not math.isfinite(value))
    if types.NoneType in inner and missing:
        return None
    choices = [kind for kind in inner if kind is not types.NoneType]
    for kind in choices:
        # Exact types first: float before int would turn 1 into 1.0.
        if type(value) is kind:
            return coerce(kind, value)
    if len(choices) == 1:
        return coerce(choices[0], value)
    names = ", ".join(kind.__name__ for kind in inner)
    raise EvidenceError("", value, f"one of {names}")


def _coerce_tuple(inner: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise EvidenceError("", value, "a list")
    if inner[-1] is not Ellipsis and len(inner) != len(value):
        raise EvidenceError("", value, f"a list of {len(inner)}")
    kinds = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
    return tuple(_inside(f"[{i}]", coerce, kinds[i], item) for i, item in enumerate(value))


def _coerce_mapping(inner: tuple[Any, ...], value: Any) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise EvidenceError("", value, "a mapping")
    key_kind, item_kind = inner
    result = {}
    for key, item in value.items():
        if key_kind is int and isinstance(key, str) and key.isascii() and key.isdecimal():
            key = int(key)  # JSON has only string keys
        key = _inside(f"[{key!r}]", _coerce_scalar, key_kind, key)
        result[key] = _inside(f"[{key!r}]", coerce, item_kind, item)
    return result


def _coerce_record(kind: Any, value: Any) -> Any:
    if isinstance(value, kind):
        return value
    if not isinstance(value, Mapping):
        raise EvidenceError("", value, f"a mapping with the fields of {kind.__name__}")
    required = {
        field.name
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    for name in sorted(required - set(value)):
        raise EvidenceError(name, None, "given: the field is missing")
    for name in value:
        if name not in _fields(kind):
            raise EvidenceError(str(name), value[name], f"no field of {kind.__name__}")
    return kind(**value)


def _coerce_scalar(kind: Any, value: Any) -> Any:
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        value = float(value) if abs(value) < 1e300 else value
    if type(value) is not kind:
        raise EvidenceError("", value, _NAMES.get(kind, str(kind)))
    if kind is float and not math.isfinite(value):
        raise EvidenceError("", value, "finite")
    return value


_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def _inside(outer: str, function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except EvidenceError as error:
        raise error.within(outer) from None


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, int) and not isinstance(key, bool):
        return str(key)
    raise EvidenceError("", key, "a text (keys of JSON objects)")


@functools.cache
def _fields(kind: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _short(value: Any) -> str:
    shortener = reprlib.Repr()
    shortener.maxstring, shortener.maxother = 60, 60
    return shortener.repr(value)

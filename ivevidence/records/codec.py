"""Records: frozen pydantic dataclasses that always hold plain JSON data.

A record's annotations are its format. The same check runs when a record is built in code and when
it is read from a file, so what is written can be read, and what is read has its types.
"""

import dataclasses
import functools
import inspect
import math
import reprlib
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Self, TypeVar

import numpy as np
import pydantic
from pydantic import BeforeValidator, ConfigDict, FailFast, Field, GetPydanticSchema, TypeAdapter
from pydantic_core import CoreSchema, core_schema

MOST_NESTED = 64  # levels of a file's JSON: records need a dozen, parameters of a claim a few more
MOST_WRONG = 1000  # complaints on a file: pydantic can only tell all of them, a kilobyte each

_CONFIG = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
# What pydantic calls what a value should be, in words for people.
_EXPECTED = {
    "missing": "given: it is missing",
    "unexpected_keyword_argument": "no field here",
    "dataclass_type": "a mapping with the fields of {class_name}",
    "dict_type": "a mapping",
    "tuple_type": "a list",
    "string_type": "a text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "finite_number": "finite",
    "greater_than_equal": "at least {ge:g}",
    "less_than_equal": "at most {le:g}",
    "too_long": "at most {max_length} long",
    "literal_error": "one of {expected}",
}


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


@typing.dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
class Record:
    """Base of all records: makes a frozen dataclass that checks its fields as they are annotated.

    Lists become tuples and numpy values become Python ones, so that a record equals itself after a
    trip through JSON.

    Raises:
        EvidenceError: a field does not have its type.
    """

    def __init_subclass__(cls) -> None:
        made: Any = pydantic.dataclasses.dataclass(frozen=True, config=_CONFIG)(cls)
        signature, check = inspect.signature(made), made.__init__

        def build(self: Any, *values: Any, **named: Any) -> None:
            fields = signature.bind(*values, **named).arguments
            _refuse(lambda: check(self, **_python(fields)), cls.__name__)

        made.__init__ = build

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> CoreSchema:
        # Strict about all else, but a mapping may become a record: JSON has nothing else.
        return {**handler(source), "strict": False}

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain dicts, lists, strings and numbers."""
        record: Any = self
        return {
            field.name: to_plain(getattr(self, field.name)) for field in dataclasses.fields(record)
        }

    @classmethod
    def from_json(cls, data: Any, *, where: str = "") -> Self:
        """Return the record that `to_json` described.

        Raises:
            EvidenceError: a field is missing, unknown or of the wrong type, or `data` is nested
                deeper than `MOST_NESTED`; `where` is the source.
        """
        check = TypeAdapter(cls).validate_python
        return typing.cast(Self, _refuse(lambda: check(_python(data)), where or cls.__name__))


def coerce(kind: Any, value: Any) -> Any:
    """Return JSON data as `kind`: plain types, literals, tuples and mappings of them.

    Raises:
        EvidenceError: it is not of that kind.
    """
    return _refuse(lambda: _adapter(kind).validate_python(_python(value)))


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
        return defined(value)
    if isinstance(value, Mapping):
        return {_key(key): _inside(f"[{key!r}]", item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_inside(f"[{i}]", item) for i, item in enumerate(value)]
    raise EvidenceError("", value, "plain JSON data or a numpy array")


def defined(value: Any) -> Any:
    """The value, None for NaN and infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _position(key: Any) -> Any:
    # JSON has only string keys.
    return int(key) if isinstance(key, str) and key.isascii() and key.isdecimal() else key


def one_of(*choices: str) -> GetPydanticSchema:
    """Mark a text as one of a few."""
    return GetPydanticSchema(lambda *_: core_schema.literal_schema(list(choices)))


T = TypeVar("T")
Many = Annotated[tuple[T, ...], FailFast()]  # millions of wrong ones are refused at the first
Count = Annotated[int, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
Value = Annotated[float | None, BeforeValidator(defined)]  # None: undefined
Marks = Annotated[
    Mapping[Annotated[int, BeforeValidator(_position)], str],
    Field(json_schema_extra={"propertyNames": {"pattern": "^[0-9]+$"}}),
]
Json = Annotated[Any, BeforeValidator(to_plain)]


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind, config=_CONFIG)


def _python(value: Any, levels: int = MOST_NESTED) -> Any:
    """Lists and arrays as tuples, at any depth, numpy's numbers as Python's."""
    if value is None or type(value) in (str, int, float, bool):
        return value  # nearly all that a file holds
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    is_list = isinstance(value, list | tuple)
    if not is_list and not isinstance(value, Mapping):
        return value
    if not levels:
        raise EvidenceError("nesting", f"over {MOST_NESTED} levels", f"at most {MOST_NESTED}")
    if is_list:
        return tuple([_python(item, levels - 1) for item in value])
    return {key: _python(item, levels - 1) for key, item in value.items()}


def _refuse(check: Callable[[], Any], where: str = "") -> Any:
    """The result of a check by pydantic; its first complaint, if any, as an EvidenceError."""
    try:
        return check()
    except EvidenceError as error:
        raise error.within("", where=where) from None
    except pydantic.ValidationError as error:
        if error.error_count() > MOST_WRONG:
            raise EvidenceError("wrong fields", error.error_count(), "none", where) from None
        first = error.errors(include_url=False)[0]
    kind, context = first["type"], first.get("ctx", {})
    path = "".join(map(_step, first["loc"])).removeprefix(".")
    if isinstance(own := context.get("error"), EvidenceError):
        raise own.within(path, where=where) from None
    expected = first["msg"]
    if kind in _EXPECTED:
        expected = _EXPECTED[kind].format_map(context).replace("'", "")
    got = None if kind == "missing" else _lists(first["input"])
    raise EvidenceError(path, got, expected, where)


def _step(part: str | int) -> str:
    return f".{part}" if str(part).isidentifier() else f"[{part!r}]"


def _lists(value: Any) -> Any:
    return list(map(_lists, value)) if isinstance(value, tuple) else value


def _inside(outer: str, value: Any) -> Any:
    try:
        return to_plain(value)
    except EvidenceError as error:
        raise error.within(outer) from None


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, int) and not isinstance(key, bool):
        return str(key)
    raise EvidenceError("", key, "a text (keys of JSON objects)")


def _short(value: Any) -> str:
    shortener = reprlib.Repr()
    shortener.maxstring, shortener.maxother = 60, 60
    return shortener.repr(value)

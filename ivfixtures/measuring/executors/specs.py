"""Methods and what they are run on as plain JSON data, and back."""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ivfixtures.errors import error_line


def spec(value: Any) -> dict[str, Any]:
    """A dataclass as its importable name and its fields."""
    kind = type(value)
    return {"type": f"{kind.__module__}:{kind.__qualname__}", "fields": dataclasses.asdict(value)}


def value_of(found: Mapping[str, Any], base: type) -> Any:
    """The dataclass that `spec` gave.

    base: what it should be an instance of.

    Raises: ValueError, it cannot be imported here, or is no such thing.
    """
    name = str(found["type"])
    module, _, qualified = name.partition(":")
    try:
        kind: Any = functools.reduce(getattr, qualified.split("."), importlib.import_module(module))
    except Exception as error:  # whatever a module raises where it is imported
        remedy = "install the package that it is of everywhere"
        line = error_line("type", name, "importable by the worker", error, remedy)
        raise ValueError(line) from None
    if not (isinstance(kind, type) and issubclass(kind, base) and dataclasses.is_dataclass(kind)):
        remedy = "the job's file is damaged: run again"
        raise ValueError(error_line("type", name, f"a kind of {base.__name__}", "job", remedy))
    fields = found["fields"]
    try:
        made = _adapter(kind).validate_python(fields)
        known = {field.name for field in dataclasses.fields(kind)}
        problem = None if {*fields} == known else ", ".join(fields) or "none"
    except ValidationError as error:
        problem = str(error)
    if problem is not None:
        expected, remedy = "as the controller wrote them", "install the same version everywhere"
        raise ValueError(error_line(f"fields of {name}", problem, expected, "job", remedy))
    return made


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)

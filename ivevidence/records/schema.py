"""JSON Schemas of the files that a run leaves, read off the records' annotations."""

import dataclasses
import inspect
import json
import sys
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ivevidence.compare import expectations
from ivevidence.figures.data import FIGURE_DATA, Criterion
from ivevidence.records import files as evidence
from ivevidence.records.cells import (
    CHANGES,
    PLANTED,
    QUANTIFIERS,
    VERDICTS,
    CellRecord,
    Claim,
    Comparison,
    Decision,
    Expectation,
    Figure,
)
from ivevidence.records.codec import EvidenceError, Record
from ivevidence.records.rows import ClaimRow
from ivevidence.store.whole_files import write_atomic

DIALECT = "https://json-schema.org/draft/2020-12/schema"
KINDS: dict[str, type[Record]] = {
    "evidence": evidence.Evidence,
    "expectations": expectations.Expectations,
}

Schema = dict[str, Any]


def schema_of(kind: str) -> Schema:
    """The JSON Schema (draft 2020-12) of `evidence` or `expectations` files.

    It says which fields there are and what they hold. Reading a file checks more: lengths that must
    agree, and the digest that closes evidence.

    Raises:
        EvidenceError: `kind` is neither.
    """
    if kind not in KINDS:
        raise EvidenceError("kind", kind, "one of " + ", ".join(KINDS))
    definitions: dict[str, Schema] = {}
    _of(KINDS[kind], definitions)
    root = definitions.pop(KINDS[kind].__name__)
    if kind == "evidence":
        root["required"].append("sha256")
    return {"$schema": DIALECT, **root, "$defs": dict(sorted(definitions.items()))}


def write_schemas(folder: Path) -> None:
    """Write `evidence.schema.json` and `expectations.schema.json` into a folder.

    Raises:
        OSError: it cannot be written.
    """
    for kind in KINDS:
        text = json.dumps(schema_of(kind), indent=1) + "\n"
        write_atomic(Path(folder, f"{kind}.schema.json"), text.encode("ascii"))


def _of(kind: Any, definitions: dict[str, Schema]) -> Schema:
    """The schema of what `codec.coerce` takes for `kind`; records go to `definitions`."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return {}
    if origin in (types.UnionType, typing.Union):
        return _of_union([_of(part, definitions) for part in inner])
    if origin is tuple:
        return _of_tuple(inner, definitions)
    if origin is Mapping:
        schema: Schema = {"type": "object", "additionalProperties": _of(inner[1], definitions)}
        return schema | ({"propertyNames": {"pattern": "^[0-9]+$"}} if inner[0] is int else {})
    if dataclasses.is_dataclass(kind):
        return _of_record(kind, definitions)
    return {"type": _TYPES[kind]}


def _of_union(choices: list[Schema]) -> Schema:
    if all(choice.keys() == {"type"} for choice in choices):
        return {"type": [choice["type"] for choice in choices]}
    return {"anyOf": choices}


def _of_tuple(inner: tuple[Any, ...], definitions: dict[str, Schema]) -> Schema:
    if inner[-1] is Ellipsis:
        return {"type": "array", "items": _of(inner[0], definitions)}
    items = [_of(part, definitions) for part in inner]
    return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}


def _of_record(kind: Any, definitions: dict[str, Schema]) -> Schema:
    name = kind.__name__
    if name not in definitions:
        definitions[name] = {}  # a record may hold others of its kind
        fields, hints = dataclasses.fields(kind), typing.get_type_hints(kind)
        definitions[name] = {
            "title": name,
            "description": inspect.cleandoc(kind.__doc__).splitlines()[0],
            "type": "object",
            "properties": {
                field.name: _of(hints[field.name], definitions)
                | _CHECKED.get((kind, field.name), {})
                for field in fields
            },
            "required": [field.name for field in fields if _is_required(field)],
            "additionalProperties": False,
        }
        if kind is Figure:
            definitions[name]["allOf"] = _data_by_kind(definitions)
    return {"$ref": f"#/$defs/{name}"}


def _data_by_kind(definitions: dict[str, Schema]) -> list[Schema]:
    return [
        {
            "if": {"properties": {"kind": {"const": kind}}},
            "then": {"properties": {"data": _of(data, definitions)}},
        }
        for kind, data in FIGURE_DATA.items()
    ]


def _is_required(field: Any) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


_TYPES = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    types.NoneType: "null",
}

# What records check beyond their annotations, as far as it is about one field.
_CHECKED: dict[tuple[type[Record], str], Schema] = {
    (evidence.Evidence, "schema"): {"const": evidence.SCHEMA},
    (evidence.Evidence, "sha256"): {"pattern": "^[0-9a-f]{64}$"},
    (expectations.Expectations, "schema"): {"const": expectations.SCHEMA},
    (Decision, "verdict"): {"enum": list(VERDICTS)},
    (Expectation, "verdict"): {"enum": list(VERDICTS)},
    (CellRecord, "planted"): {"enum": [*PLANTED, None]},
    (Claim, "quantifier"): {"enum": [*QUANTIFIERS, None]},
    (ClaimRow, "quantifier"): {"enum": [*QUANTIFIERS, None]},
    (ClaimRow, "verdict"): {"enum": [*VERDICTS, None]},
    (Comparison, "change"): {"enum": [*CHANGES, None]},
    (Decision, "samples_to_decide"): {"minimum": 0},
    (Expectation, "n"): {"minimum": 0},
    (Criterion, "n"): {"minimum": 0},
    (Criterion, "p_value"): {"minimum": 0, "maximum": 1},
    (Criterion, "level"): {"minimum": 0, "maximum": 1},
    (Figure, "kind"): {"enum": list(FIGURE_DATA)},
}


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1]))

"""JSON Schemas of the files that a run leaves, read off the records' annotations by pydantic."""

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from ivevidence.compare import expectations
from ivevidence.figures.data import FIGURE_DATA
from ivevidence.records import files as evidence
from ivevidence.records.cells import Figure
from ivevidence.records.codec import EvidenceError, Record
from ivevidence.store.whole_files import write_atomic

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
    schema = TypeAdapter(KINDS[kind]).json_schema(schema_generator=_Generator)
    if kind == "evidence":
        schema["required"].append("sha256")
    return {"$schema": _Generator.schema_dialect, **schema}


def write_schemas(folder: Path) -> None:
    """Write `evidence.schema.json` and `expectations.schema.json` into a folder.

    Raises:
        OSError: it cannot be written.
    """
    for kind in KINDS:
        text = json.dumps(schema_of(kind), indent=1) + "\n"
        write_atomic(Path(folder, f"{kind}.schema.json"), text.encode("ascii"))


class _Generator(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> Schema:
        made = super().dataclass_schema(schema)
        if schema["cls"] is Figure:
            made["allOf"] = [
                {
                    "if": {"properties": {"kind": {"const": kind}}},
                    "then": {
                        "properties": {"data": self.generate_inner(TypeAdapter(data).core_schema)}
                    },
                }
                for kind, data in FIGURE_DATA.items()
            ]
        return made


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1]))

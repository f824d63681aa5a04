"""The evidence file of a run: every cell's record, one a line, and the cells that failed."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ivevidence.records.cells import CellError, CellRecord
from ivevidence.records.codec import EvidenceError, Json, Many, Record, to_plain
from ivevidence.records.rows import ClaimRow, claim_rows
from ivevidence.store.whole_files import read_limited, write_atomic

SCHEMA = 3
SIZE_LIMIT = 512 * 2**20

_ADVICE = "the file is damaged or from elsewhere: write it again with this version of ivclaims"
_SEAL = re.compile(rb',\n"sha256": "[0-9a-f]{64}"\}\n\Z')


class Evidence(Record):
    """All of a run: what it was (`run`: date, command, versions, ...), its cells, its errors.

    `rows` are always those of the cells: those of a file are checked for their form, and replaced.
    `sha256` is the digest that closes the file it was read from.
    """

    schema: Annotated[int, Field(json_schema_extra={"const": SCHEMA})]
    run: Mapping[str, Json] = field(default_factory=dict)
    cells: Many[CellRecord] = ()
    errors: Many[CellError] = ()
    rows: Many[ClaimRow] = ()
    sha256: Annotated[str, Field(json_schema_extra={"pattern": "^[0-9a-f]{64}$"})] = ""

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            advice = "it was written by another version of ivclaims: read it with that one"
            raise EvidenceError("schema", self.schema, str(SCHEMA), advice=advice)
        times = Counter(cell.name for cell in self.cells)
        for cell in self.cells:
            if (number := times[cell.name]) > 1:
                raise EvidenceError(f"cells {cell.cell_id}", number, "one", where="Evidence")
        object.__setattr__(self, "rows", claim_rows(self.cells))


def write_evidence(
    path: Path,
    cells: Iterable[CellRecord],
    *,
    errors: Iterable[CellError] = (),
    run: Mapping[str, Any] | None = None,
) -> str:
    """Write a run's evidence to `path`, whole or not at all; return the digest that closes it.

    Raises:
        OSError: the folder cannot be written or the disk is full.
    """
    cells = list(cells)
    lines = ",\n".join(_line(cell.to_json()) for cell in cells)
    rows = ",\n".join(_line(row.to_json()) for row in claim_rows(cells))
    tail = _line([error.to_json() for error in errors])
    head = f'{{"schema": {SCHEMA}, "run": {_line(to_plain(run or {}))}'
    text = f'{head},\n"cells": [\n{lines}\n],\n"errors": {tail},\n"rows": [\n{rows}\n]'
    content = text.encode("ascii")
    write_atomic(Path(path), _sealed(content))
    return _digest(content)


def read_evidence(path: Path) -> Evidence:
    """Return the evidence written at `path`.

    Raises:
        EvidenceError: the file is damaged, too large, or not an evidence file of this schema.
        OSError: there is no such file, or it cannot be read.
    """
    content = read_limited(Path(path), SIZE_LIMIT)
    try:
        data = json.loads(content, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        expected = "JSON without NaN"
        raise EvidenceError(
            "content", str(error), expected, where=str(path), advice=_ADVICE
        ) from None
    if isinstance(data, dict) and data.get("schema", SCHEMA) != SCHEMA:
        data = {"schema": data["schema"]}  # other fields mean nothing under another schema
    elif content != _sealed(_SEAL.sub(b"", content)):
        got = _digest(content)
        raise EvidenceError("sha256", got, "the one at its end", where=str(path), advice=_ADVICE)
    try:
        return Evidence.from_json(data)
    except EvidenceError as error:
        located = error.within("", where=str(path))
        located.advice = located.advice or _ADVICE
        raise located from None


def _sealed(content: bytes) -> bytes:
    """The content of the file, closed by its own digest: a changed digit is still good JSON."""
    return content + f',\n"sha256": "{_digest(content)}"}}\n'.encode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _line(value: Any) -> str:
    return json.dumps(value, allow_nan=False)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")

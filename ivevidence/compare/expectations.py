"""Expectations: the verdicts of a run, kept in a small file that later runs are held to."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from ivevidence.records.cells import CellName, CellRecord, Claim, Expectation, cell_id
from ivevidence.records.codec import EvidenceError, Json, Many, Record, Value, to_plain
from ivevidence.records.digests import digest_json
from ivevidence.store.measurements import Store
from ivevidence.store.whole_files import read_limited, write_atomic

SCHEMA = 3
SIZE_LIMIT = 64 * 2**20

_ADVICE = "write the file again with --write-expect"
_VALUES_OF = "per-sample values of"


class Expectations(Record):
    """What was found, by checkpoint and `claim[task-metric]`.

    `options` and `tasks` (digests) are those of the run that found it: only a run with the same
    ones can be held to it. `rules` are digests of its claims' rules: under another rule, a verdict
    may change without the checkpoint. `written_by` is the version of ivclaims.
    """

    schema: Annotated[int, Field(json_schema_extra={"const": SCHEMA})]
    written_by: str = ""
    options: Mapping[str, Json] = field(default_factory=dict)
    tasks: Mapping[str, str] = field(default_factory=dict)
    rules: Mapping[str, str] = field(default_factory=dict)
    cells: Mapping[str, Mapping[str, Expectation]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            advice = "it was written by another version of ivclaims: " + _ADVICE
            raise EvidenceError("schema", self.schema, str(SCHEMA), advice=advice)

    @property
    def names(self) -> list[CellName]:
        """The cells that there are entries of."""
        return [(name, question) for name, cells in self.cells.items() for question in cells]

    def entry(self, name: CellName) -> Expectation:
        """The entry of a cell that there is one of."""
        return self.cells[name[0]][name[1]]


def expect(cells: Iterable[CellRecord], **about: Any) -> Expectations:
    """The expectations that `cells` meet; `about` is the other fields but `schema`."""
    cells, found = list(cells), dict[str, dict[str, Expectation]]()
    for cell in cells:
        checkpoint, question = cell.name
        found.setdefault(checkpoint, {})[question] = _expectation(cell)
    rules = {cell.claim.name: rule_digest(cell.claim) for cell in cells}
    return Expectations(schema=SCHEMA, cells=found, rules=rules, **about)


def rule_digest(claim: Claim) -> str:
    """Return the digest of what turns a claim's numbers into a verdict, as its words have it."""
    return digest_json({"rule": claim.rule, "thresholds": to_plain(claim.thresholds)})


def write_expectations(path: Path, expectations: Expectations) -> None:
    """Write the file, sorted, an entry a line; whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    data = expectations.to_json()
    checkpoints = [
        f"{json.dumps(checkpoint)}: {{\n" + ",\n".join(_lines(cells)) + "\n}"
        for checkpoint, cells in sorted(data.pop("cells").items())
    ]
    head = ",\n".join(
        f"{json.dumps(name)}: {json.dumps(value, sort_keys=True)}" for name, value in data.items()
    )
    text = f'{{\n{head},\n"cells": {{\n' + ",\n".join(checkpoints) + "\n}\n}\n"
    write_atomic(Path(path), text.encode("ascii"))


def read_expectations(path: Path) -> Expectations:
    """Return the expectations in a file.

    Raises:
        EvidenceError: it is damaged, too large, or not a file of expectations.
        OSError: there is no such file, or it cannot be read.
    """
    try:
        content = read_limited(Path(path), SIZE_LIMIT)
        data = json.loads(content, object_pairs_hook=_once)
    except EvidenceError:
        raise
    except (ValueError, RecursionError) as error:
        raise EvidenceError("content", str(error), "JSON", str(path), _ADVICE) from None
    if isinstance(data, dict) and data.get("schema", SCHEMA) != SCHEMA:
        data = {"schema": data["schema"]}  # other fields mean nothing under another schema
    try:
        return Expectations.from_json(data)
    except EvidenceError as error:
        located = error.within("", where=str(path))
        located.advice = located.advice or _ADVICE
        raise located from None


def keep_values(store: Store, cell: CellRecord) -> None:
    """Keep a cell's per-sample values where a later run can look for them."""
    if cell.per_sample:
        arrays = {
            name: np.array([np.nan if value is None else value for value in values])
            for name, values in cell.per_sample.items()
        }
        store.keep(_values_key(cell), arrays, {"samples": list(cell.samples)})


class KeptValues(Record):
    """Per-sample values of a cell that an entry is about, and the names of the samples."""

    samples: Many[str]
    values: Mapping[str, Many[Value]]

    def __post_init__(self) -> None:
        for name, values in self.values.items():
            if len(values) != len(self.samples):
                got, expected = len(values), f"one a sample ({len(self.samples)})"
                raise EvidenceError(f"values[{name!r}]", got, expected)


def values_of(store: Store, name: CellName, expectation: Expectation) -> KeptValues | None:
    """The values that the cell `name` of an entry rested on, if the store has them.

    Raises:
        EvidenceError: the entry's digest is none, or that of something else in the store.
    """
    found = store.find(expectation.values) if expectation.values else None
    if found is None:
        return None
    of = found.key.get(_VALUES_OF) if isinstance(found.key, Mapping) else None
    if of != cell_id(name):
        got, expected = of or "another measurement", f"the values of {cell_id(name)}"
        raise EvidenceError("values", got, expected, found.digest[:12], _ADVICE)
    values = {key: array.tolist() for key, array in found.arrays.items()}
    return KeptValues.from_json({**found.info, "values": values}, where=found.digest[:12])


def _expectation(cell: CellRecord) -> Expectation:
    values = digest_json(_values_key(cell)) if cell.per_sample else None
    if not cell.decision.criteria:
        return Expectation(cell.decision.verdict, values=values, gate=cell.decision.gate)
    first = cell.decision.criteria[0]
    return Expectation(
        verdict=cell.decision.verdict,
        criterion=first.name,
        estimate=_short(first.estimate),
        low=_short(first.low),
        high=_short(first.high),
        n=first.n,
        values=values,
    )


def _values_key(cell: CellRecord) -> dict[str, Any]:
    values = digest_json({"samples": list(cell.samples), "values": to_plain(cell.per_sample)})
    return {_VALUES_OF: cell.cell_id, "sha256": values}


def _lines(cells: Mapping[str, Any]) -> list[str]:
    return [
        f"  {json.dumps(question)}: "
        + json.dumps({name: value for name, value in entry.items() if value is not None})
        for question, entry in sorted(cells.items())
    ]


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice} is there twice")
    return found

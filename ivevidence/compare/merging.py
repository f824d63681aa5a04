"""Several runs as one: shards of a run, or runs on several machines."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ivevidence.records.cells import CellName, CellRecord
from ivevidence.records.codec import EvidenceError
from ivevidence.records.files import SCHEMA, Evidence

_STEP = re.compile("(?:step|checkpoint)[-_]?[0-9]")
_NUMBER = re.compile("[0-9]{1,18}")
_SUMMED = ("measured", "reused", "seconds", "planned")


def merge(runs: Mapping[str, Evidence]) -> Evidence:
    """Return the evidence of all runs: cells by claim and then in the runs' order, all errors.

    Shards of one run, each of which says in which order the whole one judges, are in that order;
    steps of one training run stand together in the order of their numbers, wherever they were
    judged. A cell that several runs judged is kept once. Facts that are the same in all runs stay
    as they are, counts are added up, and other facts are listed by run.

    Raises:
        EvidenceError: two runs judged the same cell and found something else.
    """
    if len(runs) == 1:
        return next(iter(runs.values()))
    cells, dropped = _cells(runs)
    return Evidence(
        schema=SCHEMA,
        run=_facts(runs, dropped),
        cells=tuple(_ordered(sorted(cells, key=lambda cell: _place(cell, runs)))),
        errors=tuple(error for run in runs.values() for error in run.errors),
    )


def _ordered(cells: Sequence[CellRecord]) -> list[CellRecord]:
    places: dict[tuple[str, str], int] = {}  # where the first step of each training run stands

    def key(at: int) -> tuple[str, int, list[int]]:
        name = cells[at].checkpoint
        if not (step := _STEP.search(name)):
            return cells[at].claim.name, at, []
        training_run = (cells[at].claim.name, cells[at].family or name[: step.start()])
        place = places.setdefault(training_run, at)
        return cells[at].claim.name, place, [int(number) for number in _NUMBER.findall(name)]

    keys = [key(at) for at in range(len(cells))]
    return [cells[at] for at in sorted(range(len(cells)), key=keys.__getitem__)]


def _cells(runs: Mapping[str, Evidence]) -> tuple[list[CellRecord], int]:
    """The cells, each once, and how many there were more than once."""
    cells: list[CellRecord] = []
    first: dict[CellName, tuple[str, CellRecord]] = {}
    dropped = 0
    for name, evidence in runs.items():
        for cell in evidence.cells:
            owner, known = first.setdefault(cell.name, (name, cell))
            if owner == name:
                cells.append(cell)
            elif _found(cell) == _found(known):
                dropped += 1
            else:
                raise EvidenceError(
                    cell.cell_id,
                    f"one cell in {owner}, another in {name}",
                    "the same in all runs",
                    "merging",
                    "leave one run out, or compare them with `diff` or `history`",
                )
    return cells, dropped


def _place(cell: CellRecord, runs: Mapping[str, Evidence]) -> int:
    orders = [run.run.get("order") for run in runs.values()]
    order = orders[0]
    if not isinstance(order, list) or any(other != order for other in orders):
        return 0
    return order.index(cell.checkpoint) if cell.checkpoint in order else len(order)


def _found(cell: CellRecord) -> CellRecord:
    """The cell without what says where it was judged, and against what."""
    return replace(cell, provenance={}, command="", comparison=None)


def _facts(runs: Mapping[str, Evidence], dropped: int) -> dict[str, Any]:
    facts: dict[str, Any] = {"runs": list(runs)}
    names = dict.fromkeys(key for evidence in runs.values() for key in evidence.run)
    for key in names:
        facts[key] = _joint(key, {r: e.run[key] for r, e in runs.items() if key in e.run}, runs)
    if isinstance(facts.get("planned"), int):
        facts["planned"] -= dropped  # planned in several runs, and one cell all the same
    return facts


def _joint(key: str, values: dict[str, Any], runs: Mapping[str, Evidence]) -> Any:
    found = list(values.values())
    if key == "planned":
        found += [len(e.cells) + len(e.errors) for r, e in runs.items() if r not in values]
    if key in _SUMMED and all(isinstance(value, int | float) for value in found):
        return sum(found)
    if key == "interrupted":
        return any(found)
    if key == "missing" and all(isinstance(value, list) for value in found):
        return _once([entry for value in found for entry in value])
    if len(values) == len(runs) and all(value == found[0] for value in found):
        return found[0]
    if key == "date" and all(isinstance(value, str) for value in found):
        return f"{min(found)} to {max(found)}"
    return values


def _once(entries: list[Any]) -> list[Any]:
    kept: list[Any] = []
    for entry in entries:
        if entry not in kept:
            kept.append(entry)
    return kept

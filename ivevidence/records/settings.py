"""What two judgements of a cell were made with: rule, parameters, versions, inputs."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ivevidence.figures.text import NO_VALUE
from ivevidence.records.cells import CellRecord

_SPENT = ("seconds",)
_OF_CHECKPOINT = ("weights", "tokenizer")
_CONTEXT = 12


@dataclass(frozen=True)
class Setting:
    """A setting that differs, as texts before and after; `cells` are the ids of those it is of."""

    name: str
    before: str
    after: str
    cells: tuple[str, ...]


def differing(before: CellRecord, after: CellRecord) -> list[Setting]:
    """Return the settings that two cells do not share: first the rule, then parameters, inputs.

    Weights and tokenizer only count where both are about one checkpoint.
    """
    first, second = dict(_settings(before)), dict(_settings(after))
    other = before.checkpoint != after.checkpoint
    return [
        Setting(name, first.get(name, NO_VALUE), second.get(name, NO_VALUE), (after.cell_id,))
        for name in {**second, **first}
        if first.get(name) != second.get(name) and not (other and name.startswith(_OF_CHECKPOINT))
    ]


def joint(settings: Iterable[Setting]) -> tuple[Setting, ...]:
    """Return each difference once, with all cells that it is of."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for setting in settings:
        key = (setting.name, setting.before, setting.after)
        found.setdefault(key, []).extend(setting.cells)
    return tuple(Setting(*key, tuple(cells)) for key, cells in found.items())


def apart(before: str, after: str, longest: int) -> tuple[str, str]:
    """Return both texts, each at most `longest` long, cut so that where they part is seen."""
    parting = next(
        (i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b),
        min(len(before), len(after)),
    )
    start = max(0, parting - _CONTEXT) if max(len(before), len(after)) > longest else 0
    start = max(0, before.rfind(" ", max(0, start - _CONTEXT), start) + 1, start - _CONTEXT)
    first, second = (_cut(text, start, longest) for text in (before, after))
    return first, second


def _cut(text: str, start: int, longest: int) -> str:
    shown = "…" * bool(start) + text[start:]
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def _settings(cell: CellRecord) -> Iterator[tuple[str, str]]:
    claim = cell.claim
    yield f"rule of {claim.name}", claim.rule
    yield f"estimand of {claim.name}", claim.estimand
    for name, value in claim.thresholds.items():
        yield f"threshold of {claim.name}, {name}", _text(value)
    for name, value in cell.parameters.items():
        yield from _flat(name, value)
    for name, value in cell.provenance.items():
        if name not in _SPENT:
            yield from _flat(name, value)


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict):
        yield name, _text(value)
        return
    for key, item in value.items():
        yield from _flat(f"{name} {key}", item)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

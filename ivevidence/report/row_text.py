"""Rows of claims in words, for the terminal and for pages."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from ivevidence.records.cells import LEVELS
from ivevidence.records.rows import ClaimRow
from ivevidence.report.terminal import aligned, verdict_text

Told = TypeVar("Told")
QUANTIFIED = {"all": "in all cells", "most": "in most cells", "exists": "in at least one cell"}


def row_lines(rows: Iterable[ClaimRow], *, indent: int = 0) -> list[str]:
    """Return a line a claim: in how many cells it holds, what its sentence says, what follows."""
    texts = (
        (row, [row.name, holds_text(row), cells_text(row), f"| {conclusion_text(row)}"])
        for row in rows
    )
    return lines_by_paper(texts, indent=indent)


def lines_by_paper(
    entries: Iterable[tuple[ClaimRow, Sequence[str]]], *, indent: int = 0
) -> list[str]:
    """Return the texts of each row as a line, below its paper's title where there are several."""
    groups = by_paper(entries)
    below = indent + 2 * (len(groups) > 1)
    aligned_lines = iter(aligned([texts for _, group in groups for texts in group], indent=below))
    lines: list[str] = []
    for title, group in groups:
        lines += aligned([[title]], indent=indent) if title else []
        lines += [next(aligned_lines) for _ in group]
    return lines


def by_paper(entries: Iterable[tuple[ClaimRow, Told]]) -> list[tuple[str, list[Told]]]:
    """Return what is said of the rows of each pack, with the title of its paper.

    Where there is one pack, it has no title: nothing is to be told apart.
    """
    packs: dict[str, list[tuple[ClaimRow, Told]]] = {}
    for row, entry in entries:
        packs.setdefault(row.pack, []).append((row, entry))
    return [
        (group[0][0].paper if len(packs) > 1 else "", [entry for _, entry in group])
        for group in packs.values()
    ]


def holds_text(row: ClaimRow) -> str:
    """Return `holds in a to b of m`."""
    if not row.applicable:
        return "no cell applies" if row.not_applicable else "planted cells only"
    number = str(row.least) if row.least == row.most else f"{row.least} to {row.most}"
    return f"holds in {number} of {row.applicable}"


def cells_text(row: ClaimRow) -> str:
    """Return how many cells came out how, each for itself."""
    counts = {
        "supported": row.supported,
        "refuted": row.refuted,
        "inconclusive": row.applicable - row.supported - row.refuted,
        "not applicable": row.not_applicable,
    }
    return ", ".join(f"{number} {verdict}" for verdict, number in counts.items() if number)


def said_text(row: ClaimRow) -> str:
    """Return in how many cells the sentence says that the claim holds."""
    return QUANTIFIED[row.quantifier] if row.quantifier else "not stated in the claim's file"


def level_text(level: str, direction: str | None = None) -> str:
    """Return what a claim's evidence is, and of what."""
    shown = "necessary and sufficient" if direction == "both" else direction
    return f"{level}, {LEVELS[level]}" + (f"; of what is {shown}" if shown else "")


def conclusion_text(row: ClaimRow) -> str:
    """Return what the sentence says and what is to be said of it, in one line, controls last."""
    parts = [said_text(row) + (f": {verdict_text(row.verdict)}" if row.verdict else "")]
    planted = planted_text(row)
    parts += [why_text(row), f"supported of planted ones: {planted}" if planted else ""]
    return "; ".join(filter(None, parts))


def why_text(row: ClaimRow) -> str:
    """Return why the sentence has its verdict; nothing where it has none."""
    cells = row.applicable + row.not_applicable
    if row.verdict == "not_applicable":
        return f"{row.applicable} of {cells} cells apply" if cells else ""
    texts = {
        ("all", "supported"): "certain in every cell",
        ("all", "refuted"): f"it certainly fails in {row.applicable - row.most}+",
        ("all", "inconclusive"): f"not certain in {row.applicable - row.least}; no certain failure",
        ("most", "supported"): "certain in more than half",
        ("most", "refuted"): "it certainly holds in no more than half",
        ("most", "inconclusive"): "more than half, or not: open",
        ("exists", "supported"): f"certain in {row.least}",
        ("exists", "refuted"): "it certainly fails in every cell",
        ("exists", "inconclusive"): "certain in none; not certain to fail in all",
    }
    return texts.get((row.quantifier or "", row.verdict or ""), "")


def planted_text(row: ClaimRow) -> str:
    """Return how many planted cells are supported; nothing without such cells."""
    (supported, true), (mistaken, false) = row.planted_true, row.planted_false
    said = [f"{supported} of {true} true"] if true else []
    said += [f"{mistaken} of {false} look-alikes"] if false else []
    said += [f"{row.planted_other} left out"] if row.planted_other else []
    return ", ".join(said)

"""What differs between two runs: verdicts that changed, values that drifted, cells of one only."""

from collections import Counter
from dataclasses import dataclass

from ivevidence.compare.baselines import Baseline
from ivevidence.compare.expectations import KeptValues, expect
from ivevidence.compare.matching import partners
from ivevidence.records.cells import UNDRIFTED, CellError, CellName, CellRecord, Drift
from ivevidence.records.files import Evidence
from ivevidence.records.rows import ClaimRow
from ivevidence.records.settings import Setting, differing, joint
from ivevidence.report.comparison import mark

FOLLOWS = "follows its gate"
KINDS = ("changed", UNDRIFTED, FOLLOWS, "drifted", "same")


@dataclass(frozen=True)
class CellDifference:
    """One cell before and after; the `comparison` of the latter is with the former."""

    before: CellRecord
    after: CellRecord
    settings: tuple[Setting, ...]

    @property
    def drifts(self) -> tuple[Drift, ...]:
        """How far each series of values moved that both have."""
        return self.after.comparison.drifts if self.after.comparison else ()

    @property
    def kind(self) -> str:
        """One of `KINDS`; a changed verdict says more than a drift."""
        found = mark(self.after)
        return found if found in KINDS else "same"


@dataclass(frozen=True)
class RunDifference:
    """Two runs compared: cells of both in the order of the later one, cells of one only.

    `settings` are those that differ, with the cells that they differ in; `errors`, `rows` (all of
    each run's cells) and `stopped` (whether the run was interrupted) are of the run before and of
    the run after.
    """

    cells: tuple[CellDifference, ...]
    only_before: tuple[CellRecord, ...]
    only_after: tuple[CellRecord, ...]
    settings: tuple[Setting, ...]
    errors: tuple[tuple[CellError, ...], tuple[CellError, ...]]
    rows: tuple[tuple[ClaimRow, ...], tuple[ClaimRow, ...]]
    stopped: tuple[bool, bool]

    def of_kind(self, kind: str) -> list[CellDifference]:
        """Return the cells of a kind."""
        return [cell for cell in self.cells if cell.kind == kind]

    @property
    def replaced(self) -> tuple[str, str] | None:
        """The checkpoint before and the one that took its place, if one did."""
        both = ((cell.before.checkpoint, cell.after.checkpoint) for cell in self.cells)
        return next((pair for pair in both if pair[0] != pair[1]), None)

    @property
    def paired_rows(self) -> list[tuple[ClaimRow, ClaimRow | None, ClaimRow | None]]:
        """Each claim's row, before and after, where there is one; first the one to name it by."""
        first, second = ({row.name: row for row in rows} for rows in self.rows)
        named = {**first, **second}
        order = {**second, **first}
        return [(named[name], first.get(name), second.get(name)) for name in order]

    @property
    def counts(self) -> dict[str, int]:
        """How many cells of each kind there are."""
        found = Counter(cell.kind for cell in self.cells)
        return {kind: found[kind] for kind in KINDS}

    @property
    def is_clean(self) -> bool:
        """Whether no verdict changed (but by chance), nothing failed, and both runs ended."""
        return not (self.of_kind("changed") or any(self.errors) or any(self.stopped))


def compare(before: Evidence, after: Evidence) -> RunDifference:
    """Return what differs between two runs.

    The later run is held to the earlier one as `--expect` would, and may not drift at all.
    """
    first, second = ({cell.name: cell for cell in run.cells} for run in (before, after))

    def values(name: CellName) -> KeptValues:
        return KeptValues(first[name].samples, first[name].per_sample)

    partner = partners(first, second)
    baseline = Baseline("A", expect(before.cells), values, partner, second.keys(), max_drift=0)
    pairs = [(first[partner[name]], cell) for name, cell in second.items() if name in partner]
    cells = tuple(
        CellDifference(old, baseline.compare(new), tuple(differing(old, new))) for old, new in pairs
    )
    return RunDifference(
        cells=cells,
        only_before=tuple(c for name, c in first.items() if name not in partner.values()),
        only_after=tuple(c for name, c in second.items() if name not in partner),
        settings=joint(setting for cell in cells for setting in cell.settings),
        errors=(before.errors, after.errors),
        rows=(before.rows, after.rows),
        stopped=(bool(before.run.get("interrupted")), bool(after.run.get("interrupted"))),
    )

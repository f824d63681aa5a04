"""What differs between two runs: verdicts that changed, values that drifted, cells of one only."""

from collections import Counter
from dataclasses import dataclass

from scipy import stats

from ivevidence.compare.drifts import ALPHA, are_same, drifts, holm
from ivevidence.compare.matching import partners
from ivevidence.records.cells import UNDRIFTED, CellError, CellRecord, Drift
from ivevidence.records.files import Evidence
from ivevidence.records.rows import ClaimRow
from ivevidence.records.settings import Setting, differing, joint

KINDS = ("changed", UNDRIFTED, "drifted", "same")


@dataclass(frozen=True)
class CellDifference:
    """One cell before and after; `adjusted` are the p-values of `drifts`, Holm-adjusted.

    The family that they are adjusted in is all drifts of the two runs.
    """

    before: CellRecord
    after: CellRecord
    drifts: tuple[Drift, ...]
    adjusted: tuple[float, ...]
    settings: tuple[Setting, ...]

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the values whose mean moved, by the adjusted p-values."""
        tested = zip(self.drifts, self.adjusted, strict=True)
        return tuple(drift.name for drift, p_value in tested if p_value < ALPHA)

    @property
    def kind(self) -> str:
        """One of `KINDS`; a changed verdict says more than a drift.

        Without a drift it may be chance, unless the rule changed, no value did, or there is none.
        """
        if self.before.decision.verdict == self.after.decision.verdict:
            return "drifted" if self.drifted else "same"
        may_be_chance = self.drifts and not (
            self.drifted
            or are_same(self.before.per_sample, self.after.per_sample)
            or any(setting.is_of_rule for setting in self.settings)
        )
        return UNDRIFTED if may_be_chance else "changed"


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
    def paired_rows(self) -> dict[str, tuple[ClaimRow | None, ClaimRow | None]]:
        """The row of each claim by its name, before and after, in the order of the later run."""
        first, second = ({row.name: row for row in rows} for rows in self.rows)
        return {name: (first.get(name), second.get(name)) for name in {**second, **first}}

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

    Cells are partners as in `matching.partners`. The drift of every series of per-sample values
    that both have is tested: paired where the samples are the same, by `drifts.drifts`; unpaired
    otherwise, by the larger p-value of `drifts.drifts` and of Mann and Whitney's rank test. All
    p-values together are adjusted by Holm's method.
    """
    first, second = ({cell.name: cell for cell in run.cells} for run in (before, after))
    partner = partners(first, second)
    pairs = [(first[partner[name]], cell) for name, cell in second.items() if name in partner]
    found = [_drifts(*pair) for pair in pairs]
    tested = zip(pairs, found, strict=True)
    adjusted = iter(holm([_p_value(drift, *pair) for pair, each in tested for drift in each]))
    cells = tuple(
        CellDifference(*pair, each, tuple(next(adjusted) for _ in each), tuple(differing(*pair)))
        for pair, each in zip(pairs, found, strict=True)
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


def _drifts(before: CellRecord, after: CellRecord) -> tuple[Drift, ...]:
    return drifts(
        before.per_sample,
        after.per_sample,
        samples_before=before.samples,
        samples_after=after.samples,
    )


def _p_value(drift: Drift, before: CellRecord, after: CellRecord) -> float:
    # Welch's test alone is wrong far too often in the tails that Holm's method looks at, where
    # values are skewed and one run has fewer samples. Ranks have no such tails.
    if drift.paired or drift.p_value >= ALPHA:
        return drift.p_value
    values = (
        [value for value in cell.per_sample[drift.name] if value is not None]
        for cell in (before, after)
    )
    return max(drift.p_value, float(stats.mannwhitneyu(*values).pvalue))

"""Cells held to what they were before: in an earlier run, or in the file that is kept of it."""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from ivevidence.compare.drifts import ALPHA, are_same, drifts, is_beyond
from ivevidence.compare.expectations import Expectations, KeptValues, rule_digest
from ivevidence.records.cells import (
    UNDRIFTED,
    CellName,
    CellRecord,
    Comparison,
    Drift,
    Expectation,
    cell_id,
)


@dataclass(frozen=True)
class Baseline:
    """What a run is held to.

    name: as it is shown. values: those that the cell of an entry rested on, where they are known.
    partners: of each cell that has an entry, whose it is (`matching.partners`). judged: the cells
    that fail by themselves if they changed. max_drift: a drift whose whole interval lies further
    from zero is one; None: none is.
    """

    name: str
    expectations: Expectations
    values: Callable[[CellName], KeptValues | None]
    partners: Mapping[CellName, CellName]
    judged: Container[CellName]
    max_drift: float | None

    @cached_property
    def compared(self) -> int:
        """How many cells have an entry with values: the error of drifts is divided among them."""
        entries = map(self.expectations.entry, self.partners.values())
        return sum(entry.values is not None for entry in entries)

    def compare(self, record: CellRecord) -> CellRecord:
        """The record with what its cell was before, and the drifts since."""
        partner = self.partners.get(record.name)
        if partner is None:
            return replace(record, comparison=Comparison(self.name, None))
        entry, before = self.expectations.entry(partner), self.values(partner)
        moved = self._drifts(before, record)
        limit, follows = self.max_drift, self._followed(record, entry)
        beyond = [d.name for d in moved if limit is not None and is_beyond(d, limit)]
        changed = entry.verdict != record.decision.verdict and not follows
        change = self._change(before, record, moved) if changed else None
        comparison = Comparison(self.name, entry, partner[0], moved, tuple(beyond), follows, change)
        return replace(record, comparison=comparison)

    def _change(
        self, before: KeptValues | None, record: CellRecord, moved: tuple[Drift, ...]
    ) -> str:
        """What came with a changed verdict, one of `CHANGES`.

        Without a drift it may be chance: two equal checkpoints often have two verdicts. Not so
        where the rule changed, or where nothing else did.
        """
        if self.expectations.rules.get(record.claim.name) != rule_digest(record.claim):
            return "another rule"
        if before is None or not moved:
            return "nothing to compare"
        if any(is_beyond(drift, 0) for drift in moved):
            return "with a drift"
        return "same values" if are_same(before.values, record.per_sample) else UNDRIFTED

    def _followed(self, record: CellRecord, entry: Expectation) -> str | None:
        """The cell whose change of verdict is all that changed this one, if there is one.

        A gate's own cell fails by itself, if it is judged in this run and has an entry.
        """
        gate, before = record.decision.gate, entry.gate
        if entry.verdict == record.decision.verdict or bool(gate) == bool(before):
            return None
        now = self._cells[0].get(gate) if gate else self._cells[1].get(before or "")
        if now is None or now not in self.judged:
            return None
        passed = self.expectations.entry(self.partners[now]).verdict == "supported"
        return cell_id(now) if passed == bool(gate) else None

    @cached_property
    def _cells(self) -> tuple[dict[str, CellName], dict[str, CellName]]:
        """The cells that have an entry, by their own ids, and by those of the entries' cells."""
        own = {cell_id(now): now for now in self.partners}
        return own, {cell_id(was): now for now, was in self.partners.items()}

    def _drifts(self, before: KeptValues | None, record: CellRecord) -> tuple[Drift, ...]:
        """Drifts since the entry, if its values are known; bounds hold for the whole run."""
        if before is None:
            return ()
        common = before.values.keys() & record.per_sample.keys()
        return drifts(
            before.values,
            record.per_sample,
            samples_before=before.samples,
            samples_after=record.samples,
            alpha=ALPHA / (max(len(common), 1) * self.compared),
        )

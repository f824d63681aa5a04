"""A run that is held to the expectations of an earlier one."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ivevidence import CellRecord, Comparison, Drift, EvidenceError, Expectation, Store
from ivevidence.compare.drifts import ALPHA, are_same, drifts, is_beyond
from ivevidence.compare.expectations import (
    Expectations,
    KeptValues,
    read_expectations,
    rule_digest,
    values_of,
)
from ivevidence.compare.matching import partners
from ivevidence.records.cells import UNDRIFTED, CellName, cell_id, claim_of


def read_expecting(config: pytest.Config, store: Store) -> "Expecting | None":
    """What the run's options hold it to, if anything.

    Raises: ValueError, there is no such file, or it is damaged, or an option lacks it.
    """
    name, max_drift = config.getoption("--expect"), config.getoption("--max-drift")
    alone = {
        "--expect-new": config.getoption("--expect-new"),
        "--expect-missing": config.getoption("--expect-missing"),
        "--max-drift": max_drift is not None,
    }
    for option, given in alone.items():
        if given and name is None:
            raise ValueError(f"{option} is about --expect FILE, which is not given [command line]")
    if name is None:
        return None
    if max_drift is not None and not 0 <= max_drift < math.inf:
        raise ValueError(f"--max-drift={max_drift}, but should be at least 0 [command line]")
    try:
        expectations = read_expectations(Path(config.invocation_params.dir, name))
    except OSError as error:
        raise ValueError(
            f"--expect={name}, but should be a file of expectations [{error.strerror}]; "
            "--write-expect writes one"
        ) from None
    return Expecting(
        Path(name),
        expectations,
        store,
        allow_new=alone["--expect-new"],
        allow_missing=alone["--expect-missing"],
        max_drift=max_drift,
    )


class Expecting:
    """What is expected of each cell of a run.

    allow_new, allow_missing: a cell without an entry, or an entry without a cell, is no failure.
    max_drift: a drift whose whole interval lies further from zero is one; None: none is.
    """

    def __init__(
        self,
        path: Path,
        expectations: Expectations,
        store: Store,
        *,
        allow_new: bool,
        allow_missing: bool,
        max_drift: float | None,
    ) -> None:
        self.path, self.expectations, self.store = path, expectations, store
        self.allow_new, self.allow_missing, self.max_drift = allow_new, allow_missing, max_drift
        self.missing: tuple[CellName, ...] = ()
        self.selected: frozenset[CellName] = frozenset()  # cells that this process may judge
        self._partners: dict[CellName, CellName] = {}
        self._printed: frozenset[CellName] = frozenset()
        self._claims = {claim_of(name) for name in expectations.names}

    def check(
        self, *, options: Mapping[str, Any] | None = None, tasks: Mapping[str, str] | None = None
    ) -> None:
        """Refuse to hold a run to what was found with other options or task data.

        Without options, nothing is measured that would depend on them. Values in the store must be
        those of the entry's cell.

        Raises: ValueError, with what differs.
        """
        for cell in self.expectations.names:
            self._values(cell)
        if options is None or tasks is None:
            return
        advice = "judge as it was written, or write another file with --write-expect"
        for name, expected in self.expectations.options.items():
            if options.get(name) != expected:
                raise ValueError(
                    f"{name}={options.get(name)}, but should be {expected} [{self.path}]; {advice}"
                )
        for name in tasks.keys() & self.expectations.tasks.keys():
            if tasks[name] != (expected := self.expectations.tasks[name]):
                raise ValueError(
                    f"digest of task {name}={tasks[name][:12]}, but should be {expected[:12]} "
                    f"[{self.path}]; its data or wording are others: {advice}"
                )

    def plan(self, names: Iterable[CellName], *, printed: Iterable[CellName] = frozenset()) -> None:
        """Find the entry of every cell that was collected, whether it is selected or not.

        printed: those on published numbers.
        """
        self._printed = frozenset(printed)
        self._partners = partners(self.expectations.names, names)
        used = set(self._partners.values())
        self.missing = tuple(name for name in self.expectations.names if name not in used)

    @property
    def compared(self) -> int:
        """How many cells have an entry with values: the error of drifts is divided among them."""
        entries = map(self.expectations.entry, self._partners.values())
        return sum(entry.values is not None for entry in entries)

    def may_be_new(self, name: CellName) -> bool:
        """Whether a cell without an entry is no failure.

        Cells that a release brings say nothing of the checkpoints that an older file is about:
        those on published numbers, and those of claims that the file knows nothing of.
        """
        return self.allow_new or name in self._printed or claim_of(name) not in self._claims

    def compare(self, record: CellRecord) -> CellRecord:
        """The record with what was expected of its cell, and the drifts since."""
        partner = self._partners.get(record.name)
        if partner is None:
            return replace(record, comparison=Comparison(str(self.path), None))
        entry = self.expectations.entry(partner)
        before = self._values(partner)
        moved = self._drifts(before, record)
        limit, follows = self.max_drift, self._followed(record, entry)
        beyond = [d.name for d in moved if limit is not None and is_beyond(d, limit)]
        changed = entry.verdict != record.decision.verdict and not follows
        change = self._change(before, record, moved) if changed else None
        comparison = Comparison(
            str(self.path), entry, partner[0], moved, tuple(beyond), follows, change
        )
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
        for now, was in self._partners.items():
            if (
                now in self.selected
                and gate in (None, cell_id(now))
                and before in (None, cell_id(was))
            ):
                passed = self.expectations.entry(was).verdict == "supported"
                return cell_id(now) if passed == bool(gate) else None
        return None

    def _drifts(self, before: KeptValues | None, record: CellRecord) -> tuple[Drift, ...]:
        """Drifts since the entry, if the store has its values; bounds hold for the whole run."""
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

    def _values(self, name: CellName) -> KeptValues | None:
        try:
            return values_of(self.store, name, self.expectations.entry(name))
        except EvidenceError as error:
            raise error.within(f"cells[{name[0]!r}][{name[1]!r}]", where=str(self.path)) from None

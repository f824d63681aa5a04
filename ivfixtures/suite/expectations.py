"""A run that is held to the expectations of an earlier one."""

import math
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ivevidence import EvidenceError, Store
from ivevidence.compare.baselines import Baseline
from ivevidence.compare.expectations import (
    Expectations,
    KeptValues,
    read_expectations,
    values_of,
)
from ivevidence.compare.matching import partners
from ivevidence.records.cells import CellName, claim_of


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
        self,
        packs: Collection[str] = (),
        *,
        options: Mapping[str, Any] | None = None,
        tasks: Mapping[str, str] | None = None,
    ) -> None:
        """Refuse to hold a run to what was found with other options, settings or task data.

        packs: those that are judged; settings of others do not matter. Without options, nothing is
        measured that would depend on them. Values in the store must be those of the entry's cell.

        Raises: ValueError, with what differs.
        """
        for cell in self.expectations.names:
            self._values(cell)
        if options is None or tasks is None:
            return
        advice = "judge as it was written, or write another file with --write-expect"
        for name, expected in self.expectations.options.items():
            pack, is_setting, _ = name.partition(".")
            if is_setting and pack not in packs:
                continue
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

        Entries of packs that are not judged are not missing. printed: those on published numbers.
        """
        names = list(names)
        self._printed = frozenset(printed)
        self._partners = partners(self.expectations.names, names)
        used = set(self._partners.values())
        packs = {_pack(name) for name in names}
        self.missing = tuple(
            name for name in self.expectations.names if name not in used and _pack(name) in packs
        )

    @property
    def baseline(self) -> Baseline:
        """What cells are compared with."""
        return Baseline(
            str(self.path),
            self.expectations,
            self._values,
            self._partners,
            self.selected,
            self.max_drift,
        )

    def may_be_new(self, name: CellName) -> bool:
        """Whether a cell without an entry is no failure.

        Cells that a release brings say nothing of the checkpoints that an older file is about:
        those on published numbers, and those of claims that the file knows nothing of.
        """
        return self.allow_new or name in self._printed or claim_of(name) not in self._claims

    def _values(self, name: CellName) -> KeptValues | None:
        try:
            return values_of(self.store, name, self.expectations.entry(name))
        except EvidenceError as error:
            raise error.within(f"cells[{name[0]!r}][{name[1]!r}]", where=str(self.path)) from None


def _pack(name: CellName) -> str:
    """The pack of a cell's claim."""
    return claim_of(name).partition("/")[0]

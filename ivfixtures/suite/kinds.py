"""Kinds of data that claims are judged on; torch is imported only where one is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Literal

from ivfixtures.errors import error_line
from ivfixtures.suite.subjects import Subject, measured_subjects

if TYPE_CHECKING:
    import pytest

    from ivfixtures.suite.cells import Cell
    from ivfixtures.suite.options import Options
    from ivfixtures.suite.run import Run


@dataclass(frozen=True)
class Instructed:
    """Tasks: an instruction and queries, as prompts with the instruction and without.

    per: what one cell is made of, as `measured_subjects` says.
    """

    per: Literal["checkpoint", "pair", "family"] = "checkpoint"

    def subjects(
        self, claim: str, metrics: Sequence[str | None], options: Callable[[], Options]
    ) -> list[Subject]:
        """A cell of every checkpoint, task and metric, or as `per` says."""
        return measured_subjects(claim, self.per, metrics, options())

    def cell(
        self, marker: pytest.Mark, subject: Subject, selection: Sequence[str], run: Run
    ) -> Cell:
        """The cell with the data of each of its checkpoints and tasks."""
        from ivfixtures.suite.cells import Cell

        parts = [run.instructed(*part) for part in product(subject.checkpoints, subject.tasks)]
        return Cell(marker, subject, parts, selection, run)


@dataclass(frozen=True)
class Pairs:
    """Pairs of prompts of equal length from a task's items: clean, and corrupt with another answer.

    tasks: names of those that pairs are made of.
    """

    tasks: tuple[str, ...]

    def __post_init__(self) -> None:
        if isinstance(self.tasks, str):
            expected, remedy = "a tuple of names", f"write ({self.tasks!r},)"
            raise ValueError(error_line("tasks", repr(self.tasks), expected, "Pairs", remedy))

    def subjects(
        self, claim: str, metrics: Sequence[str | None], options: Callable[[], Options]
    ) -> list[Subject]:
        """A cell of every checkpoint, one of these tasks, and metric."""
        every = measured_subjects(claim, "checkpoint", metrics, options())
        return [subject for subject in every if subject.task in self.tasks]

    def cell(
        self, marker: pytest.Mark, subject: Subject, selection: Sequence[str], run: Run
    ) -> Cell:
        """The cell with the pairs of its checkpoint and task."""
        from ivfixtures.data.paired import PairedData
        from ivfixtures.suite.cells import Cell

        (checkpoint,), (task,) = subject.checkpoints, subject.tasks
        data = run.kept(PairedData, checkpoint, task)
        return Cell(marker, subject, [data], selection, run)

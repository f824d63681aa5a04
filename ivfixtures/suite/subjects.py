"""Subjects: what each cell of a claim is about, planned from the run's options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, Protocol

from ivevidence.records.cells import CellRecord

if TYPE_CHECKING:
    import pytest

    from ivfixtures.checkpoints.resolving import Checkpoint
    from ivfixtures.data.tasks import Task
    from ivfixtures.suite.options import Options
    from ivfixtures.suite.run import Run


@dataclass(frozen=True)
class Subject:
    """What one cell is about.

    name, family, stage, task, metric: what its record shows. id: its name in test ids. place: its
    place among the cells of the claim. group: cells of one group are judged by one process, one
    after the other. selection: the options that select it. checkpoints, tasks: whose measurements
    it is given, every checkpoint with every task; none where it is about printed numbers. planted:
    as `CellRecord.planted`.
    """

    name: str
    family: str | None
    stage: str
    task: str
    id: str
    group: str
    metric: str | None = None
    place: int = 0
    selection: tuple[str, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()
    tasks: tuple[Task, ...] = ()
    planted: str | None = None


class JudgedCell(Protocol):
    """A cell while it is judged."""

    record: CellRecord | None

    @property
    def subject(self) -> Subject:
        """What it is about."""

    def arguments(self) -> dict[str, Any]:
        """The results of the claim's needs, by name."""


class Kind(Protocol):
    """A kind of data: what there is a cell of, and what a cell's test is given."""

    def subjects(
        self, claim: str, metrics: Sequence[str | None], options: Callable[[], Options]
    ) -> Sequence[Subject]:
        """What the cells of a claim are about; of printed numbers, `checkpoints` are none.

        options: reads the run's, where checkpoints are measured.
        """

    def cell(
        self, marker: pytest.Mark, subject: Subject, selection: Sequence[str], run: Run
    ) -> JudgedCell:
        """What the test is given. selection: what selects it on a command line."""


def measured_subjects(
    claim: str, per: str, metrics: Sequence[str | None], options: Options
) -> list[Subject]:
    """The cells of a claim that measures, in the order of checkpoints, tasks and metrics.

    Checkpoints that were made for other claims or tasks are left out.
    per: what one cell is made of.
        `checkpoint`: one checkpoint and task.
        `pair`: one checkpoint and two tasks, each the other's contrast; the first names the cell.
        `family`: the checkpoints of one family and one task. Checkpoints that were named singly
            make families of those that belong together.
    """
    return [
        replace(
            subject,
            metric=metric,
            id=f"{subject.id}-{metric}" if metric else subject.id,
            planted=_planted(claim, metric, subject.checkpoints),
        )
        for subject in _PLANS[per](options)
        for metric in metrics
        if all(not c.tasks or _truth(claim, metric, c) is not None for c in subject.checkpoints)
    ]


def _truth(claim: str, metric: str | None, checkpoint: Checkpoint) -> bool | None:
    """Whether a claim holds by construction; None where that is not known."""
    planted = dict(checkpoint.planted or ())
    return planted.get(f"{claim}-{metric}", planted.get(claim))


def _planted(claim: str, metric: str | None, checkpoints: Sequence[Checkpoint]) -> str | None:
    """As `CellRecord.planted`; what is claimed of a family is claimed of each of its stages."""
    if all(checkpoint.planted is None for checkpoint in checkpoints):
        return None
    truths = {_truth(claim, metric, checkpoint) for checkpoint in checkpoints}
    if None in truths:
        return "unknown"
    return "holds" if all(truths) else "fails"


def _of_checkpoint(checkpoint: Checkpoint, tasks: tuple[Task, ...]) -> Subject:
    return Subject(
        name=checkpoint.name,
        family=checkpoint.family,
        stage=checkpoint.stage,
        task="/".join(task.name for task in tasks),
        id="-".join([checkpoint.label, *(task.name for task in tasks)]),
        group=checkpoint.label,
        selection=("--checkpoint", checkpoint.name),
        checkpoints=(checkpoint,),
        tasks=tasks,
    )


def _per_checkpoint(options: Options) -> list[Subject]:
    return [
        _of_checkpoint(c, (task,))
        for c in options.checkpoints
        for task in options.tasks_of(c).values()
    ]


def _per_pair(options: Options) -> list[Subject]:
    return [
        _of_checkpoint(c, pair)
        for c in options.checkpoints
        for pair in combinations(options.tasks_of(c).values(), 2)
        if pair[0].contrast == pair[1].name
    ]


def _per_family(options: Options) -> list[Subject]:
    found = []
    for name, members in options.families.items():
        alone = len(members) == 1
        for task in options.tasks_of(members[0]).values():
            found.append(
                Subject(
                    name=name,
                    family=members[0].family if alone else name,
                    stage=", ".join(checkpoint.stage for checkpoint in members),
                    task=task.name,
                    id=f"{members[0].label if alone else name}-{task.name}",
                    # Judged where its last checkpoint was measured, and after it.
                    group=members[-1].label,
                    selection=tuple(word for c in members for word in ("--checkpoint", c.name)),
                    checkpoints=members,
                    tasks=(task,),
                )
            )
    return found


_PLANS: dict[str, Callable[[Options], list[Subject]]] = {
    "checkpoint": _per_checkpoint,
    "pair": _per_pair,
    "family": _per_family,
}

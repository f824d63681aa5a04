"""Subjects: what each cell of a claim is about, planned from the run's options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import TYPE_CHECKING

from ivevidence.records import WHOLE
from ivfixtures.published import MODELS, PaperModel, pair_tests

if TYPE_CHECKING:
    from ivfixtures.checkpoints import Checkpoint
    from ivfixtures.options import Options
    from ivfixtures.tasks import Task

PUBLISHED = "published"


@dataclass(frozen=True)
class Subject:
    """What one cell is about.

    name, family, stage, task, metric: what its record shows. id: its name in test ids. place: its
    place among the cells of the claim. group: cells of one group are judged by one process, one
    after the other. selection: the options that select it. checkpoints, tasks: whose measurements
    it is given, every checkpoint with every task; none where it is about published numbers. model:
    whose numbers; None: those of all. planted: as `CellRecord.planted`.
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
    model: PaperModel | None = None
    planted: str | None = None


def published_subjects() -> list[Subject]:
    """A cell for all of Tables 5-8, and one for each of their columns."""
    columns = {(test.model, test.task) for test in pair_tests()}
    tasks = dict.fromkeys(test.task for test in pair_tests())
    name = f"olmo2-{PUBLISHED}"
    whole = Subject(name, "olmo2", WHOLE, WHOLE, id=f"{name}-{WHOLE}", group=PUBLISHED)
    return [whole] + [
        Subject(
            name=model.name,
            family=model.family,
            stage=model.stage,
            task=task,
            id=f"{model.name}-{task}",
            group=PUBLISHED,
            model=model,
        )
        for model, task in product(MODELS, tasks)
        if (model, task) in columns
    ]


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

    Raises: ValueError if `per` is none of these.
    """
    if per not in _PLANS:
        raise ValueError(
            f"per={per!r}, but should be one of {', '.join((*_PLANS, PUBLISHED))} [marker claim]; "
            "correct the claim's marker"
        )
    return [
        replace(
            subject,
            metric=metric,
            id=f"{subject.id}-{metric}" if metric else subject.id,
            planted=_planted(claim, subject.checkpoints),
        )
        for subject in _PLANS[per](options)
        for metric in metrics
        if all(_is_judged(claim, c, task) for c in subject.checkpoints for task in subject.tasks)
    ]


def _is_judged(claim: str, checkpoint: Checkpoint, task: Task) -> bool:
    return not checkpoint.tasks or (
        claim in dict(checkpoint.planted or ()) and task.name in checkpoint.tasks
    )


def _planted(claim: str, checkpoints: Sequence[Checkpoint]) -> str | None:
    if all(checkpoint.planted is None for checkpoint in checkpoints):
        return None
    truths = {dict(checkpoint.planted or ()).get(claim) for checkpoint in checkpoints}
    if len(truths) > 1 or None in truths:
        return "unknown"
    return "holds" if truths == {True} else "fails"


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
    tasks = options.tasks.values()
    return [_of_checkpoint(c, (task,)) for c, task in product(options.checkpoints, tasks)]


def _per_pair(options: Options) -> list[Subject]:
    pairs = [(a, b) for a, b in combinations(options.tasks.values(), 2) if a.contrast == b.name]
    return [_of_checkpoint(c, pair) for c, pair in product(options.checkpoints, pairs)]


def _per_family(options: Options) -> list[Subject]:
    found = []
    for (name, members), task in product(options.families.items(), options.tasks.values()):
        alone = len(members) == 1
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

"""The same claims over checkpoints: a training run's, a family's, or several runs of one."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ivevidence.figures.data import Estimate, Intervals
from ivevidence.records.cells import CellRecord, Claim, Criterion, Figure
from ivevidence.records.files import Evidence

Place = tuple[str, str]
"""A run's name and a checkpoint of it."""


@dataclass(frozen=True)
class Trace:
    """A claim on one task (and metric): one cell a place, None where there is none.

    `criterion` is the name of what is followed from place to place, None without criteria.
    """

    task: str
    metric: str | None
    criterion: str | None
    cells: tuple[CellRecord | None, ...]

    @property
    def name(self) -> str:
        """Task and metric."""
        return self.task if self.metric is None else f"{self.task} · {self.metric}"

    @property
    def criteria(self) -> tuple[Criterion | None, ...]:
        """The criterion of that name of each cell, None where it has none."""
        return tuple(_named(cell, self.criterion) for cell in self.cells)


@dataclass(frozen=True)
class ClaimHistory:
    """A claim over the places that it was judged at, in order; `labels` and `groups` are theirs.

    Places of one group follow one another: stages of a family, or steps of a training run.
    """

    claim: Claim
    places: tuple[Place, ...]
    labels: tuple[str, ...]
    groups: tuple[int, ...]
    traces: tuple[Trace, ...]


def histories(runs: Mapping[str, Evidence]) -> list[ClaimHistory]:
    """Return each claim's history, places in the order of runs and of each run's own cells."""
    claims: dict[str, dict[Place, list[CellRecord]]] = {}
    for run, evidence in runs.items():
        for cell in evidence.cells:
            places = claims.setdefault(cell.claim.name, {})
            places.setdefault((run, cell.checkpoint), []).append(cell)
    return [_claim_history(places) for _, places in sorted(claims.items())]


def history_figure(
    title: str,
    caption: str,
    labels: Sequence[str],
    trace: Trace,
    groups: Sequence[int] | None = None,
) -> Figure:
    """Return the figure of a trace; places of one group are joined, all of them without groups."""
    estimates = [
        Estimate.of(label, criterion, cell.decision.verdict if cell else None, group)
        for label, cell, criterion, group in zip(
            labels, trace.cells, trace.criteria, groups or [0] * len(labels), strict=True
        )
    ]
    unit = next((criterion.unit for criterion in trace.criteria if criterion), "")
    data = Intervals(tuple(estimates), unit, one_scale=True)
    return Figure("intervals", title, caption, data.to_json())


def followed(cells: Iterable[CellRecord | None]) -> str | None:
    """Return the name of the criterion that most cells put first; of two, what more cells have."""
    decisions = [cell.decision for cell in cells if cell and cell.decision.criteria]
    first = Counter(decision.criteria[0].name for decision in decisions)
    anywhere = Counter(name for d in decisions for name in {c.name for c in d.criteria})
    return max(first, key=lambda name: (first[name], anywhere[name]), default=None)


def _claim_history(places: Mapping[Place, list[CellRecord]]) -> ClaimHistory:
    questions = dict.fromkeys((c.task, c.metric) for cells in places.values() for c in cells)
    traces = []
    for task, metric in questions:
        cells = [_asked(found, task, metric) for found in places.values()]
        traces.append(Trace(task, metric, followed(cells), tuple(cells)))
    latest = list(places.values())[-1][0].claim
    return ClaimHistory(
        claim=latest,
        places=tuple(places),
        labels=tuple(_labels(list(places))),
        groups=tuple(_groups(places)),
        traces=tuple(traces),
    )


def _asked(cells: Sequence[CellRecord], task: str, metric: str | None) -> CellRecord | None:
    return next((cell for cell in cells if (cell.task, cell.metric) == (task, metric)), None)


def _labels(places: Sequence[Place]) -> list[str]:
    runs_of = Counter(checkpoint for _, checkpoint in places)
    return [
        checkpoint if runs_of[checkpoint] == 1 else f"{checkpoint} ({run})"
        for run, checkpoint in places
    ]


def _groups(places: Mapping[Place, list[CellRecord]]) -> list[int]:
    """A number a place: that of its family, within its run where runs hold several checkpoints."""
    several = len({run for run, _ in places}) < len(places)
    keys = [(run if several else "", cells[0].family or "") for (run, _), cells in places.items()]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return [numbers[key] for key in keys]


def _named(cell: CellRecord | None, name: str | None) -> Criterion | None:
    criteria = cell.decision.criteria if cell else ()
    return next((criterion for criterion in criteria if criterion.name == name), None)

"""Published tables as a kind of data: nothing is measured, so that no checkpoint is needed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, NoReturn, cast

from claims.instruction_vectors.published import MODELS, PaperModel, pair_tests
from claims.instruction_vectors.published.audit import SAMPLES
from claims.instruction_vectors.published.files import file_digests
from ivevidence import CellRecord, Claim, Decision, Figure, Table
from ivevidence.records.cells import WHOLE
from ivfixtures.measuring.environment import environment
from ivfixtures.suite.provenance import command
from ivfixtures.suite.subjects import Subject

if TYPE_CHECKING:
    import pytest

    from ivfixtures.suite.run import Run

GROUP = "published"
LIBRARIES = ("ivclaims", "numpy", "scipy")
SOURCE = "arXiv:2602.07930v2 (CC BY 4.0), as packaged in claims/instruction_vectors/published/data"


@dataclass(frozen=True)
class PublishedColumn(Subject):
    """A model and task of Tables 5-8, or all of them. model: whose numbers; None: those of all."""

    model: PaperModel | None = None


class PublishedTables:
    """Tables 5-8 as what a claim is judged on: a cell for all, and one for each column."""

    def subjects(
        self, claim: str, metrics: Sequence[str | None], options: object
    ) -> list[PublishedColumn]:
        """What the cells are about."""
        columns = {(test.model, test.task) for test in pair_tests()}
        tasks = dict.fromkeys(test.task for test in pair_tests())
        name = f"olmo2-{GROUP}"
        whole = PublishedColumn(name, "olmo2", WHOLE, WHOLE, id=f"{name}-{WHOLE}", group=GROUP)
        return [whole] + [
            PublishedColumn(
                name=model.name,
                family=model.family,
                stage=model.stage,
                task=task,
                id=f"{model.name}-{task}",
                group=GROUP,
                model=model,
            )
            for model, task in product(MODELS, tasks)
            if (model, task) in columns
        ]

    def cell(
        self, marker: pytest.Mark, subject: Subject, selection: Sequence[str], run: Run
    ) -> PublishedCell:
        """What the claim's test is given."""
        return PublishedCell(marker.args[0], cast(PublishedColumn, subject), selection, run)


class PublishedCell:
    """What the test of a claim on published numbers is given: which of them, and how to conclude.

    model: whose numbers; None where the cell is about all models and tasks.
    """

    def __init__(
        self, claim: Claim, subject: PublishedColumn, selection: Sequence[str], run: Run
    ) -> None:
        self.claim, self.subject, self.run = claim, subject, run
        self.selection = selection
        self.model, self.task = subject.model, subject.task
        self.record: CellRecord | None = None
        self._start = time.perf_counter()

    def arguments(self) -> dict[str, Any]:
        """None: nothing is measured."""
        return {}

    def conclude(
        self,
        decision: Decision,
        *,
        figures: Sequence[Figure] = (),
        tables: Sequence[Table] = (),
        notes: Sequence[str] = (),
    ) -> NoReturn:
        """Keep the evidence and end the test, as `Cell.conclude` does."""
        record = CellRecord(
            claim=self.claim,
            checkpoint=self.subject.name,
            family=self.subject.family,
            stage=self.subject.stage,
            task=self.subject.task,
            metric=self.subject.metric,
            decision=decision,
            figures=tuple(figures),
            tables=tuple(tables),
            notes=tuple(notes),
            parameters={"samples": SAMPLES, **self._model()},
            provenance={
                "source": SOURCE,
                **{f"SHA-256 of {name}": digest for name, digest in file_digests().items()},
                **environment(LIBRARIES),
                "seconds": time.perf_counter() - self._start,
            },
            command=command(self.selection),
        )
        self.record = self.run.conclusions.compare(record)
        self.run.conclusions.tell(self.record)

    def _model(self) -> dict[str, str]:
        return {"model of the paper": self.model.hub_id} if self.model else {}

"""A cell on published numbers: nothing is measured, so it needs no checkpoint."""

import time
from collections.abc import Sequence
from typing import NoReturn

from claims.instruction_vectors.published.audit import SAMPLES
from claims.instruction_vectors.published.files import file_digests
from ivevidence import CellRecord, Claim, Decision, Figure, Table
from ivfixtures.suite.provenance import command, environment
from ivfixtures.suite.subjects import Subject
from ivfixtures.suite.verdicts import Hearing

LIBRARIES = ("ivclaims", "numpy", "scipy")
SOURCE = "arXiv:2602.07930v2 (CC BY 4.0), as packaged in claims/instruction_vectors/published/data"


class PublishedCell:
    """What the test of a claim on published numbers is given: which of them, and how to conclude.

    model: whose numbers; None where the cell is about all models and tasks.
    """

    def __init__(
        self, claim: Claim, subject: Subject, selection: Sequence[str], hearing: Hearing
    ) -> None:
        self.claim, self.subject, self.hearing = claim, subject, hearing
        self.selection = selection
        self.model, self.task = subject.model, subject.task
        self.record: CellRecord | None = None
        self._start = time.perf_counter()

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
        self.record = self.hearing.compare(record)
        self.hearing.tell(self.record)

    def _model(self) -> dict[str, str]:
        return {"model of the paper": self.model.hub_id} if self.model else {}

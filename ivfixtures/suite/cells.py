"""Cells: one claim on one subject, from what it asks for to the record."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np
import pytest
from jaxtyping import Float

from ivevidence import CellRecord, Decision, Figure, Measurement, Table
from ivfixtures.data.of_checkpoint import CheckpointData
from ivfixtures.measuring import origins
from ivfixtures.measuring.inquiry import Answer, Closed, Declared, Inquiry
from ivfixtures.measuring.measurements import Reader
from ivfixtures.suite.papers import paper_of
from ivfixtures.suite.provenance import command, prompting, provenance
from ivfixtures.suite.run import Run
from ivfixtures.suite.subjects import Subject
from ivfixtures.suite.verdicts import PASSED_OVER


class Cell(Inquiry):
    """What a claim's test is given beside the results of its needs: the data, and `conclude`.

    parts: the data of each checkpoint and task, and `data` that of the first. settings: of the
    claim's pack. seed: of resampling.
    """

    def __init__(
        self,
        marker: pytest.Mark,
        subject: Subject,
        parts: Sequence[Any],
        selection: Sequence[str],
        run: Run,
    ) -> None:
        (self.claim,) = marker.args
        asked = {name: marker.kwargs[name] for name in ("gates", "needs", "then")}
        super().__init__(
            Declared(**asked),
            parts,
            run.settings(paper_of(self.claim)),
            metric=subject.metric,
            seed=run.options.seed,
            anyway=run.options.measure_anyway,
        )
        self.subject, self.run = subject, run
        self._texts = run.texts(paper_of(self.claim))
        pack = [word for name, text in self._texts.items() for word in ("--set", f"{name}={text}")]
        # The words of a command line that judge it again.
        self.selection = (*selection, *subject.selection, *run.options.arguments(), *pack)
        self.record: CellRecord | None = None
        self._start = time.perf_counter()
        self._reader = Reader(run.measurements)
        self._answer = Answer([])

    def arguments(self) -> dict[str, Any]:
        """The results of the claim's needs by name; where a gate is closed, the cell concludes."""
        self._answer = self.ask(self._reader)
        if closed := self._answer.closed:
            self._end_at(closed)
        return self._answer.arguments

    def conclude(
        self,
        decision: Decision,
        *,
        chosen: str = "",
        figures: Sequence[Figure] = (),
        tables: Sequence[Table] = (),
        controls: Sequence[Table] = (),
        per_sample: Mapping[str, Float[np.ndarray, " sample"]] | None = None,
        samples: Sequence[str] | None = None,
    ) -> NoReturn:
        """Keep the evidence and end the test as `Conclusions.tell` says.

        chosen: what the verdict is on, where the claim picked that. samples: names of the samples
        of `per_sample`; default: those of the data.
        """
        subject, shown = self.subject, self._shown_by_part()
        made = self._made()
        record = CellRecord(
            claim=self.claim,
            checkpoint=subject.name,
            family=subject.family,
            stage=subject.stage,
            task=subject.task,
            metric=subject.metric,
            planted=subject.planted,
            decision=replace(decision, chosen=chosen),
            figures=tuple(figures),
            tables=(
                *tables,
                *(
                    replace(table, title=self._of(part) + table.title)
                    for part, results in shown
                    for table in part.tables(results)
                ),
            ),
            prompts=tuple(
                prompt for part, results in shown[:1] for prompt in part.prompts(results)
            ),
            controls=tuple(controls),
            notes=(
                *(self._of(part) + note for part in self.parts for note in part.notes),
                *map(self._passed, self._answer.passed),
                *origins.differences(made),
            ),
            measurements={role: measurement.digest for role, measurement in made.items()},
            samples=tuple(samples or self.data.sample_names),
            per_sample={name: tuple(v.tolist()) for name, v in (per_sample or {}).items()},
            parameters={**self.data.parameters, **self._texts, **prompting(self.parts)},
            provenance={
                **provenance(self.parts, self.run.options),
                origins.ORIGIN: origins.together(made),
                "seconds": time.perf_counter() - self._start,
            },
            command=command(self.selection),
        )
        self.record = self.run.conclusions.compare(record)
        self.run.conclusions.tell(self.record)

    def _end_at(self, closed: Closed) -> NoReturn:
        """Conclude with a gate's decision, named by its part where there are several."""
        decision, several = closed.decision, closed.data is not None and len(self.parts) > 1
        reason = "; ".join(filter(None, [decision.reason, closed.advice]))
        if several and not decision.gate:  # another cell's decision says whose it is
            reason = self._of(closed.data) + reason
        # Values of one part are not the cell's.
        values = {} if several else closed.per_sample
        self.conclude(replace(decision, reason=reason), tables=closed.tables, per_sample=values)

    def _passed(self, closed: Closed) -> str:
        at = f"gate of {closed.gate} {PASSED_OVER}: {closed.decision.reason}"
        return self._of(closed.data) + at

    def _shown_by_part(self) -> list[tuple[Any, Mapping[str, Any]]]:
        """The parts with what every cell shows of them, where it could be measured."""
        return [
            (part, results)
            for part, results in zip(self.parts, self._answer.shown, strict=False)
            if results or not part.shown
        ]

    def _made(self) -> dict[str, Measurement]:
        """The measurements that were asked for, by part and role."""
        found: dict[str, Measurement] = {}
        for request, measurement in self._reader.made.items():
            role = self._of(request.data) + request.method.role
            if found.setdefault(role, measurement).digest != measurement.digest:
                found[f"{role} {measurement.digest[:12]}"] = measurement
        for part in self.parts:
            found |= {self._of(part) + role: made for role, made in part.judgements.items()}
        return found

    def _of(self, data: CheckpointData | None) -> str:
        """What to put before what is one part's, or other data's; nothing if there is one part."""
        if data in self.parts:
            several = len(self.parts) > 1
            return f"{data.checkpoint.name}, {data.name}: " if several and data else ""
        is_other = data is not None and data.name != self.data.name
        return f"{data.name}: " if is_other and data else ""

"""Cells: one claim on one checkpoint and task, from the gates to the record."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
from jaxtyping import Bool, Float

from ivevidence import CellRecord, Claim, Decision, Figure, Measurement, Table
from ivevidence.records.cells import cell_id, cell_name
from ivfixtures.measuring import origins
from ivfixtures.measuring.bench import Bench
from ivfixtures.measuring.judge import Judged, judged_answers
from ivfixtures.suite import exhibits
from ivfixtures.suite.provenance import command, parameters, provenance
from ivfixtures.suite.rules import COMPETENT, no_headroom
from ivfixtures.suite.subjects import Subject
from ivfixtures.suite.verdicts import PASSED_OVER, Hearing
from ivmethods.model.layouts import layout_of
from ivmethods.model.metrics import METRICS
from ivmethods.patching.discovery import picking_part
from ivmethods.patching.sweep import LayerTuple, Sweep
from ivmethods.prompts.answers import normalize_answer
from ivmethods.statistics.univariate import Interval, clopper_pearson

_ANYWAY = "; --measure-anyway measures all the same"


class Cell:
    """What a claim's test is given: measurements, gates, and the way to conclude.

    Arrays are those of the cell's metric (`rr` where it has none) unless another is named. A cell
    of several benches (those of a family's checkpoints, or of both tasks of a pair) has a part for
    each; its own arrays are those of the first.
    """

    def __init__(
        self,
        claim: Claim,
        subject: Subject,
        benches: Sequence[Bench],
        selection: Sequence[str],
        hearing: Hearing,
    ) -> None:
        self.claim, self.subject, self.hearing = claim, subject, hearing
        self.selection = selection  # words of a command line that judge it again
        self.benches, self.bench = tuple(benches), benches[0]
        self.metric = subject.metric or METRICS[0]
        self.record: CellRecord | None = None
        self._start = time.perf_counter()
        self._passed: list[str] = []  # gates that --measure-anyway went past

    @cached_property
    def parts(self) -> tuple["Cell", ...]:
        """The cell of each bench alone, in the order of checkpoints and tasks."""
        if len(self.benches) == 1:
            return (self,)
        return tuple(map(self.on, self.benches))

    def on(self, bench: Bench) -> "Cell":
        """The cell with the measurements of another bench."""
        return Cell(self.claim, self.subject, [bench], self.selection, self.hearing)

    @cached_property
    def contrast(self) -> Bench:
        """The bench of the contrast task: the same checkpoint and queries; see require_contrast.

        What is measured there is part of the cell's evidence.
        """
        return self.bench.contrast

    @property
    def seed(self) -> int:
        """Seed of resampling."""
        return self.bench.options.seed

    @cached_property
    def sweep(self) -> Sweep:
        """The sweep of the task's own instruction."""
        return self.bench.sweep()

    def effects(self, metric: str | None = None) -> Float[np.ndarray, "sample tuple"]:
        """Effects of the own instruction."""
        return self.sweep.of(metric or self.metric).numpy()

    def specific(self, metric: str | None = None) -> Float[np.ndarray, "sample tuple"]:
        """Effect of the own instruction minus that of the contrast instruction.

        Where there is no contrast: minus the mean effect of neutral sentences.
        """
        control = self.bench.sweep("contrast" if self.bench.task.contrast else "neutral")
        return self.effects(metric) - control.of(metric or self.metric).numpy()

    def tuples_of_order(self, order: int) -> list[LayerTuple]:
        """The sweep's tuples of one order."""
        return [t for t in self.sweep.tuples if len(t) == order]

    def of_order(self, order: int, values: np.ndarray) -> np.ndarray:
        """The last axis of `values` (a value a tuple), kept for the tuples of one order."""
        return values[..., [len(t) == order for t in self.sweep.tuples]]

    def controls(self, layers: LayerTuple) -> Mapping[str, Float[np.ndarray, "sample draw"]]:
        """Effects of other vectors at the same tuple; see `Bench.controls`."""
        found = self.bench.controls(layers)
        return {name: effects[METRICS.index(self.metric)] for name, effects in found.items()}

    def all_layers(self) -> Float[np.ndarray, " sample"]:
        """Effect of the own instruction written after every layer."""
        return self.bench.all_layers()[METRICS.index(self.metric)]

    def gap(self, metric: str | None = None) -> Float[np.ndarray, " sample"]:
        """Metric of the instructed run minus that of the target run."""
        index = METRICS.index(metric or self.metric)
        runs = self.bench.runs()
        return runs["instructed"][index] - runs["target"][index]

    @cached_property
    def labels(self) -> list[str]:
        """The right answer of each sample; of several accepted ones the first."""
        return [item.answers[0] for item in self.bench.items]

    @cached_property
    def is_discovery(self) -> Bool[np.ndarray, " sample"]:
        """The samples that pick, a quarter of each answer's; the rest decide."""
        return picking_part(self.labels)

    @cached_property
    def exact(self) -> Bool[np.ndarray, " sample"]:
        """Whether the greedy answer is an accepted one (EMA)."""
        accepted = [{normalize_answer(a) for a in item.answers} for item in self.bench.items]
        return np.array([a in right for a, right in zip(self._answers, accepted, strict=True)])

    @cached_property
    def valid(self) -> Bool[np.ndarray, " sample"]:
        """Whether the greedy answer is a valid response, right or wrong (IA)."""
        return np.array([self.bench.task.is_valid(answer) for answer in self._answers])

    @cached_property
    def judged(self) -> Judged | None:
        """A judge's decisions on the answers, as `judged_answers`."""
        return judged_answers(self.bench)

    def require_competence(self) -> None:
        """Conclude `not_applicable` unless the checkpoint follows the task's instruction.

        Source: section 3, "Confirming Instruction Following Ability"; IA > 0.5.
        """
        for part in self.parts:
            if decision := part._lacking_competence():
                self._stop_at(part, "competence", decision)

    def incompetence(self) -> Decision | None:
        """A `not_applicable` decision where the (first) checkpoint is not to be measured."""
        return None if self.bench.options.measure_anyway else self._lacking_competence()

    def _lacking_competence(self) -> Decision | None:
        if self._share_valid.low > COMPETENT:
            return None
        share = self._share_valid
        reason = (
            f"{self.bench.checkpoint.name} does not follow the instruction of "
            f"{self.bench.task.name}: IA={share.estimate:.2f} (lower bound {share.low:.2f}, "
            f"n={share.n}), but should be above {COMPETENT}{_ANYWAY}"
        )
        at = (self.bench.checkpoint.name, self.bench.task.name)
        return Decision(
            "not_applicable",
            reason,
            gate=cell_id(cell_name("instruction_vectors/behaviour", *at, "ia")),
        )

    @property
    def _share_valid(self) -> Interval:
        """IA as the behaviour claim has it: by the judge where there is one for the task."""
        return clopper_pearson(self.judged.valid if self.judged else self.valid)

    def require_headroom(self, smallest: float) -> None:
        """Conclude `inconclusive` before any sweep where there is nothing to restore."""
        for of, part in self._named_parts():
            if decision := no_headroom(part.gap("rr"), smallest):
                named = replace(decision, reason=of + decision.reason)
                # The values that its verdict rests on, for a later run to compare.
                gap = {} if of else {"gap": part.gap("rr")}
                self._stop_at(part, "headroom", named, tables=[exhibits.runs(part)], per_sample=gap)

    def saturation(self, smallest: float) -> Decision | None:
        """An `inconclusive` decision where the (first) checkpoint has no headroom."""
        if self.bench.options.measure_anyway:
            return None
        return no_headroom(self.gap("rr"), smallest)

    def _stop_at(self, part: "Cell", gate: str, decision: Decision, **evidence: Any) -> None:
        """Conclude with a gate's decision; with --measure-anyway note it instead, and go on."""
        if not self.bench.options.measure_anyway:
            self.conclude(decision, **evidence)
        reason = decision.reason.removesuffix(_ANYWAY)
        part._passed.append(f"gate of {gate} {PASSED_OVER}: {reason}")

    def require_order(self, order: int) -> None:
        """Conclude `not_applicable` unless tuples of that many layers were patched."""
        if self.bench.options.order < order:
            reason = f"tuples of {order} layers were not patched: add {order} to --orders"
            self.conclude(Decision("not_applicable", reason))

    def require_contrast(self) -> None:
        """Conclude `not_applicable` where the task has no contrast instruction."""
        if self.bench.task.contrast is None:
            reason = f"{self.bench.task.name} has no contrast instruction to compare with"
            self.conclude(Decision("not_applicable", reason))

    def require_linear_form(self) -> None:
        """Conclude `not_applicable` where the block layout has no locally-linear maps."""
        try:
            layout_of(self.bench.model)
        except ValueError as error:
            self.conclude(Decision("not_applicable", str(error)))

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
        """Keep the evidence and end the test as `Hearing.tell` says.

        chosen: what the verdict is on, where the claim picked that. samples: names of the samples
        of `per_sample`; default: the queries.
        """
        subject, parts = self.subject, self._named_parts()
        behaviours = [(of, exhibits.behaviour(part)) for of, part in parts]
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
            tables=(*tables, *(replace(t, title=of + t.title) for of, t in behaviours)),
            prompts=exhibits.prompts(self),
            controls=tuple(controls),
            notes=(
                *(of + note for of, part in parts for note in part._notes()),
                *origins.differences(self._made()),
            ),
            measurements={role: one.digest for role, one in self._made().items()},
            samples=tuple(samples or (item.query for item in self.bench.items)),
            per_sample={name: tuple(v.tolist()) for name, v in (per_sample or {}).items()},
            parameters=parameters(self.benches, self.is_discovery),
            provenance={
                **provenance(self.benches),
                origins.ORIGIN: origins.together(self._made()),
                "seconds": time.perf_counter() - self._start,
            },
            command=command(self.selection),
        )
        self.record = self.hearing.compare(record)
        self.hearing.tell(self.record)

    def _made(self) -> dict[str, Measurement]:
        """The measurements that were asked for, by role."""
        named = [(of, part.bench) for of, part in self._named_parts()]
        if "contrast" in vars(self):
            named.append(("contrast: ", self.contrast))
        return {of + role: one for of, bench in named for role, one in bench.asked_for.items()}

    def _named_parts(self) -> list[tuple[str, "Cell"]]:
        """The parts, each with what to put before what is its own; nothing if there is one."""
        if len(self.parts) == 1:
            return [("", self)]
        names = [(part.bench.checkpoint.name, part.bench.task.name) for part in self.parts]
        return [
            (f"{of}, {task}: ", part) for (of, task), part in zip(names, self.parts, strict=True)
        ]

    @cached_property
    def _answers(self) -> list[str]:
        return [normalize_answer(self.bench.task.answer_in(a)) for a in self.bench.answers()]

    def _notes(self) -> tuple[str, ...]:
        bench, options = self.bench, self.bench.options
        notes = [*bench.task.notes, *bench.notes]
        if len(bench.items) < options.samples:
            notes.append(f"{options.samples} samples were asked for; there are {len(bench.items)}")
        dropped = sum(
            sample.contrast is None and bool(item.contrast_answers)
            for item, sample in zip(bench.items, bench.samples(), strict=True)
        )
        if dropped:
            notes.append(
                f"{dropped} samples are not in logit_diff: both answers begin with the same token, "
                "or not with the same white space"
            )
        return (*notes, *self._passed)

"""Cells: one claim on one checkpoint and task, from the gates to the record."""

import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pytest
from jaxtyping import Bool, Float

from ivevidence import CellRecord, Claim, Criterion, Decision, Figure, Table
from ivfixtures import exhibits
from ivfixtures.bench import Bench
from ivfixtures.judging import no_headroom
from ivfixtures.provenance import command, provenance
from ivfixtures.tasks import normalize_answer
from ivmethods.behaviour import first_line
from ivmethods.metrics import METRICS
from ivmethods.statistics import clopper_pearson
from ivmethods.sweep import LayerTuple, Sweep

COMPETENT = 0.5  # competent: the lower 95 % bound of IA is above this (section 3)


class Cell:
    """What a claim's test is given: measurements, gates, and the way to conclude.

    Arrays are those of the cell's metric unless another is named.
    """

    def __init__(self, claim: Claim, bench: Bench, metric: str, nodeid: str) -> None:
        self.claim, self.bench, self.metric, self.nodeid = claim, bench, metric, nodeid
        self.record: CellRecord | None = None
        bench.asked_for.clear()
        self._start = time.perf_counter()

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
    def is_discovery(self) -> Bool[np.ndarray, " sample"]:
        """The samples that pick: every other one of the seeded order. The rest decide."""
        return np.arange(len(self.bench.items)) % 2 == 0

    @cached_property
    def exact(self) -> Bool[np.ndarray, " sample"]:
        """Whether the greedy answer is an accepted one (EMA)."""
        accepted = [{normalize_answer(a) for a in item.answers} for item in self.bench.items]
        return np.array([a in right for a, right in zip(self._answers, accepted, strict=True)])

    @cached_property
    def valid(self) -> Bool[np.ndarray, " sample"]:
        """Whether the greedy answer is a valid response, right or wrong (IA)."""
        return np.array([self.bench.task.is_valid(answer) for answer in self._answers])

    def require_competence(self) -> None:
        """Conclude `not_applicable` unless the checkpoint follows the task's instruction.

        Source: section 3, "Confirming Instruction Following Ability"; IA > 0.5.
        """
        share = clopper_pearson(self.valid)
        if share.low > COMPETENT or self.bench.options.measure_anyway:
            return
        reason = (
            f"{self.bench.checkpoint.name} does not follow the instruction of "
            f"{self.bench.task.name}: IA={share.estimate:.2f} (lower bound {share.low:.2f}, "
            f"n={share.n}), but should be above {COMPETENT}; --measure-anyway measures all the same"
        )
        self.conclude(Decision("not_applicable", reason))

    def require_headroom(self, smallest: float) -> None:
        """Conclude `inconclusive` before any sweep where there is nothing to restore."""
        decision = no_headroom(self.gap("rr"), smallest)
        if decision and not self.bench.options.measure_anyway:
            self.conclude(decision, tables=[exhibits.runs(self)])

    def require_order(self, order: int) -> None:
        """Conclude `not_applicable` unless tuples of that many layers were patched."""
        if self.bench.options.order < order:
            reason = f"tuples of {order} layers were not patched: add {order} to --orders"
            self.conclude(Decision("not_applicable", reason))

    def conclude(
        self,
        decision: Decision,
        *,
        figures: Sequence[Figure] = (),
        tables: Sequence[Table] = (),
        controls: Sequence[Table] = (),
        per_sample: Mapping[str, Float[np.ndarray, " sample"]] | None = None,
    ) -> None:
        """Keep the evidence and let pytest hear the verdict.

        supported passes, refuted fails, inconclusive and not_applicable skip with the reason.
        """
        bench = self.bench
        self.record = CellRecord(
            claim=self.claim,
            checkpoint=bench.checkpoint.name,
            family=bench.checkpoint.family,
            stage=bench.checkpoint.stage,
            task=bench.task.name,
            metric=self.metric,
            decision=decision,
            figures=tuple(figures),
            tables=(*tables, exhibits.behaviour(self)),
            prompts=exhibits.prompts(self),
            controls=tuple(controls),
            notes=self._notes(),
            measurements=dict(bench.asked_for),
            per_sample={name: tuple(v.tolist()) for name, v in (per_sample or {}).items()},
            parameters=self._parameters(),
            provenance={**provenance(bench), "seconds": time.perf_counter() - self._start},
            command=command(bench, self.nodeid),
        )
        tell_pytest(decision, xfail_refuted=bench.options.xfail_refuted)

    @cached_property
    def _answers(self) -> list[str]:
        return [normalize_answer(first_line(text)) for text in self.bench.answers()]

    def _notes(self) -> tuple[str, ...]:
        bench, options = self.bench, self.bench.options
        notes = list(bench.task.notes)
        if len(bench.items) < options.samples:
            notes.append(f"{options.samples} samples were asked for; there are {len(bench.items)}")
        dropped = sum(s.contrast is None for s in bench.samples()) if bench.task.contrast else 0
        if dropped:
            notes.append(
                f"{dropped} samples are not in logit_diff: both answers begin with the same token"
            )
        if options.measure_anyway and not clopper_pearson(self.valid).low > COMPETENT:
            notes.append("not competent: measured because of --measure-anyway")
        return tuple(notes)

    def _parameters(self) -> dict[str, Any]:
        task, options = self.bench.task, self.bench.options
        return {
            "samples": len(self.bench.items),
            "orders": list(range(1, options.order + 1)),
            "seed": options.seed,
            "protocol": "paper",
            "instruction": task.instruction,
            "control instruction": task.contrast_instruction,
            "queries": [item.query for item in self.bench.items],
            "discovery samples": np.flatnonzero(self.is_discovery).tolist(),
        }


def tell_pytest(decision: Decision, *, xfail_refuted: bool) -> None:
    """Turn a verdict into pytest's outcome, its message being the statistics."""
    lines = [f"{decision.verdict}: {decision.reason}"]
    lines += [f"  {criterion_line(criterion)}" for criterion in decision.criteria]
    message = "\n".join(lines)
    if decision.verdict == "refuted" and xfail_refuted:
        pytest.xfail(message)
    if decision.verdict == "refuted":
        pytest.fail(message, pytrace=False)
    if decision.verdict != "supported":
        pytest.skip(message)


def criterion_line(criterion: Criterion) -> str:
    """One criterion as a line of text."""

    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.3g}"

    bounds = f"[{number(criterion.low)}, {number(criterion.high)}]"
    test = "" if criterion.p_value is None else f", p={criterion.p_value:.2g}"
    return (
        f"{criterion.name}={number(criterion.estimate)} {bounds} against "
        f"{number(criterion.threshold)} (n={criterion.n}{test}): {criterion.outcome}"
    )

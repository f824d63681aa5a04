"""What was measured of a cell, in the metric that it is judged in."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from ivfixtures.measuring.inquiry import Inquiry
from ivmethods.model.metrics import METRICS
from ivmethods.patching.sweep import LayerTuple, Sweep


@dataclass(frozen=True, eq=False)
class Patched:
    """The sweeps of a task's own instruction and of its control, and the unpatched runs.

    metric: in which effects and gaps are, unless another is named. against: what the control is.
    """

    metric: str
    against: str
    sweep: Sweep
    control: Sweep
    runs: Mapping[str, np.ndarray]
    is_discovery: Bool[np.ndarray, " sample"]
    seed: int

    def effects(self, metric: str | None = None) -> Float[np.ndarray, "sample tuple"]:
        """Effects of the own instruction."""
        return self.sweep.of(metric or self.metric).numpy()

    def specific(self, metric: str | None = None) -> Float[np.ndarray, "sample tuple"]:
        """Effect of the own instruction minus that of the contrast instruction.

        Where there is no contrast: minus the mean effect of neutral sentences.
        """
        return self.effects(metric) - self.control.of(metric or self.metric).numpy()

    def gap(self, metric: str | None = None) -> Float[np.ndarray, " sample"]:
        """Metric of the instructed run minus that of the target run."""
        return gap_of(self.runs, metric or self.metric)

    @property
    def tuples(self) -> tuple[LayerTuple, ...]:
        """The tuples that were patched."""
        return self.sweep.tuples

    @property
    def order(self) -> int:
        """The largest number of layers in one."""
        return max(map(len, self.tuples))

    @property
    def degenerate(self) -> Bool[np.ndarray, " tuple"]:
        """Those with a layer that cannot matter."""
        return self.sweep.degenerate.numpy()

    def tuples_of_order(self, order: int) -> list[LayerTuple]:
        """The tuples of one order."""
        return [t for t in self.tuples if len(t) == order]

    def of_order(self, order: int, values: np.ndarray) -> np.ndarray:
        """The last axis of `values` (a value a tuple), kept for the tuples of one order."""
        return values[..., [len(t) == order for t in self.tuples]]


def gap_of(runs: Mapping[str, np.ndarray], metric: str) -> Float[np.ndarray, " sample"]:
    """Metric of the instructed run minus that of the target run."""
    index = METRICS.index(metric)
    return runs["instructed"][index] - runs["target"][index]


def in_metric(
    effects: Mapping[str, Float[np.ndarray, "metric sample ..."]], metric: str
) -> dict[str, Float[np.ndarray, " sample ..."]]:
    """Effects by name, in one metric."""
    return {name: values[METRICS.index(metric)] for name, values in effects.items()}


def patched(
    inquiry: Inquiry,
    sweep: Sweep,
    control: Sweep,
    runs: Mapping[str, np.ndarray],
    *,
    part: int = 0,
    metric: str | None = None,
) -> Patched:
    """The view of a part of a cell. metric: that of the cell, where none is named."""
    data = inquiry.parts[part]
    against = "the contrast instruction" if data.task.contrast else "neutral sentences"
    judged = metric or inquiry.metric or METRICS[0]
    return Patched(judged, against, sweep, control, runs, data.is_discovery, inquiry.seed)

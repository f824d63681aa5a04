"""What cells of any pack show: means and bounds as series of figures, answers that are alike."""

from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any

import numpy as np
from jaxtyping import Bool

from ivevidence import Table
from ivevidence.records.cells import Entry
from ivmethods.statistics.clusters import intraclass_correlation
from ivmethods.statistics.univariate import Interval


def series(name: str, intervals: Sequence[Interval | None]) -> dict[str, Any]:
    """A figure's series of estimates with their bounds."""
    return {
        "name": name,
        "values": [i.estimate if i else None for i in intervals],
        "lows": [i.low if i else None for i in intervals],
        "highs": [i.high if i else None for i in intervals],
    }


def mean_series(name: str, values: np.ndarray, floor: float = -np.inf) -> dict[str, Any]:
    """A figure's series of means over samples, two standard errors around them, above `floor`."""
    mean = values.mean(axis=0)
    error = 2 * values.std(axis=0, ddof=1) / np.sqrt(len(values))
    low = np.maximum(mean - error, floor)
    return {"name": name, "values": mean, "lows": low, "highs": mean + error}


def mean_of_known(values: np.ndarray) -> float | None:
    """Mean of the values that are not NaN or infinite; None if there is none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def answers(
    labels: Sequence[str], deciding: Bool[np.ndarray, " sample"], values: Mapping[str, np.ndarray]
) -> Table:
    """How alike the samples of one right answer are, in each of some values a sample."""
    labels = list(compress(labels, deciding))
    rows: list[tuple[Entry, ...]] = []
    for name, each in values.items():
        alike = intraclass_correlation(each[deciding], labels)
        known = [None if np.isnan(number) else float(number) for number in alike]
        rows.append((name, len(labels), len(set(labels)), *known))
    columns = ("of", "samples", "answers", "intraclass correlation", "design effect")
    caption = (
        "Samples that decide. Design effect: how many times the variance of a mean is that of as "
        "many samples of different answers; none where no two samples share an answer. All "
        "samples have the same wording of the instruction: the verdict is about this wording."
    )
    return Table("Answers", columns, tuple(rows), caption)

"""Which fall of IA a run held to expectations cannot see: `python -m ivfixtures.suite.unseen`."""

from __future__ import annotations

import numpy as np

from ivevidence.compare.drifts import ALPHA, drifts, is_beyond
from ivevidence.records.cells import Drift
from ivfixtures.suite.rules import COMPETENT
from ivmethods.statistics.univariate import clopper_pearson

SAMPLES = (20, 50, 100, 200, 500)
COMPARISONS = (1, 100)


def by_verdict(samples: int) -> float:
    """The largest fall of IA from 1 after which its verdict is still `supported`."""
    lost = (
        k for k in range(samples + 1) if not clopper_pearson(_valid(k, samples)).low > COMPETENT
    )
    return (next(lost) - 1) / samples


def by_drift(samples: int, *, comparisons: int = 1, max_drift: float = 0.0) -> float | None:
    """The smallest fall of IA from 1 that `--max-drift` sees; None if it sees none.

    comparisons: of all series of values in the run, among which the error is divided.
    """
    alpha = ALPHA / comparisons
    found = (k for k in range(1, samples + 1) if is_beyond(_drift(k, samples, alpha), max_drift))
    first = next(found, None)
    return None if first is None else first / samples


def table() -> str:
    """The falls by number of samples, as lines of Markdown."""
    drifts_of = " | ".join(f"seen, {count} compared" for count in COMPARISONS)
    lines = [
        f"| samples | unseen by verdict | {drifts_of} |",
        "|---|---|" + "---|" * len(COMPARISONS),
    ]
    for n in SAMPLES:
        seen = " | ".join(_number(by_drift(n, comparisons=count)) for count in COMPARISONS)
        lines.append(f"| {n} | {_number(by_verdict(n))} | {seen} |")
    return "\n".join(lines)


def _valid(lost: int, samples: int) -> np.ndarray:
    return np.arange(samples) >= lost


def _drift(lost: int, samples: int, alpha: float) -> Drift:
    names = [str(k) for k in range(samples)]
    before, after = ({"valid": _valid(k, samples).astype(float).tolist()} for k in (0, lost))
    (found,) = drifts(before, after, samples_before=names, samples_after=names, alpha=alpha)
    return found


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    print(table())

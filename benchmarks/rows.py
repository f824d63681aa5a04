"""How often the rows of claims are wrong: a to b of m cells, where it is known how many hold.

    python -m benchmarks.rows [--runs N]

All cells are judged on the same samples, as checkpoints on the same queries are. Against `a`, cells
that do not hold lie exactly on their threshold and the others far above; against `b`, those that
hold lie on it and the others far below. In % of the runs, how often more hold than the truth has
(a is too large), or fewer (b is too small): at most 5 each.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Float
from scipy import special

from ivevidence.records.cells import CellRecord, Claim
from ivevidence.records.rows import claim_rows
from ivfixtures.suite.asked import Asked
from ivfixtures.suite.rules import judge
from ivmethods.statistics.bootstrap import bootstrap
from ivmethods.statistics.bounded import bounded_ratio, wider
from ivmethods.statistics.univariate import Interval, clopper_pearson

CELLS = 12
SAMPLES = 50
RESAMPLES = 2_000
THRESHOLD = 0.1
MEAN = Asked("mean", THRESHOLD)
FAR = {"a": 0.6, "b": 0.0}  # means of cells that are clear, against each end
CLAIM = Claim("rows", "", "", "", "", "", "", quantifier="all")

Sample = Float[np.ndarray, " sample"]


def _mean(values: Float[np.ndarray, "draw sample"]) -> Float[np.ndarray, " draw"]:
    return values.mean(axis=1)


def _bootstrapped(values: Sample) -> Interval:
    return bootstrap(_mean, values, smooth=True, resamples=RESAMPLES, seed=0)


def _bounded(values: Sample) -> Interval:
    return wider(_bootstrapped(values), bounded_ratio(values, draws=RESAMPLES, seed=0))


def _jumps(uniform: Sample, mean: float) -> Sample:
    return (uniform < mean).astype(float)


def _skewed(uniform: Sample, mean: float) -> Sample:
    return mean + 0.2 * (-np.log(uniform) - 1)


# How values come about from uniform ones, and what makes the interval of their mean.
KINDS: dict[str, tuple[Callable[[Sample, float], Sample], Callable[[Sample], Interval]]] = {
    "shares, exact": (_jumps, lambda values: clopper_pearson(values > 0)),
    "jumps, wider of bootstrap and Gaffke": (_jumps, _bounded),
    "skewed effects, bootstrap": (_skewed, _bootstrapped),
}


@dataclass(frozen=True)
class World:
    """`holding` of the cells hold; samples' values correlate between cells by `correlation`.

    kind: a key of KINDS. end: which end of the row is put to the test.
    """

    kind: str
    end: str
    holding: int
    correlation: float

    def is_wrong(self, generator: np.random.Generator) -> bool:
        """Whether the row of one run lies beyond the truth at the world's end."""
        common, own = generator.normal(size=(SAMPLES, 1)), generator.normal(size=(SAMPLES, CELLS))
        mixed = np.sqrt(self.correlation) * common + np.sqrt(1 - self.correlation) * own
        uniform = np.clip(special.ndtr(mixed), 1e-12, 1.0)
        draw, interval = KINDS[self.kind]
        cells = []
        for k, column in enumerate(uniform.T):
            on_threshold = (k < self.holding) == (self.end == "b")
            values = draw(column, THRESHOLD if on_threshold else FAR[self.end])
            decision = judge([MEAN.criterion("", interval(values))], samples=SAMPLES)
            cells.append(CellRecord(CLAIM, "model", None, "", f"task{k}", None, decision))
        (row,) = claim_rows(cells)
        return row.least > self.holding if self.end == "a" else row.most < self.holding


def worlds(kind: str) -> Iterator[World]:
    """The worlds of a kind of values."""
    for end, holding, correlation in product("ab", (0, 6, 11, 12), (0.0, 0.9)):
        if holding != (CELLS if end == "a" else 0):  # there it cannot be wrong
            yield World(kind, end, holding, correlation)


def wrong(world: World, runs: int) -> float:
    """The share of runs that are wrong, the same ones in every call."""
    generator = np.random.default_rng(0)
    return float(np.mean([world.is_wrong(generator) for _ in range(runs)]))


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=300)
    runs = parser.parse_args().runs
    print(f"{CELLS} cells, {SAMPLES} samples, {runs} runs\n")
    print(
        "| values | end | cells that hold | independent | correlated 0.9 |\n|---|---|---|---|---|"
    )
    for kind in KINDS:
        pairs = list(worlds(kind))
        for independent, correlated in zip(pairs[::2], pairs[1::2], strict=True):
            rates = " | ".join(f"{100 * wrong(w, runs):.3g}" for w in (independent, correlated))
            print(f"| {kind} | {independent.end} | {independent.holding} | {rates} |", flush=True)


if __name__ == "__main__":
    main()

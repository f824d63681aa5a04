"""How often `--expect` fails, on two equal checkpoints and on one that changed.

    python -m benchmarks.expectations [--runs N]

Cells of `behaviour` (answers of yes and no) and of one bound of `localization` (effects in rr),
judged before and after on independent samples of what the checkpoints do. In % of the runs: changed
verdicts, then failures, which are those with a significant drift, as the only cell of a run and as
one of 100. Without a drift, a changed verdict is a warning.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from benchmarks.worlds.localization import Generator, graded, jumps, losses
from claims.instruction_vectors import test_behaviour as behaviour
from ivevidence import Decision
from ivevidence.compare.drifts import ALPHA, drifts, is_beyond
from ivfixtures.suite.asked import Asked
from ivfixtures.suite.rules import judge
from ivmethods.statistics.bootstrap import bootstrap
from ivmethods.statistics.bounded import bounded_ratio, wider
from ivmethods.statistics.univariate import ratio_of_means

SIZES = (30, 50, 100)
CELLS = (1, 100)  # of a run, which the error of drifts is divided among
SERIES = 3  # of a cell's per-sample values
RESAMPLES = 300

Values = Float[np.ndarray, " sample"]
Make = Callable[[Generator, int], Values]


@dataclass(frozen=True)
class World:
    """What a checkpoint does before and after, and the rule that its cell has."""

    name: str
    before: Make
    after: Make
    decide: Callable[[Values], Decision]


def answers(share: float) -> Make:
    """Valid answers on a share of the samples."""
    return lambda generator, samples: (generator.random(samples) < share).astype(float)


def ia(values: Values) -> Decision:
    """The verdict of `behaviour`."""
    return behaviour.decide(values > 0)


def closed_share(values: Values) -> Decision:
    """The verdict of `localization` if it asked for a tenth of the gap (here .9) alone."""
    deciding = values[np.arange(len(values)) % 4 != 0]
    arrays = deciding, 0.9 + 0.05 * np.cos(np.arange(len(deciding)))
    resampled = bootstrap(ratio_of_means, *arrays, smooth=True, resamples=RESAMPLES, seed=0)
    bounds = wider(resampled, bounded_ratio(*arrays, draws=RESAMPLES, seed=0))
    return judge([Asked("closed share", 0.1).criterion("", bounds)], samples=len(values))


WORLDS = (
    *(World(f"equal: IA {p}", answers(p), answers(p), ia) for p in (0.5, 0.6, 0.65)),
    World("equal: closes .1, jumps", jumps(0.1), jumps(0.1), closed_share),
    World("equal: closes .3, jumps", jumps(0.3), jumps(0.3), closed_share),
    World("equal: closes .2, graded", graded(0.2, 0.2), graded(0.2, 0.2), closed_share),
    World("equal: closes .3, rare losses", *[losses(0.02, 0.5, 0.3)] * 2, closed_share),
    *(World(f"IA .95 to {p}", answers(0.95), answers(p), ia) for p in (0.6, 0.4, 0.2)),
    World("closes .6 to .2, graded", graded(0.6, 0.2), graded(0.2, 0.2), closed_share),
    World("closes .6 to 0, graded", graded(0.6, 0.2), graded(0.0, 0.2), closed_share),
    World("closes .6 to 0, jumps", jumps(0.6), jumps(0.0), closed_share),
    World("closes .95 to .1, jumps", jumps(0.95), jumps(0.1), closed_share),
)


def rates(world: World, *, samples: int, runs: int) -> tuple[float, ...]:
    """Shares of runs with another verdict, and with one that fails, by number of cells."""
    generator, names = np.random.default_rng(0), [str(k) for k in range(samples)]
    hits = np.zeros(1 + len(CELLS))
    for _ in range(runs):
        before, after = world.before(generator, samples), world.after(generator, samples)
        if world.decide(before).verdict == world.decide(after).verdict:
            continue
        hits[0] += 1
        for k, cells in enumerate(CELLS, start=1):
            (drift,) = drifts(
                {"values": before.tolist()},
                {"values": after.tolist()},
                samples_before=names,
                samples_after=names,
                alpha=ALPHA / (SERIES * cells),
            )
            hits[k] += is_beyond(drift, 0)
    return tuple(hits / runs)


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=300)
    options = parser.parse_args()
    print(f"| checkpoint, {options.runs} runs | {' | '.join(f'n = {n}' for n in SIZES)} |")
    print("|---" * (len(SIZES) + 1) + "|")
    for world in WORLDS:
        each = (rates(world, samples=n, runs=options.runs) for n in SIZES)
        cells = (" / ".join(f"{100 * rate:.3g}" for rate in found) for found in each)
        print(f"| {world.name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

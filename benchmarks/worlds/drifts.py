"""Worlds of drift, which is no claim: refuted is an alarm, and nothing is ever supported.

One series of values of the same samples before and after. True: it moved no further than allowed.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from benchmarks.worlds import World
from ivevidence import Decision
from ivevidence.compare.drifts import ALPHA, drifts, is_beyond

LARGEST = 0.1
BEFORE = 0.91  # of bounded values

Generator = np.random.Generator
Values = Float[np.ndarray, " sample"]
Change = Callable[[Generator, int], Values]


def drift(
    change: Change, *, allowed: float = LARGEST, before: Change | None = None, comparisons: int = 1
) -> Callable[[Generator, int], Decision]:
    """A judge of values that change, BEFORE on every sample unless said."""

    def judge(generator: Generator, samples: int) -> Decision:
        first = before(generator, samples) if before else np.full(samples, BEFORE)
        names = [str(sample) for sample in range(samples)]
        (moved,) = drifts(
            {"values": first.tolist()},
            {"values": (first + change(generator, samples)).tolist()},
            samples_before=names,
            samples_after=names,
            alpha=ALPHA / comparisons,
        )
        return alarm(is_beyond(moved, allowed))

    return judge


def apart(values: Change, *, by: float = 0.0) -> Callable[[Generator, int], Decision]:
    """A judge of values of other samples, a quarter as many after, that moved by so much."""

    def judge(generator: Generator, samples: int) -> Decision:
        first, second = values(generator, samples), by + values(generator, samples // 4)
        (moved,) = drifts(
            {"values": first.tolist()},
            {"values": second.tolist()},
            samples_before=[f"before {sample}" for sample in range(len(first))],
            samples_after=[f"after {sample}" for sample in range(len(second))],
        )
        return alarm(is_beyond(moved, 0))

    return judge


def alarm(beyond: bool) -> Decision:
    """What a drift beyond what is allowed says."""
    return Decision("refuted", "an alarm") if beyond else Decision("inconclusive", "no alarm")


def unbounded(change: Change, *, comparisons: int = 1) -> Callable[[Generator, int], Decision]:
    """A judge of values without a range, such as logits."""
    return drift(change, before=lambda rng, n: 3 * rng.normal(size=n), comparisons=comparisons)


def bounded(change: Change, *, comparisons: int = 1) -> Callable[[Generator, int], Decision]:
    """A judge of values between .4 and .9."""
    return drift(change, before=lambda rng, n: rng.uniform(0.4, 0.9, n), comparisons=comparisons)


def normal(mean: float, sd: float = 0.3) -> Change:
    """Normal changes."""
    return lambda rng, n: rng.normal(mean, sd, n)


def rare(share: float, loss: float, noise: float = 0.0) -> Change:
    """A loss on a share of the samples, which gains on the others make up for."""
    gain = share * loss / (1 - share)

    def change(rng: Generator, n: int) -> Values:
        return np.where(rng.random(n) < share, -loss, gain + rng.uniform(-noise, noise, n))

    return change


def lognormal_losses(rng: Generator, n: int) -> Values:
    """Losses of at most .9 with a long tail, and a gain that makes up for them in the mean."""
    losses = np.minimum(0.02 * np.exp(1.2 * rng.normal(size=(2, 10_000))), 0.9)
    return np.minimum(losses.mean() - rng.choice(losses.ravel(), n), 1 - BEFORE)


def flips(rng: Generator, n: int) -> Values:
    """Answers that flip on a fifth of the samples, three of four upwards: .1 in the mean."""
    return rng.choice([1.0, 0.0, -1.0], n, p=[0.15, 0.8, 0.05])


WORLDS = (
    World("normal changes of exactly .1 (allowed)", "on the threshold", unbounded(normal(LARGEST))),
    World(
        "... t with 3 degrees of freedom",
        "on the threshold",
        unbounded(lambda rng, n: LARGEST + 0.3 * rng.standard_t(3, n)),
    ),
    World("... by flips", "on the threshold", unbounded(flips)),
    World(
        "... exponential, the long tail pointing back",
        "on the threshold",
        unbounded(lambda rng, n: LARGEST - 0.3 * (rng.exponential(1, n) - 1)),
        known=0.12,
    ),
    World(
        "... lognormal, the long tail pointing back",
        "on the threshold",
        unbounded(lambda rng, n: LARGEST - 0.3 * (rng.lognormal(0, 1, n) - np.exp(0.5))),
        known=0.2,
    ),
    World("equal but for noise", "true", unbounded(normal(0))),
    World("equal checkpoints", "true", drift(lambda rng, n: np.zeros(n), allowed=0)),
    World("4 % of bounded values lose .5, mean level", "true", drift(rare(0.04, 0.5), allowed=0)),
    World("... 2 % lose .9", "true", drift(rare(0.02, 0.9), allowed=0)),
    World("... 2 % lose .9, others noisy", "true", drift(rare(0.02, 0.9, 0.01), allowed=0)),
    World("... 5 % lose .9", "true", drift(rare(0.05, 0.9), allowed=0)),
    World("... lognormal losses", "true", drift(lognormal_losses, allowed=0)),
    World("equal, log-normal, other samples", "true", apart(lambda rng, n: rng.lognormal(size=n))),
    World("moved by .3 (power)", "false", unbounded(normal(0.3))),
    World("... as one of 500 comparisons", "false", unbounded(normal(0.3), comparisons=500)),
    World("... by 1 sd, other samples", "false", apart(normal(0, 1), by=1)),
    World("bounded values fall by .2 (power)", "false", bounded(normal(-0.2, 0.05))),
    World("... by .3 (power)", "false", bounded(normal(-0.3, 0.05))),
    World(
        "... by .3, one of 100 comparisons", "false", bounded(normal(-0.3, 0.05), comparisons=100)
    ),
)

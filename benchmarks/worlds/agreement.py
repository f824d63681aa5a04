"""Worlds of attribution patching: effects of 6 layers of 4 heads, and estimates of them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from benchmarks.worlds import Answers, World, alike, unlike
from claims.attribution_patching.rule import SMALLEST_PART, decide
from ivevidence import Decision

LAYERS, HEADS = 6, 4
GAP = 5.0
# A head as large as all others together in most worlds, ten times as large in some.
LARGE, GIANT = 1.0, 10.0
LEFT = 1 - SMALLEST_PART  # squared error, on the threshold

Generator = np.random.Generator
Draw = Callable[[Generator, int], Float[np.ndarray, " unit"]]


def always(value: float) -> Draw:
    """The same for every unit."""
    return lambda generator, count: np.full(count, value)


def by_chance(left: float) -> Draw:
    """Estimates too large by factors whose squared errors are uniform, with this mean."""
    return lambda generator, count: 1 + np.sqrt(2 * left * generator.random(count))


def overshooting(generator: Generator, count: int) -> Float[np.ndarray, " unit"]:
    """No error, but a thousandfold one of a quarter of the units: a part of 1 or -1."""
    return np.where(generator.random(count) < LEFT / 2, 1000.0, 1.0)


RIGHT = always(1)


@dataclass(frozen=True)
class Estimated:
    """How effects and estimates come about.

    giant: the first head's size in those of all others together. spread: of pairs' sizes (log).
    factor, rest: what the estimates of the first head and of all others are in exact effects, by
    unit. shuffled: share of the units whose other heads are estimated in a random order. noise: of
    the others' estimates, in their typical size. answers: of the samples; None: each its own.
    """

    giant: float = LARGE
    spread: float = 0.5
    factor: Draw = RIGHT
    rest: Draw | None = None
    shuffled: float = 0.0
    noise: float = 0.01
    answers: Answers | None = None
    gap: float = GAP

    def __call__(self, generator: Generator, samples: int) -> Decision:
        """One decision."""
        answers = np.arange(samples) if self.answers is None else self.answers(samples)
        count = int(answers.max()) + 1
        nodes = LAYERS * HEADS
        usual = generator.choice([-1, 1], nodes) * generator.lognormal(0, 1, nodes)
        usual[0] = self.giant * np.linalg.norm(usual[1:])
        sizes = generator.lognormal(0, self.spread, (samples, 1))
        exact = sizes * usual * (1 + 0.3 * generator.normal(size=(samples, nodes)))
        order = np.tile(np.arange(1, nodes), (samples, 1))
        is_shuffled = (generator.random(count) < self.shuffled)[answers]
        order[is_shuffled] = generator.permuted(order[is_shuffled], axis=1)
        factor = self.factor(generator, count)
        rest = factor if self.rest is None else self.rest(generator, count)
        typical = np.sqrt((exact[:, 1:] ** 2).mean(axis=1, keepdims=True))
        others = rest[answers, None] * np.take_along_axis(exact, order, axis=1)
        others += self.noise * typical * generator.normal(size=others.shape)
        quick = np.concatenate([factor[answers, None] * exact[:, :1], others], axis=1)
        shape = (samples, LAYERS, HEADS)
        return decide(
            exact=exact.reshape(shape),
            quick=quick.reshape(shape),
            gap=np.full(samples, self.gap),
            answers=[*map(str, answers)],
            seed=0,
        )


FORTY = alike(40)

WORLDS = (
    World("exact (power)", "true", Estimated(noise=0.0)),
    World("noise of a tenth (power)", "true", Estimated(noise=0.1)),
    World("... one giant head (power)", "true", Estimated(GIANT, noise=0.1)),
    World("... pairs of unlike sizes (power)", "true", Estimated(spread=1.0, noise=0.1)),
    World("too small by a third (power)", "true", Estimated(factor=always(2 / 3))),
    World("part .75 by chance (power)", "true", Estimated(factor=by_chance(0.25))),
    World("one giant head, others noise (power)", "false",
          Estimated(GIANT, rest=always(0), noise=1.0)),
    World("saturated: a fifth of the effect (power)", "false", Estimated(factor=always(0.2))),
    World("... of the giant head alone (power)", "false",
          Estimated(GIANT, factor=always(0.2), rest=RIGHT)),
    World("... of all others alone (power)", "false", Estimated(GIANT, rest=always(0.2))),
    World("part .4 by chance", "false", Estimated(factor=by_chance(0.6))),
    World("part .5 by chance", "on the threshold", Estimated(factor=by_chance(LEFT))),
    World("... pairs of unlike sizes", "on the threshold",
          Estimated(spread=1.0, factor=by_chance(LEFT))),
    World("... forty answers", "on the threshold",
          Estimated(factor=by_chance(LEFT), answers=FORTY)),
    World("... twelve answers, unlike", "on the threshold",
          Estimated(factor=by_chance(LEFT), answers=unlike)),
    World("... without the largest", "on the threshold", Estimated(GIANT, rest=by_chance(LEFT))),
    World("part .5, a quarter overshoots", "on the threshold", Estimated(factor=overshooting)),
    World("... of unlike sizes", "on the threshold",
          Estimated(spread=1.0, factor=overshooting)),
    World("correlation .8: one pair of five shuffled", "on the threshold",
          Estimated(GIANT, shuffled=0.2)),
    World("... forty answers", "on the threshold",
          Estimated(GIANT, shuffled=0.2, answers=FORTY)),
    World("no gap", "not to be told", Estimated(gap=0.5)),
)  # fmt: skip

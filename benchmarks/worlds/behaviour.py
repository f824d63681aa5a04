"""Worlds of behaviour: which of the answers are valid responses."""

from collections.abc import Callable

import numpy as np

from benchmarks.worlds import World
from claims.instruction_vectors.test_behaviour import decide
from ivevidence import Decision

Generator = np.random.Generator


def valid(share: float) -> Callable[[Generator, int], Decision]:
    """A share of the answers is valid, each by itself."""
    return lambda generator, samples: decide(generator.random(samples) < share)


def by_answer(answers: int) -> Callable[[Generator, int], Decision]:
    """Half of all answers are given validly wherever they are right, the others never."""

    def judge(generator: Generator, samples: int) -> Decision:
        is_given = generator.random(answers) < 0.5
        return decide(is_given[generator.integers(answers, size=samples)])

    return judge


WORLDS = (
    World("half are valid", "on the threshold", valid(0.5)),
    World("... by answer, 100 answers", "on the threshold", by_answer(100), known=0.25),
    World("... by answer, 10 answers", "on the threshold", by_answer(10), known=0.5),
    World("45 % are valid", "false", valid(0.45)),
    World("20 % are valid", "false", valid(0.2)),
    World("none is valid", "false", valid(0.0)),
    World("60 % are valid", "true", valid(0.6)),
    World("70 % are valid (power)", "true", valid(0.7)),
    World("all are valid (power)", "true", valid(1.0)),
)

"""Worlds of linear separability: held-out predictions, so many rephrasings of each of four tasks.

What a fit on shared folds adds is in `tests/claims/test_separability_rule.py`: fits are slow.
"""

from collections.abc import Callable

import numpy as np

from benchmarks.worlds import World
from claims.instruction_vectors.test_linear_separability import decide_accuracy, decide_lead
from ivevidence import Decision
from ivmethods.probes.held_out import OneAgainstRest

CONTROLS = ("bag of words", "layer-0 input", "shuffled labels", "random weights")
CHANCE = (0.25, 0.75)

Generator = np.random.Generator
Shares = tuple[float, float]  # of the task's own recognized, of the others kept apart


def drawn(generator: Generator, shares: Shares, rephrasings: int) -> OneAgainstRest:
    """Predictions that are right independently, of one task of four."""
    own, others = generator.random(rephrasings), generator.random(3 * rephrasings)
    return OneAgainstRest(own < shares[0], others < shares[1])


def accuracy(own: float, others: float) -> Callable[[Generator, int], Decision]:
    """A judge of a probe with these shares."""
    return lambda generator, n: decide_accuracy(drawn(generator, (own, others), n))


def lead(
    own: float, others: float, controls: dict[str, Shares], *, alike: bool = False
) -> Callable[[Generator, int], Decision]:
    """A judge of a probe against controls, at chance unless given.

    alike: controls are wrong where the probe is, and on more.
    """

    def judge(generator: Generator, rephrasings: int) -> Decision:
        found = drawn(generator, (own, others), rephrasings)
        pairs = {}
        for name in CONTROLS:
            shares = controls.get(name, CHANCE)
            if alike and name in controls:
                shares = (shares[0] / own, shares[1] / others)
            control = drawn(generator, shares, rephrasings)
            if alike and name in controls:
                control = OneAgainstRest(control.own & found.own, control.others & found.others)
            pairs[name] = (found, control)
        return decide_lead(pairs)

    return judge


WORDS, WEIGHTS = CONTROLS[0], CONTROLS[3]
CLOSE = (0.75, 0.95)  # 0.10 below (0.95, 0.95)

WORLDS = (
    World("accuracy .98: own .96, others 1", "on the threshold", accuracy(0.96, 1)),
    World("... own .97, others .99", "on the threshold", accuracy(0.97, 0.99)),
    World("... both .98", "on the threshold", accuracy(0.98, 0.98)),
    World("accuracy .90: own .85, others .95", "false", accuracy(0.85, 0.95)),
    World("no mistakes (power)", "true", accuracy(1, 1)),
    World("errors of .1 % (power)", "true", accuracy(0.999, 0.999)),
    World("errors of .5 %", "true", accuracy(0.995, 0.995)),
    World("lead .10 over random weights", "on the threshold", lead(0.95, 0.95, {WEIGHTS: CLOSE})),
    World(
        "... mistakes shared",
        "on the threshold",
        lead(0.95, 0.95, {WEIGHTS: CLOSE}, alike=True),
    ),
    World(
        "... over all four controls",
        "false",
        lead(0.95, 0.95, dict.fromkeys(CONTROLS, CLOSE)),
    ),
    World("lead 0 over the words, both .70", "false", lead(0.6, 0.8, {WORDS: (0.6, 0.8)})),
    World("lead -.20 over the words", "false", lead(0.4, 0.6, {WORDS: (0.6, 0.8)})),
    World("words alone reach .95", "not to be told", lead(1, 1, {WORDS: (0.95, 0.95)})),
    World("lead .30 over the words (power)", "true", lead(0.999, 0.999, {WORDS: (0.6, 0.8)})),
)

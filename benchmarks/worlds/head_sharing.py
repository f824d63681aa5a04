"""Worlds of head sharing: 6 layers of 4 heads unless said, both tasks on the same queries."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from benchmarks.worlds import World
from claims.instruction_vectors.test_head_sharing import decide
from ivevidence import Decision

EARLY, LATE = 4, 8  # heads of the first fifth and of the last third of 6 layers of 4 heads
LARGE = 12  # as many times there are in 16 layers of 16 heads
GRADED, SKEWED = 5.0, 1.0  # a + b of the beta distribution of a head's share over samples
JUMPS = 0.02  # share of samples with a jump to 1

Generator = np.random.Generator
Means = Float[np.ndarray, " head"]
Activity = Float[np.ndarray, "sample layer head"]
Draw = Callable[[Generator, Means, tuple[int, int, int]], Activity]


def beta(spread: float) -> Draw:
    """Shares that vary over samples and heads independently."""
    return lambda generator, mean, shape: generator.beta(spread * mean, spread * (1 - mean), shape)


def all_or_nothing(generator: Generator, mean: Means, shape: tuple[int, int, int]) -> Activity:
    """A head is on all paths of a sample or on none."""
    return (generator.random(shape) < mean).astype(float)


def at_once(generator: Generator, mean: Means, shape: tuple[int, int, int]) -> Activity:
    """The same, and on the same samples as other heads."""
    return (generator.random((shape[0], 1, 1)) < mean).astype(float)


def rarely(generator: Generator, mean: Means, shape: tuple[int, int, int]) -> Activity:
    """Nearly the same on all samples, but for jumps to 1 of all heads on few of them."""
    usual = np.clip((mean - JUMPS) / (1 - JUMPS), 0.001, 0.999)
    is_jump = generator.random((shape[0], 1, 1)) < JUMPS
    return np.where(is_jump, 1.0, generator.beta(1000 * usual, 1000 * (1 - usual), shape))


def two_tasks(
    means: Callable[[Generator], tuple[Means, Means]], draw: Draw | None = None
) -> Callable[[Generator, int], Decision]:
    """A judge of two tasks whose early and late heads have these mean activities; graded ones."""
    draw = draw or beta(GRADED)

    def judge(generator: Generator, samples: int) -> Decision:
        own, contrast = (
            draw(generator, _all_heads(heads), (samples, *_all_heads(heads).shape))
            for heads in means(generator)
        )
        return decide(own=own, contrast=contrast)

    return judge


def _all_heads(means: Means) -> Float[np.ndarray, "layer head"]:
    layers, heads = (6, 4) if len(means) == EARLY + LATE else (16, 16)
    early = len(means) // 3
    mean = np.full(layers * heads, 0.3)
    mean[:early], mean[-2 * early :] = means[:early], means[early:]
    return np.clip(mean, 0.001, 0.999).reshape(layers, heads)


def fixed(own: Means, contrast: Means) -> Callable[[Generator], tuple[Means, Means]]:
    """The same mean activities in every run."""
    return lambda generator: (own, contrast)


def same(*late: float) -> Callable[[Generator], tuple[Means, Means]]:
    """Both tasks have the same mean activities, clear ones in the early layers."""
    means = np.r_[np.resize([0.5, 0.0], EARLY), np.resize(late, LATE)]
    return fixed(means, means)


def one_close(near: float, other: float) -> Callable[[Generator], tuple[Means, Means]]:
    """The same sets of active heads; in one task six late heads are near 0.1."""
    contrast = np.r_[np.resize([0.5, 0.0], EARLY), 0.5, 0.5, np.full(LATE - 2, other)]
    return fixed(np.r_[contrast[: EARLY + 2], np.full(LATE - 2, near)], contrast)


def apart(
    times: int = 1, *, early: tuple[float, ...] = (0.5, 0.0), one_in: int = 2
) -> Callable[[Generator], tuple[Means, Means]]:
    """Equal early sets, disjoint late ones; one in so many late heads is active in a task."""
    first = np.resize(early, times * EARLY)
    late = np.where(np.arange(times * LATE) % one_in == 0, 0.5, 0.0)
    return fixed(np.r_[first, late], np.r_[first, np.roll(late, 1)])


def mostly_apart(generator: Generator) -> tuple[Means, Means]:
    """The same, but one head in ten is at 0.1 in both tasks; 16 layers of 16 heads."""
    own, contrast = apart(LARGE)(generator)
    is_near = np.arange(len(own)) % 10 == 0
    return np.where(is_near, 0.1, own), np.where(is_near, 0.1, contrast)


def of_all_degrees(times: int) -> Callable[[Generator], tuple[Means, Means]]:
    """Mean activities of all degrees, the same in early layers, unrelated in late ones."""

    def means(generator: Generator) -> tuple[Means, Means]:
        own = generator.beta(0.5, 1.5, times * (EARLY + LATE))
        return own, np.r_[own[: times * EARLY], generator.beta(0.5, 1.5, times * LATE)]

    return means


KINDS = {
    "": beta(GRADED),
    ", skewed": beta(SKEWED),
    ", all or nothing": all_or_nothing,
    ", all heads at once": at_once,
}
NEAR_AND_ACTIVE = one_close(0.1001, 0.5)

WORLDS = (
    World("equal sets, clear", "false", two_tasks(same(0.5, 0.0))),
    World("equal sets, late heads at .13 and .07", "false", two_tasks(same(0.13, 0.07))),
    World("... all or nothing", "false", two_tasks(same(0.13, 0.07), all_or_nothing)),
    World("... at .101 and .099", "false", two_tasks(same(0.101, 0.099))),
    World("... half of them clear", "false", two_tasks(same(0.5, 0.0, 0.11, 0.09))),
    World(
        "equal sets, six late heads at .12 in one task", "false", two_tasks(one_close(0.12, 0.5))
    ),
    World("... at .08", "false", two_tasks(one_close(0.08, 0.0), all_or_nothing)),
    *(
        World(
            f"... at .1, active in the other{name}",
            "on the threshold",
            two_tasks(NEAR_AND_ACTIVE, draw),
        )
        for name, draw in KINDS.items()
    ),
    World(
        "... the mean of .1 made of rare jumps",
        "on the threshold",
        two_tasks(NEAR_AND_ACTIVE, rarely),
    ),
    *(
        World(
            f"... at .1, idle in the other{name}",
            "on the threshold",
            two_tasks(one_close(0.0999, 0.0), draw),
        )
        for name, draw in KINDS.items()
    ),
    World(
        "late sets disjoint, early ones at .12 and .08",
        "true",
        two_tasks(apart(early=(0.12, 0.08))),
    ),
    World("late sets disjoint, clear (power)", "true", two_tasks(apart())),
    World("... all or nothing (power)", "true", two_tasks(apart(), all_or_nothing)),
    World("... one head in four (power)", "true", two_tasks(apart(one_in=4), all_or_nothing)),
    World("... 16 layers of 16 heads (power)", "true", two_tasks(apart(LARGE))),
    World("... of these, one in ten at .1 (power)", "true", two_tasks(mostly_apart)),
    World("late heads unrelated, of all degrees", "true", two_tasks(of_all_degrees(1))),
    World("... all or nothing", "true", two_tasks(of_all_degrees(1), all_or_nothing)),
    World("... 16 layers of 16 heads", "true", two_tasks(of_all_degrees(LARGE))),
)

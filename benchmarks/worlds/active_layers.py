"""Worlds of active layers: 9 layers that count unless said, and one more, the inert last one."""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from jaxtyping import Bool, Float

from benchmarks.worlds import World
from claims.instruction_vectors.test_active_layers import decide, discover, weights_of
from ivevidence import Decision
from ivmethods.patching.discovery import picking_part
from ivmethods.patching.sweep import LayerTuple, layer_tuples

HEADS = 4
RESAMPLES = 600
LEVEL, SPREAD = 0.4, 0.15  # of mean activities over layers
TOP: tuple[LayerTuple, ...] = ((1, 2), (2, 3, 8), (2, 8))

# Profiles that have nothing to do with each other pass the test of that in 5 % of the worlds, and
# counts scatter. Where the contrast takes off only part of a common cause, more do.
NOMINAL = 0.07
PARTLY_ALIKE = 0.4
# Where r is .6, the difference that was drawn is below the smallest one in some worlds.
WEAK = 0.15

Generator = np.random.Generator
Profile = Float[np.ndarray, " layer"]
Activity = Float[np.ndarray, "sample layer head"]
# The layers' importance when patched, their mean activity, and that under the contrast.
Profiles = tuple[Profile, Profile, Profile]


def _picking(samples: int) -> Bool[np.ndarray, " sample"]:
    return picking_part([str(sample) for sample in range(samples)])  # no two share an answer


def graded(generator: Generator, mean: Profile, samples: int) -> Activity:
    """Activities that scatter around a layer's mean over samples, and a little over heads."""
    layer = 0.1 * generator.normal(size=(samples, len(mean), 1))
    head = 0.05 * generator.normal(size=(samples, len(mean), HEADS))
    return np.clip(mean[None, :, None] + layer + head, 0, 1)


def rare(generator: Generator, mean: Profile, samples: int) -> Activity:
    """All heads of a layer are on all paths of a sample, or none is on any."""
    is_on = generator.random((samples, len(mean), 1)) < mean[None, :, None]
    return np.repeat(is_on.astype(float), HEADS, axis=2)


def profile(generator: Generator, layers: int, kind: str) -> Profile:
    """A standardized profile: independent, a walk, a trend, a fall, or an early bump."""
    z = generator.normal(size=layers)
    depth = np.linspace(-1, 1, layers)
    if kind == "walk":
        z = np.cumsum(z)
    if kind == "trend":
        z = depth * generator.choice([-1, 1]) + 0.3 * z
    if kind == "fall":
        z = -depth + 0.6 * z
    if kind == "bump":
        z = 2 * np.exp(-(((depth + 0.6) / 0.3) ** 2)) + 0.6 * z
    return (z - z.mean()) / z.std()


def activity(z: Profile) -> Profile:
    """Mean activities of a standardized profile."""
    return np.clip(LEVEL + SPREAD * z, 0.01, 0.99)


def unrelated(
    kind: str, layers: int = 9, *, steeper: float = 1.0
) -> Callable[[Generator], Profiles]:
    """Three profiles of a kind that have nothing else to do with each other."""

    def draw(generator: Generator) -> Profiles:
        importance, own, contrast = (profile(generator, layers, kind) for _ in range(3))
        return importance, activity(steeper * own), activity(contrast)

    return draw


def late_alone(generator: Generator) -> Profiles:
    """The tasks differ in the last third of the layers only, which the tuples are in, at random."""
    importance = np.where(np.arange(9) >= 6, 2.0, 0.0) + 0.3 * generator.normal(size=9)
    own = profile(generator, 9, "independent")
    differs = np.where(np.arange(9) >= 6, generator.normal(size=9), 0.0)
    return importance, activity(own), activity(own - differs)


def related(
    r: float, kind: str = "independent", layers: int = 9
) -> Callable[[Generator], Profiles]:
    """Activity follows importance with a correlation; the contrast's has none."""

    def draw(generator: Generator) -> Profiles:
        importance, other, contrast = (profile(generator, layers, kind) for _ in range(3))
        own = r * importance + math.sqrt(1 - r**2) * other
        return importance, activity(own), activity(contrast)

    return draw


def two_layers(layers: int, *pair: int) -> Callable[[Generator], Profiles]:
    """Two layers alone have effects, and activity that the contrast does not have there."""

    def draw(generator: Generator) -> Profiles:
        is_one = np.isin(np.arange(layers), pair or (1, layers // 2))
        scatter = 0.03 * generator.normal(size=(2, layers))
        own, contrast = 0.2 + 0.4 * is_one + scatter[0], np.full(layers, 0.2) + scatter[1]
        return 3.0 * is_one + 0.1 * generator.normal(size=layers), own, np.clip(contrast, 0.01, 1)

    return draw


@cache
def _tuples(
    layers: int,
) -> tuple[tuple[LayerTuple, ...], Float[np.ndarray, "tuple layer"], Bool[np.ndarray, " tuple"]]:
    """Tuples of the layers and the inert one after them, up to three, and what each counts.

    Of many layers up to two.
    """
    tuples = layer_tuples(layers + 1, 3 if layers < 20 else 2)
    parts = [np.isin(np.arange(layers), t) / math.sqrt(len(t)) for t in tuples]
    return tuple(tuples), np.array(parts), np.array([t[-1] == layers for t in tuples])


def layered(
    draw: Callable[[Generator], Profiles], *, scatter: Callable[..., Activity] = graded
) -> Callable[[Generator, int], Decision]:
    """A judge of a world where effects of tuples add up their layers' importance."""

    def judge(generator: Generator, samples: int) -> Decision:
        importance, own, contrast = draw(generator)
        tuples, parts, is_inert = _tuples(len(importance))
        picks = int(_picking(samples).sum())  # the others' effects have no say
        effects = 2 + parts @ importance + 0.5 * generator.normal(size=(picks, len(tuples)))
        chosen = discover(
            effects,
            effects,
            tuples,
            np.ones(picks),
            is_discovery=np.ones(picks, dtype=bool),
            degenerate=is_inert,
        )
        return _judged(generator, own, contrast, chosen, samples, scatter)

    return judge


def with_difference(
    own: float, specific: float, *, scatter: Callable[..., Activity] = graded
) -> Callable[[Generator, int], Decision]:
    """A judge of a world of given top tuples, and given differences of activity between layers."""
    weights = weights_of(TOP, range(9))
    assert weights is not None
    along = weights / (weights @ weights)
    level = 0.3

    def judge(generator: Generator, samples: int) -> Decision:
        means = level + own * along, level + (own - specific) * along
        return _judged(generator, *means, TOP, samples, scatter)

    return judge


def _judged(
    generator: Generator,
    own: Profile,
    contrast: Profile,
    chosen: tuple[LayerTuple, ...],
    samples: int,
    scatter: Callable[..., Activity],
) -> Decision:
    last = 0.5  # of the inert layer, which does not count
    return decide(
        own=scatter(generator, np.append(own, last), samples),
        contrast=scatter(generator, np.append(contrast, last), samples),
        chosen=chosen,
        layers=range(len(own)),
        rr_gap=np.ones(samples),
        is_discovery=_picking(samples),
        resamples=RESAMPLES,
        seed=int(generator.integers(2**31)),
    )


UNRELATED = {"independent": "independent layers", "walk": "random walks", "trend": "trends"}
ALIKE = {"fall": "fall with depth", "bump": "have an early bump"}
PARTLY = {
    "fall": "all three fall, own 1.5 times as far",
    "bump": "all three have a bump, own 1.5 times",
}

WORLDS = (
    *(
        World(
            f"unrelated {name}, {layers} layers",
            "false",
            layered(unrelated(kind, layers)),
            known=NOMINAL,
        )
        for kind, name in UNRELATED.items()
        for layers in (6, 9, 15, 29)
    ),
    *(
        World(
            f"all three {name}, {layers} layers",
            "false",
            layered(unrelated(kind, layers)),
            known=NOMINAL,
        )
        for kind, name in ALIKE.items()
        for layers in (6, 9, 15, 29)
    ),
    *(
        World(
            f"{name}, {layers} layers",
            "false",
            layered(unrelated(kind, layers, steeper=1.5)),
            known=PARTLY_ALIKE,
        )
        for kind, name in PARTLY.items()
        for layers in (9, 29)
    ),
    World("5 layers, two carry it", "not to be told", layered(two_layers(5))),
    World("tasks differ in the tuples' layers alone, at random", "false", layered(late_alone)),
    *(
        World(
            f"own {own}, {specific} of it specific{name}",
            truth,
            with_difference(own, specific, scatter=scatter),
        )
        for own, specific, truth in (
            (0.05, 0.05, "on the threshold"),
            (0.05, 0.15, "on the threshold"),
            (0.2, 0.05, "on the threshold"),
            (0.2, 0.0, "not to be told"),
            (-0.1, -0.1, "false"),
        )
        for name, scatter in {"": graded, ", rare": rare}.items()
    ),
    World("two layers carry it, 6 layers", "true", layered(two_layers(6))),
    *(
        World(f"two layers carry it, {layers} layers (power)", "true", layered(two_layers(layers)))
        for layers in (9, 15, 29)
    ),
    World("... 9 layers, rare", "true", layered(two_layers(9), scatter=rare)),
    World("... 9 layers, they mirror each other", "true", layered(two_layers(9, 2, 6))),
    *(
        World(
            f"r = {r}, {layers} layers",
            "true",
            layered(related(r, layers=layers)),
            known=WEAK if r < 0.9 else 0.0,
        )
        for r in (0.9, 0.6)
        for layers in (9, 15, 29)
    ),
    World("r = 0.9, random walks, 15 layers", "true", layered(related(0.9, "walk", 15))),
)

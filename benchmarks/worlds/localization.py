"""Worlds of localization in rr: a gap of .9, five layers that count, of which one is few."""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float

from benchmarks.worlds import Answers, World, alike, unlike
from claims.instruction_vectors.test_localization import RIVALS, decide, discover, unless_elsewhere
from ivevidence import Decision
from ivmethods.patching.discovery import picking_part
from ivmethods.patching.sweep import layer_tuples

GAP = 0.9
LAYERS = 5
TUPLES = layer_tuples(LAYERS, 2)
FIRST, SECOND = np.array([t for t in TUPLES if len(t) == 2]).T
RESAMPLES = 600
DRAWN = dict(zip(RIVALS, (20, 15, 4), strict=True))  # vectors of each kind

Generator = np.random.Generator
Sample = Float[np.ndarray, " sample"]


def jumps(share: float) -> Callable[[Generator, int], Sample]:
    """The whole gap on a share of the samples, else nothing: reciprocal ranks do that."""
    return lambda generator, samples: np.where(generator.random(samples) < share, GAP, 0.0)


def graded(share: float, spread: float = 0.2) -> Callable[[Generator, int], Sample]:
    """A mean share of the gap, even around it with a standard deviation over samples."""
    reach = np.sqrt(3) * spread
    return lambda generator, samples: GAP * generator.uniform(share - reach, share + reach, samples)


def losses(share: float, loss: float, mean: float) -> Callable[[Generator, int], Sample]:
    """A loss on a share of the samples, elsewhere the same gain; a mean share of the gap."""
    gain = (GAP * mean + share * loss) / (1 - share)
    return lambda generator, samples: np.where(generator.random(samples) < share, -loss, gain)


def by_answer(answers: Answers, share: float, effect: float) -> Callable[[Generator, int], Sample]:
    """On a share of the answers, all samples close the same share of the gap; else none does."""

    def draw(generator: Generator, samples: int) -> Sample:
        numbers = answers(samples)
        is_on = generator.random(numbers.max() + 1) < share
        return GAP * effect * is_on[numbers]

    return draw


def of_two(generator: Generator, samples: int) -> Sample:
    """A tenth of the gap in all, by one of two answers alone."""
    return GAP * ((generator.random(samples) < 0.2) & (alike(2)(samples) == 0))


def localized(
    layer: Callable[[Generator, int], Sample],
    *,
    rival: tuple[str, Callable[[Generator, int], Sample]] | None = None,
    same: bool = False,
    lesser: Callable[[Generator, int], Sample] | None = None,
    contrast: Callable[[Generator, int], Sample] | None = None,
    all_layers: Callable[[Generator, int], Sample] | None = None,
    every: bool = False,
    pairs: Callable[[Generator, int], Sample] | None = None,
    answers: Answers = np.arange,
) -> Callable[[Generator, int], Decision]:
    """A judge of a world where one layer has effects; what isn't given does nothing, or no more.

    rival: one vector of a kind that has effects, too, those of the layer itself where `same`.
    lesser: what the other vectors of that kind have.
    contrast: what the layer has under the other instruction. every: all layers have such effects.
    pairs: what each pair of layers has; else the sum of its layers'. answers: those of the samples;
    each has one of its own unless given.
    """

    def judge(generator: Generator, samples: int) -> Decision:
        def noise(columns: int) -> Float[np.ndarray, "sample column"]:
            return 0.02 * generator.normal(size=(samples, columns))

        single = noise(LAYERS)
        for column in range(LAYERS if every else 1):
            single[:, column] = layer(generator, samples)
        both = np.minimum(single[:, FIRST] + single[:, SECOND], GAP)
        if pairs:
            both = np.tile(pairs(generator, samples)[:, None], len(FIRST))
        effects = np.concatenate([single, both], axis=1)
        specific = effects.copy()
        if contrast:
            specific[:, 0] -= contrast(generator, samples)
        rivals: Mapping[str, np.ndarray] = {kind: noise(count) for kind, count in DRAWN.items()}
        if rival and lesser:
            rivals[rival[0]][:] = np.stack(
                [lesser(generator, samples) for _ in range(DRAWN[rival[0]])], axis=1
            )
        if rival:
            rivals[rival[0]][:, 3] = single[:, 0] if same else rival[1](generator, samples)
        gap = np.clip(GAP + 0.05 * generator.normal(size=samples), 0, 1)
        runs = {
            "gap": gap,
            "all_layers": all_layers(generator, samples) if all_layers else single[:, 0],
        }
        degenerate, labels = np.zeros(len(TUPLES), dtype=bool), list(map(str, answers(samples)))
        is_discovery = picking_part(labels)
        chosen = discover(
            effects, specific, TUPLES, is_discovery=is_discovery, degenerate=degenerate
        )
        decision = decide(
            effects=effects,
            specific=specific,
            chosen=chosen,
            rivals=rivals,
            is_discovery=is_discovery,
            labels=labels,
            resamples=RESAMPLES,
            seed=int(generator.integers(2**31)),
            **runs,
        )
        return unless_elsewhere(
            decision, effects, specific, TUPLES, degenerate=degenerate, draws=RESAMPLES, **runs
        )

    return judge


RANDOM, POSITION, SENTENCE = RIVALS

WORLDS = (
    World("no effect", "false", localized(graded(0.0, 0.02))),
    World("all effects exactly 0", "false", localized(jumps(0.0), every=True)),
    World("jumps on a tenth", "on the threshold", localized(jumps(0.1))),
    World(
        "loss of .5 on 2 %, a tenth in all", "on the threshold", localized(losses(0.02, 0.5, 0.1))
    ),
    World(
        "loss of .5 on 5 %, a tenth in all", "on the threshold", localized(losses(0.05, 0.5, 0.1))
    ),
    World("graded, a tenth in all", "on the threshold", localized(graded(0.1, 0.1))),
    World(
        "unspecific",
        "false",
        localized(jumps(0.6), contrast=jumps(0.6)),
    ),
    World(
        "random vectors as good",
        "on the threshold",
        localized(jumps(0.6), rival=(RANDOM, jumps(0.6))),
    ),
    World(
        "one position of 15 as good",
        "on the threshold",
        localized(jumps(0.6), rival=(POSITION, jumps(0.6))),
    ),
    World(
        "... on the very same samples",
        "false",
        localized(jumps(0.6), rival=(POSITION, jumps(0.6)), same=True),
    ),
    World(
        "... the other positions nearly so",
        "on the threshold",
        localized(jumps(0.5), rival=(POSITION, jumps(0.5)), lesser=jumps(0.35)),
    ),
    World(
        "one neutral sentence of 4 as good",
        "on the threshold",
        localized(graded(0.5), rival=(SENTENCE, graded(0.5))),
    ),
    World(
        "a position is better",
        "false",
        localized(graded(0.4), rival=(POSITION, graded(0.6))),
    ),
    World(
        "half of all layers, jumps",
        "on the threshold",
        localized(jumps(0.4), all_layers=jumps(0.8)),
    ),
    World(
        "half of all layers, graded",
        "on the threshold",
        localized(graded(0.4), all_layers=graded(0.8, 0.1)),
    ),
    World(
        "spread over all layers",
        "false",
        localized(graded(0.15, 0.1), all_layers=graded(0.9, 0.1), every=True),
    ),
    World(
        "takes two layers, single ones are few",
        "not to be told",
        localized(graded(0.02, 0.02), pairs=graded(0.9, 0.1), all_layers=graded(0.9, 0.1)),
    ),
    World("closes .3, graded (power)", "true", localized(graded(0.3, 0.3))),
    World("closes .3, jumps (power)", "true", localized(jumps(0.3))),
    World("closes .5, rare losses (power)", "true", localized(losses(0.02, 0.5, 0.5))),
    World("closes .95, jumps (power)", "true", localized(jumps(0.95))),
    World(
        "a tenth by answer, 10 answers",
        "on the threshold",
        localized(by_answer(alike(10), 0.5, 0.2), answers=alike(10)),
    ),
    World(
        "... 12 answers of unlike sizes",
        "on the threshold",
        localized(by_answer(unlike, 0.5, 0.2), answers=unlike),
    ),
    World(
        "a tenth by a tenth of 10 answers",
        "on the threshold",
        localized(by_answer(alike(10), 0.1, 1.0), answers=alike(10)),
        known=0.45,
    ),
    World("a tenth by one of 2 answers", "on the threshold", localized(of_two, answers=alike(2))),
    World(
        "closes .3, jumps, 10 answers that do not matter (power)",
        "true",
        localized(jumps(0.3), answers=alike(10)),
    ),
    World(
        "closes .3 by answer, 10 answers",
        "true",
        localized(by_answer(alike(10), 0.75, 0.4), answers=alike(10)),
    ),
)

"""Worlds of the resemblance of stages: 15 tuples of three sweeps, a gap of 1 or of .9 in rr."""

from collections.abc import Callable, Collection, Sequence

import numpy as np
from jaxtyping import Float
from scipy import special

from benchmarks.worlds import Answers, World, alike, unlike
from claims.instruction_vectors.test_stages import COMPARED, decide
from ivevidence import Decision

TUPLES = 15
GAP = 0.9
EQUAL = (1.0, 1.0, 1.0)

Generator = np.random.Generator
Correlations = tuple[float, float, float]  # base-sft, base-dpo, sft-dpo
Sweeps = dict[str, Float[np.ndarray, "sample tuple"]]
Draw = Callable[[Generator, int], Sweeps]


def maps(
    generator: Generator, correlations: Correlations, tuples: int = TUPLES
) -> Float[np.ndarray, "tuple stage"]:
    """Mean maps of the stages that correlate exactly so, with mean 0 and standard deviation 1."""
    drawn = generator.normal(size=(tuples, 3))
    axes = np.linalg.qr(drawn - drawn.mean(axis=0))[0] * np.sqrt(tuples - 1)
    wanted = (1 + 1e-9) * np.eye(3)
    wanted[0, 1], wanted[0, 2], wanted[1, 2] = correlations
    return axes @ np.linalg.cholesky(np.maximum(wanted, wanted.T)).T


def noise(
    generator: Generator, shape: tuple[int, int], shared: float
) -> list[Float[np.ndarray, "sample tuple"]]:
    """Normal noise of each stage, of which a share is the query's and the same at all stages."""
    query = np.sqrt(shared) * generator.normal(size=shape)
    return [query + np.sqrt(1 - shared) * generator.normal(size=shape) for _ in COMPARED]


def graded(
    correlations: Correlations,
    *,
    tuples: int = TUPLES,
    scales: Sequence[float] = EQUAL,
    size: float = 3.0,
    shared: float = 0.5,
    heavy: bool = False,
    answers: Answers | None = None,
) -> Draw:
    """Maps that samples show more or less of, the same at all stages, and noise of that size.

    heavy: in how much of the map they show. answers: each with a deviation of its own, too, as
    large as the map, at every stage another one.
    """

    def draw(generator: Generator, samples: int) -> Sweeps:
        means = maps(generator, correlations, tuples)
        spread = generator.normal(size=(samples, 1))
        shown = np.exp(spread - 0.5) if heavy else 1 + 0.5 * spread
        around = noise(generator, (samples, tuples), shared)
        sweeps = {s: scales[k] * means[:, k] * shown + size * around[k] for k, s in _stages()}
        if answers:
            for stage in COMPARED:
                numbers = answers(samples)
                sweeps[stage] += generator.normal(size=(numbers.max() + 1, tuples))[numbers]
        return sweeps

    return draw


def jumps(
    correlations: Correlations,
    *,
    mean: float = 0.5,
    sd: float = 0.2,
    scales: Sequence[float] = EQUAL,
) -> Draw:
    """Jumps to rank 1 whose rates over tuples correlate so; half of their chance is the query's."""

    def draw(generator: Generator, samples: int) -> Sweeps:
        rates = np.clip(mean + sd * maps(generator, correlations), 0, 1)
        return _jumped(generator, samples, [scales[k] * rates[:, k] for k, _ in _stages()])

    return draw


def at_tuples(
    tuples: Sequence[Collection[int]],
    *,
    rate: float = 0.9,
    scales: Sequence[float] = EQUAL,
    losses: float = 0.0,
    giant: Collection[str] = (),
) -> Draw:
    """Jumps at some tuples of each stage, hardly any elsewhere.

    losses: share of the samples that lose .5 at every tuple and stage instead. giant: stages at
    which the first tuple jumps on nearly all samples; it is in no other set.
    """

    def draw(generator: Generator, samples: int) -> Sweeps:
        rates = np.full((3, TUPLES), 0.02)
        for k, stage in _stages():
            rates[k, list(tuples[k])] = rate * scales[k]
            rates[k, 0] = 0.95 if stage in giant else rates[k, 0]
        sweeps = _jumped(generator, samples, rates)
        lost = generator.random((samples, 1)) < losses
        return {stage: np.where(lost, -0.5, values) for stage, values in sweeps.items()}

    return draw


def compared(
    draw: Draw, *, gap: float = GAP, answers: Answers = np.arange
) -> Callable[[Generator, int], Decision]:
    """A judge of sweeps, the gap being the same on all samples and at all stages."""

    def judge(generator: Generator, samples: int) -> Decision:
        gaps = {stage: np.full(samples, gap) for stage in COMPARED}
        labels = list(map(str, answers(samples)))
        return decide(draw(generator, samples), gaps=gaps, labels=labels)

    return judge


def _stages() -> list[tuple[int, str]]:
    return list(enumerate(COMPARED))


def _jumped(
    generator: Generator, samples: int, rates: Sequence[Float[np.ndarray, " tuple"]]
) -> Sweeps:
    chances = [special.ndtr(each) for each in noise(generator, (samples, TUPLES), 0.5)]
    return {stage: GAP * (chances[k] < rates[k]) for k, stage in _stages()}


SAME = ({7, 8, 9},) * 3
OTHER = ({1, 2, 3}, {7, 8, 9}, {7, 8, 9})
FIFTH = (0.2, 1.0, 1.0)
ALIKE = (0.999, 0.999, 0.999)


def _graded(correlations: Correlations, **how: object) -> Callable[[Generator, int], Decision]:
    return compared(graded(correlations, **how), gap=1.0)


WORLDS = (
    World("the same map", "false", _graded(ALIKE)),
    World("... base with a fifth of the effect", "false", _graded(ALIKE, scales=FIFTH)),
    World("... in jumps", "false", compared(jumps(ALIKE))),
    World(
        "... in jumps, base with a fifth of the effect",
        "false",
        compared(jumps(ALIKE, scales=FIFTH)),
    ),
    World(
        "... jumps at three tuples, base a fifth",
        "false",
        compared(at_tuples(SAME, scales=FIFTH)),
    ),
    World(
        "... loss of .5 on 2 % of the samples",
        "false",
        compared(at_tuples(SAME, losses=0.02)),
    ),
    World("0.5 / 0.5 / 0.5, noise nearly the same", "false", _graded((0.5,) * 3, shared=0.95)),
    World("0.8 / 0.4 / 0.75", "false", _graded((0.8, 0.4, 0.75))),
    World("0.9 / 0.4 / 0.4 (refuted)", "false", _graded((0.9, 0.4, 0.4))),
    World(
        "one giant of sft and dpo, else the same",
        "false",
        compared(at_tuples(SAME, rate=0.3, giant=("sft", "dpo"))),
    ),
    World(
        "one giant of base, else the same",
        "false",
        compared(at_tuples(SAME, rate=0.3, giant=("base",))),
    ),
    World(
        "one giant of all, else base at other tuples",
        "not to be told",
        compared(at_tuples(OTHER, rate=0.15, giant=COMPARED)),
    ),
    *(
        World(f"{b} / {d} / {own}{name}", "on the threshold", _graded((b, d, own), **how))
        for b, d, own, name, how in (
            (0.8, 0.8, 0.9, "", {}),
            (0.8, 0.5, 0.9, "", {}),
            (0.8, 0.5, 0.9, ", heavy tails", {"heavy": True}),
            (0.8, 0.5, 0.9, ", a sixth of the noise", {"size": 0.5}),
            (0.5, 0.5, 0.6, ", 100 tuples", {"tuples": 100}),
        )
    ),
    World("0.8 / 0.5 / 0.9, jumps", "on the threshold", compared(jumps((0.8, 0.5, 0.9)))),
    World("0.9 / 0.9 / 1, jumps", "on the threshold", compared(jumps((0.899, 0.899, 0.999)))),
    *(
        World(
            f"0.8 / 0.5 / 0.9, by answer, {name}",
            "on the threshold",
            compared(graded((0.8, 0.5, 0.9), size=1.0, answers=answers), gap=1.0, answers=answers),
        )
        for name, answers in (("10 answers", alike(10)), ("12 of unlike sizes", unlike))
    ),
    World("0.4 / 0.4 / 0.9 (power)", "true", _graded((0.4, 0.4, 0.9))),
    World("0.6 / 0.6 / 0.95 (power)", "true", _graded((0.6, 0.6, 0.95))),
    World("0.4 / 0.4 / 0.9, jumps (power)", "true", compared(jumps((0.4, 0.4, 0.9)))),
    World(
        "0.4 / 0.4 / 0.9, jumps at rates of .4 +- .1",
        "true",
        compared(jumps((0.4, 0.4, 0.9), mean=0.4, sd=0.1)),
    ),
    World(
        "jumps at other tuples (power)",
        "true",
        compared(at_tuples(OTHER)),
    ),
    World(
        "... base with a fifth of the effect (power)",
        "true",
        compared(at_tuples(OTHER, scales=FIFTH)),
    ),
    World(
        "... 10 answers that do not matter (power)",
        "true",
        compared(at_tuples(OTHER), answers=alike(10)),
    ),
)

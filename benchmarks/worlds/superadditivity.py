"""Worlds of superadditivity: five layers, ten pairs, a gap of 1 in the metric unless said."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float

from benchmarks.worlds import Answers, World, alike, unlike
from claims.instruction_vectors.test_superadditivity import SMALLEST_INTERACTION, judge_view
from claims.instruction_vectors.views import Patched
from ivevidence import Decision
from ivmethods.model.metrics import METRICS
from ivmethods.patching.discovery import picking_part
from ivmethods.patching.sweep import Sweep, layer_tuples

LAYERS = 5
TUPLES = layer_tuples(LAYERS, 2)
FIRST, SECOND = np.array([t for t in TUPLES if len(t) == 2]).T
PAIRS = len(FIRST)
SIX = np.arange(PAIRS) < 6
SINGLE = 0.2  # mean effect of a layer
BARELY = SMALLEST_INTERACTION / (1 - SMALLEST_INTERACTION)  # that share of the effect of both

Effects = tuple[Float[np.ndarray, "sample layer"], Float[np.ndarray, "sample tuple"]]
Generator = np.random.Generator


def simulated(
    metric: str,
    effects: dict[str, Effects],
    *,
    gaps: dict[str, Float[np.ndarray, " sample"]] | None = None,
    specific: Effects | None = None,
    answers: Answers = np.arange,
) -> tuple[Patched, list[str]]:
    """What the rule reads: effects of single layers and of pairs by metric, and the answers.

    gaps: 1 where not given. specific: the effects, where no others are given: the contrast does
    nothing.
    """
    values = {name: np.concatenate(both, axis=1) for name, both in effects.items()}
    nothing = {name: np.zeros_like(value) for name, value in values.items()}
    if specific is not None:
        nothing = {name: v - np.concatenate(specific, axis=1) for name, v in values.items()}
    samples = len(values[metric])
    labels = list(map(str, answers(samples)))
    instructed = np.stack([(gaps or {}).get(name, np.ones(samples)) for name in METRICS])
    runs = {"instructed": instructed, "target": np.zeros_like(instructed)}
    sweeps = _sweep(values, samples), _sweep(nothing, samples)
    return Patched(metric, "the contrast", *sweeps, runs, picking_part(labels), 0), labels


def _sweep(values: dict[str, np.ndarray], samples: int) -> Sweep:
    unknown = np.full((samples, len(TUPLES)), np.nan)
    found = torch.from_numpy(np.stack([values.get(name, unknown) for name in METRICS]))
    degenerate = torch.zeros(len(TUPLES), dtype=torch.bool)
    return Sweep(TUPLES, found, torch.zeros(len(METRICS), samples), degenerate)


def in_logits(
    draw: Callable[[Generator, int], Effects], answers: Answers = np.arange
) -> Callable[[Generator, int], Decision]:
    """A judge of effects in logits, which that metric alone decides."""

    def judge(generator: Generator, samples: int) -> Decision:
        effects = {"logit": draw(generator, samples)}
        return judge_view(*simulated("logit", effects, answers=answers))[1]

    return judge


def alone(generator: Generator, samples: int) -> Float[np.ndarray, "sample layer"]:
    """Effects of single layers."""
    return SINGLE * (1 + 0.5 * generator.normal(size=(samples, LAYERS)))


def scatter(
    generator: Generator, samples: int, *, rho: float = 0.5, heavy: bool = False
) -> Float[np.ndarray, "sample tuple"]:
    """Noise, correlated over pairs; heavy: t with 3 degrees of freedom, a sample's pairs alike."""
    shared, own = generator.normal(size=(samples, 1)), generator.normal(size=(samples, PAIRS))
    noise = np.sqrt(rho) * shared + np.sqrt(1 - rho) * own
    return noise / np.sqrt(generator.chisquare(3, size=(samples, 1)) / 3) if heavy else noise


def interacting(
    sizes: float | np.ndarray, *, noise: float = 0.05, barely: bool = False, **scattered: object
) -> Callable[[Generator, int], Effects]:
    """Interactions of given sizes with symmetric noise.

    barely: with exactly the share of the effect that is asked for, on top.
    """

    def draw(generator: Generator, samples: int) -> Effects:
        singles = alone(generator, samples)
        both = singles[:, FIRST] + singles[:, SECOND]
        at_least = BARELY * np.abs(both) if barely else 0.0
        return singles, both + at_least + sizes + noise * scatter(generator, samples, **scattered)

    return draw


def mixture(share: float, others: float) -> Callable[[Generator, int], Effects]:
    """Six pairs interact on a share of the samples each, four on another share."""

    def draw(generator: Generator, samples: int) -> Effects:
        singles = alone(generator, samples)
        is_on = generator.random((samples, PAIRS)) < np.where(SIX, share, others)
        return singles, singles[:, FIRST] + singles[:, SECOND] + np.where(is_on, 0.2, -0.1)

    return draw


def jointly(generator: Generator, samples: int) -> Effects:
    """Every pair interacts on half of the samples: on a tenth all at once, else by itself."""
    singles = alone(generator, samples)
    at_once = generator.random((samples, 1)) < 0.1
    is_on = at_once | (generator.random((samples, PAIRS)) < 0.4 / 0.9)
    return singles, singles[:, FIRST] + singles[:, SECOND] + np.where(is_on, 0.2, -0.1)


def half_each(generator: Generator, samples: int) -> Effects:
    """One layer restores half of the samples, another one the other half."""
    first = generator.random((samples, 1)) < 0.5
    singles = np.where(first, [0.9, 0, 0.9, 0, 0], [0, 0.9, 0, 0.9, 0])
    return singles, np.maximum(singles[:, FIRST], singles[:, SECOND])


def ties(generator: Generator, samples: int) -> Effects:
    """Effects add up exactly."""
    singles = np.round(alone(generator, samples), 1)
    return singles, singles[:, FIRST] + singles[:, SECOND]


def jumps(share: float) -> Callable[[Generator, int], Effects]:
    """A pair restores a share of the samples, single layers none: discrete, with ties."""

    def draw(generator: Generator, samples: int) -> Effects:
        is_on = generator.random((samples, PAIRS)) < share
        return np.zeros((samples, LAYERS)), np.where(is_on, 1.0, 0.0)

    return draw


def saturated(share: float) -> Callable[[Generator, int], Effects]:
    """One layer closes a share of the gap; two layers never more than all of it."""

    def draw(generator: Generator, samples: int) -> Effects:
        closed = np.array([share, *[0.3] * (LAYERS - 1)])
        singles = np.clip(closed + 0.1 * generator.normal(size=(samples, LAYERS)), 0, 1)
        return singles, 1 - (1 - singles[:, FIRST]) * (1 - singles[:, SECOND])

    return draw


def by_answer(answers: Answers, share: float = 0.5) -> Callable[[Generator, int], Effects]:
    """Each answer decides whether its samples' pairs interact; a share of all answers do."""

    def draw(generator: Generator, samples: int) -> Effects:
        numbers, singles = answers(samples), alone(generator, samples)
        is_on = (generator.random(numbers.max() + 1) < share)[numbers, None]
        noise = 0.05 * scatter(generator, samples)
        return singles, singles[:, FIRST] + singles[:, SECOND] + np.where(is_on, 0.2, -0.2) + noise

    return draw


def harmful(generator: Generator, samples: int) -> Decision:
    """Four pairs interact; six interact too but harm, only less than the contrast's do."""
    singles = alone(generator, samples)
    both, noise = singles[:, FIRST] + singles[:, SECOND], 0.05 * scatter(generator, samples)
    together = np.where(SIX, -0.3, both + 0.3) + noise
    specific = (singles, np.abs(together))
    effects = {"logit": (singles, together)}
    return judge_view(*simulated("logit", effects, specific=specific))[1]


def ranked(
    interaction: float, *, rivals: int = 200, start: float = 0.0, noise: float = 0.1
) -> Callable[[Generator, int], Decision]:
    """Lets logits add up, or interact, and reads reciprocal ranks among rivals from them."""

    def judge(generator: Generator, samples: int) -> Decision:
        base = start + generator.normal(size=(samples, 1))
        singles = 1.5 + 0.3 * generator.normal(size=(samples, LAYERS))
        both = singles[:, FIRST] + singles[:, SECOND] + interaction
        both += noise * scatter(generator, samples)
        logits = {"alone": singles, "both": both, "gap": np.full((samples, 1), 6.0)}
        rr = {k: _rr(base + v, rivals) - _rr(base, rivals) for k, v in logits.items()}
        effects = {"rr": (rr["alone"], rr["both"]), "logit": (singles, both)}
        gaps = {"rr": rr["gap"][:, 0], "logit": logits["gap"][:, 0]}
        return judge_view(*simulated("rr", effects, gaps=gaps))[1]

    return judge


def _rr(
    logit: Float[np.ndarray, "sample vector"], rivals: int
) -> Float[np.ndarray, "sample vector"]:
    """1 / rank of an answer, as many rivals above it as a tail that halves every 0.7 logits has."""
    return 1 / (1 + np.floor(rivals * np.exp(-logit)))


def discrete_and(generator: Generator, samples: int) -> Decision:
    """Six pairs of layers answer together on nine samples of ten, and no layer alone."""
    is_on = (generator.random((samples, 1)) < 0.9) & SIX
    nothing = np.zeros((samples, LAYERS))
    singles = 0.05 * generator.normal(size=(samples, LAYERS))
    logits = np.where(is_on, 6.0, 0.0) + 0.1 * scatter(generator, samples)
    gaps = {"rr": np.ones(samples), "logit": np.full(samples, 8.0)}
    effects = {"rr": (nothing, np.where(is_on, 0.9, 0.0)), "logit": (singles, logits)}
    return judge_view(*simulated("rr", effects, gaps=gaps))[1]


def of_ten(true: int) -> np.ndarray:
    """Interactions of ten pairs: some superadditive, the others sub-additive on every sample."""
    return np.where(np.arange(PAIRS) < true, 0.5, -0.1)


WORLDS = (
    World("effects add up", "false", in_logits(interacting(0.0, noise=0.1))),
    World("... exactly (ties)", "false", in_logits(ties)),
    World(
        "interactions of exactly 5 % of the effect",
        "on the threshold",
        in_logits(interacting(0.0, barely=True)),
    ),
    *(
        World(f"... {name}", "on the threshold", in_logits(interacting(0.0, barely=True, **how)))
        for name, how in {
            "pairs independent": {"rho": 0.0},
            "pairs correlated 0.95": {"rho": 0.95},
            "heavy tails": {"heavy": True},
        }.items()
    ),
    World("on half of the samples, all at once on a tenth", "on the threshold", in_logits(jointly)),
    World("on half of the samples, discrete", "on the threshold", in_logits(jumps(0.5))),
    World("6 of 10 on .504 of the samples, the rest on .2", "true", in_logits(mixture(0.504, 0.2))),
    World("... on .55", "true", in_logits(mixture(0.55, 0.2))),
    World("... on .60", "true", in_logits(mixture(0.60, 0.2))),
    World("... on .80 (power)", "true", in_logits(mixture(0.80, 0.2))),
    World("4 of 10, 6 swamp them", "false", in_logits(interacting(of_ten(4)))),
    World("5 of 10", "false", in_logits(interacting(of_ten(5)))),
    World("6 of 10, 4 swamp them (power)", "true", in_logits(interacting(of_ten(6)))),
    World(
        "10 of 10 by half a sd above that (power)",
        "true",
        in_logits(interacting(0.05, noise=0.1, barely=True)),
    ),
    World("jumps on a fifth, ties elsewhere", "false", in_logits(jumps(0.2))),
    World("half of the samples by one layer, half by another", "false", in_logits(half_each)),
    World("one layer closes .95 of the gap", "not to be told", in_logits(saturated(0.95))),
    World("one layer closes .65 of the gap", "false", in_logits(saturated(0.65))),
    World("harmful candidates beside 4 true ones", "true", harmful),
    World("logits add up, 1/rank (convex)", "false", ranked(0.0)),
    World("... without noise in logits", "false", ranked(0.0, noise=0.0)),
    World("... from far down", "false", ranked(0.0, rivals=2000, start=-1.0)),
    World("logits interact, 1/rank (power)", "true", ranked(1.0)),
    World("discrete AND of two layers (power)", "true", discrete_and),
    World(
        "interactions by answer, 10 answers",
        "on the threshold",
        in_logits(by_answer(alike(10)), alike(10)),
    ),
    World(
        "... 12 answers of unlike sizes",
        "on the threshold",
        in_logits(by_answer(unlike), unlike),
    ),
    World(
        "6 of 10 on .80, 10 answers that do not matter (power)",
        "true",
        in_logits(mixture(0.80, 0.2), alike(10)),
    ),
    World(
        "interactions on 95 % of 12 answers of unlike sizes",
        "true",
        in_logits(by_answer(unlike, 0.95), unlike),
    ),
)

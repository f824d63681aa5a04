"""Simulated worlds in which the truth is known, by rule: one module each, with its WORLDS."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

import numpy as np
from jaxtyping import Integer

from ivevidence import Decision

Answers = Callable[[int], Integer[np.ndarray, " sample"]]  # of a number of samples

RULES = (  # names of this package's modules
    "behaviour",
    "localization",
    "superadditivity",
    "stages",
    "linear_separability",
    "tinst_path_dominance",
    "head_sharing",
    "active_layers",
    "agreement",
    "drifts",
)
SIZES = (20, 30, 50, 100, 200)
# What a rule may say, by what is true: the largest rates of supported and of refuted.
LIMITS = {
    "true": (1.0, 0.05),
    "false": (0.05, 1.0),
    "on the threshold": (0.07, 0.07),
    "not to be told": (0.05, 0.05),
}


@dataclass(frozen=True)
class World:
    """A truth and how samples come about in it.

    truth: a key of LIMITS. judge: one decision, of a generator and a number of samples. known: the
    largest rate of an error that the rule is known to make here, where that is above the limit; it
    stands in docs/decision-rules.md.
    """

    name: str
    truth: str
    judge: Callable[[np.random.Generator, int], Decision]
    known: float = 0.0

    @property
    def limits(self) -> tuple[float, float]:
        """The largest rates of supported and of refuted that the rule may have."""
        supported, refuted = LIMITS[self.truth]
        return max(supported, self.known), max(refuted, self.known)


@dataclass(frozen=True)
class Rates:
    """Shares of the runs with each verdict."""

    supported: float
    refuted: float


def worlds(rule: str) -> Sequence[World]:
    """The worlds of one of RULES."""
    return import_module(f"{__name__}.{rule}").WORLDS


def rates(world: World, *, samples: int, runs: int) -> Rates:
    """Verdicts over runs, the same ones in every call."""
    generator = np.random.default_rng(0)
    verdicts = Counter(world.judge(generator, samples).verdict for _ in range(runs))
    return Rates(verdicts["supported"] / runs, verdicts["refuted"] / runs)


def alike(count: int) -> Answers:
    """So many answers, each of about as many samples."""
    return lambda samples: np.arange(samples) % count


def unlike(samples: int) -> Integer[np.ndarray, " sample"]:
    """Twelve answers of unlike numbers of samples: those of the packaged task on colors."""
    sizes = np.array([26, 22, 21, 17, 16, 13, 11, 10, 9, 8, 5, 2])
    shares = np.cumsum(sizes) / sizes.sum()
    return np.searchsorted(shares, (np.arange(samples) + 0.5) / samples)

"""Worlds of T_inst path dominance: T_inst, the token before it, and later ones; leads are known."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy import optimize

from benchmarks.worlds import World
from claims.instruction_vectors.test_tinst_path_dominance import LARGEST_LAG, decide
from ivevidence import Decision

DRAWS = 600
FAR = 0.8
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(60)

Generator = np.random.Generator
# T_inst's values first, then those of the tokens before and after it, then those of later ones.
Draw = Callable[[Generator, int], Float[np.ndarray, "sample token"]]


def against(draw: Draw, *, pooled: bool = False) -> Callable[[Generator, int], Decision]:
    """A judge of numbers of paths; pooled: of shares, against a single rival."""

    def judge(generator: Generator, samples: int) -> Decision:
        values = draw(generator, samples)
        names = [f"token {token}" for token in range(1, values.shape[1])]
        return decide(
            own=values[:, 0],
            rivals=dict(zip(names, values[:, 1:].T, strict=True)),
            beside=() if pooled else names[:2],
            draws=DRAWS,
            seed=int(generator.integers(2**31)),
        )

    return judge


def spread(
    *leads: float, sd: float = 1.0, sd_own: float | None = None, rho: float = 0.5, none: float = 0.0
) -> Draw:
    """Log-normal numbers of paths, correlated over tokens, over which T_inst has given leads.

    none: share of the samples on which a token has no high-ranking path, each by itself.
    """
    scatter = np.array([sd if sd_own is None else sd_own, *[sd] * len(leads)])
    apart = np.sqrt(rho) * (scatter[0] - scatter[1:])
    difference = np.sqrt(apart**2 + (1 - rho) * (scatter[0] ** 2 + scatter[1:] ** 2))
    both = (1 - none) / (1 + none)  # of the samples on which either has paths
    shifts = [_shift(lead / both, width) for lead, width in zip(leads, difference, strict=True)]

    def draw(generator: Generator, samples: int) -> Float[np.ndarray, "sample token"]:
        shared, own = (
            generator.normal(size=(samples, 1)),
            generator.normal(size=(samples, 1 + len(leads))),
        )
        logs = scatter * (np.sqrt(rho) * shared + np.sqrt(1 - rho) * own) - [0.0, *shifts]
        return np.where(generator.random(logs.shape) < none, 0.0, 50 * np.exp(logs))

    return draw


def _shift(lead: float, width: float) -> float:
    """Mean of a normal difference of logarithms at which the relative lead has a given mean."""

    def off(mean: float) -> float:
        return float(np.tanh((mean + width * NODES) / 2) @ WEIGHTS / WEIGHTS.sum()) - lead

    return float(optimize.brentq(off, -30, 30))


def rarely(share: float, lead: float, *others: float, elsewhere: int = 1) -> Draw:
    """T_inst has no path on a share of the samples; else the same lead, so that the mean is known.

    others: leads on the samples where T_inst has paths. elsewhere: rivals with the given mean lead.
    """
    gain = (lead + share) / (1 - share)

    def draw(generator: Generator, samples: int) -> Float[np.ndarray, "sample token"]:
        own = np.where(generator.random(samples) < share, 0.0, 50.0)
        leads = np.array([*[gain] * elsewhere, *others])
        rivals = np.tile(50 * (1 - leads) / (1 + leads), (samples, 1))
        return np.column_stack([own, rivals])

    return draw


def giants(token: int, lead: float) -> Draw:
    """T_inst has a lead over the token before; on 2 % of the samples a token has 200 times more."""
    plain = spread(lead, FAR, FAR, sd=0.5)

    def draw(generator: Generator, samples: int) -> Float[np.ndarray, "sample token"]:
        values = plain(generator, samples)
        values[:, token] *= np.where(generator.random(samples) < 0.02, 200.0, 1.0)
        return values

    return draw


def ties(*leads: float) -> Draw:
    """The same leads on every sample."""
    ratios = np.array([1, *((1 - lead) / (1 + lead) for lead in leads)])
    return lambda generator, samples: generator.integers(1, 100, size=(samples, 1)) * ratios


def few(*means: float) -> Draw:
    """Numbers of paths of a few, with ties and zeros (Poisson)."""
    return lambda generator, samples: generator.poisson(means, (samples, len(means))).astype(float)


def by_answer(generator: Generator, samples: int) -> Float[np.ndarray, "sample token"]:
    """Each of ten answers has its own lead over the token before, on average the largest lag."""
    lead = generator.choice([-0.3, 0.2], size=10)[generator.integers(10, size=samples)]
    return 50 * np.column_stack([np.ones(samples), (1 - lead) / (1 + lead), np.full(samples, 0.2)])


LAG = -LARGEST_LAG


def at_lag(sd: float, *, none: float = 0.0, **how: float) -> Callable[[Generator, int], Decision]:
    """The token before leads T_inst by the largest lag, the others have far fewer."""
    far = FAR * (1 - none) / (1 + none)
    return against(spread(LAG, far, far, sd=sd, none=none, **how))


WORLDS = (
    World("all tokens alike", "on the threshold", against(spread(0, 0, 0))),
    World("... on every sample (ties)", "on the threshold", against(ties(0, 0, 0))),
    World("... a few paths (ties, zeros)", "on the threshold", against(few(2, 2, 2, 2))),
    World("... sd 2", "on the threshold", against(spread(0, 0, 0, sd=2))),
    World(
        "numbers fall by 4 % a token",
        "on the threshold",
        against(spread(-0.02, 0.02, 0.04, sd=0.2, rho=0.9)),
    ),
    World(
        "numbers fall by a third a token",
        "false",
        against(spread(-0.2, 0.2, 0.38, sd=0.2, rho=0.9)),
    ),
    World(
        "gains make up for none on 2 %",
        "on the threshold",
        against(rarely(0.02, 0, FAR, elsewhere=2)),
    ),
    World("the token before leads by 5 %", "on the threshold", at_lag(1)),
    World("... sd 2", "on the threshold", at_lag(2)),
    World("... sd .2, correlated .9", "on the threshold", at_lag(0.2, rho=0.9)),
    World("... none on 40 % of the samples", "on the threshold", at_lag(1, none=0.4)),
    World("... none on 80 %", "on the threshold", at_lag(1, none=0.8)),
    World("... tails: T_inst 1, rivals .3", "on the threshold", at_lag(0.3, sd_own=1)),
    World("... tails: .3 and 1", "on the threshold", at_lag(1, sd_own=0.3)),
    World("... tails: 1.5 and .3", "on the threshold", at_lag(0.3, sd_own=1.5)),
    World("... tails: .3 and 1.5", "on the threshold", at_lag(1.5, sd_own=0.3)),
    World("... T_inst has none on 2 %", "on the threshold", against(rarely(0.02, LAG, FAR, FAR))),
    World("... on 5 %", "on the threshold", against(rarely(0.05, LAG, FAR, FAR))),
    World("... by answer, 10 answers", "on the threshold", against(by_answer), known=0.4),
    World(
        "each of ten later tokens leads by 5 %",
        "on the threshold",
        against(spread(0.3, 0.3, *[LAG] * 10)),
    ),
    World("one of ten leads by 20 %", "false", against(spread(*[0.3] * 9, -0.2, sd=0.5))),
    World("half as many as the token before", "false", against(spread(-1 / 3, FAR, FAR, sd=0.5))),
    World("fewer, but for giants on 2 %", "false", against(giants(0, -1 / 3))),
    World("more, but for a rival's giants on 2 %", "true", against(giants(1, 1 / 3))),
    World("level with the one before, others far fewer", "true", against(ties(0, 0.3, 0.3))),
    World("... sd .2, correlated .9", "true", against(spread(0, 0.3, 0.3, sd=0.2, rho=0.9))),
    World(
        "leads by 10 %, sd .2, correlated .9 (power)",
        "true",
        against(spread(*[0.1] * 3, sd=0.2, rho=0.9)),
    ),
    World("leads by 20 %, sd .5 (power)", "true", against(spread(*[0.2] * 3, sd=0.5))),
    World("leads by 20 % (power)", "true", against(spread(*[0.2] * 3))),
    World("leads by 50 %, none on 30 % (power)", "true", against(spread(*[0.5] * 3, none=0.3))),
    World("shares alike", "on the threshold", against(spread(0, sd=0.5), pooled=True)),
    World(
        "... tails 1 and .3", "on the threshold", against(spread(0, sd=0.3, sd_own=1), pooled=True)
    ),
    World("... T_inst has none on 2 %", "on the threshold", against(rarely(0.02, 0), pooled=True)),
    World("shares lead by 10 %, sd .2 (power)", "true", against(spread(0.1, sd=0.2), pooled=True)),
    World("shares lag by 10 %, sd .2", "false", against(spread(-0.1, sd=0.2), pooled=True)),
)

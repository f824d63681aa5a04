"""Head sharing: how far two tasks have the same active heads, against random sets of heads."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Integer
from scipy import special

from ivmethods.paths.heads import active, first_fifth, last_third, side_p, with_paths
from ivmethods.statistics.univariate import ALPHA, Interval


@dataclass(frozen=True)
class Sharing:
    """Similarity of two tasks' active heads in the first fifth and in the last third of the layers.

    jaccard, corrected: (first fifth, last third), plain and chance-corrected; NaN where undefined.
    difference: chance-corrected, first fifth minus last third. Its bounds are the smallest and the
    largest value over all sets of active heads that the samples allow.
    undecided: how many of the `activities_compared` cannot be told from 0.1.
    """

    jaccard: tuple[float, float]
    corrected: tuple[float, float]
    difference: Interval
    undecided: int


def jaccard(
    first: Bool[np.ndarray, "*sets head"], second: Bool[np.ndarray, "*sets head"]
) -> Float[np.ndarray, "*sets"]:
    """Jaccard similarity of sets of heads: heads in both / heads in any, NaN if both are empty.

    Source: Tables 3 and 20-24.
    """
    union = (first | second).sum(axis=-1)
    return np.where(union > 0, (first & second).sum(axis=-1) / np.maximum(union, 1), np.nan)


def chance_corrected_jaccard(
    first: Bool[np.ndarray, "*sets head"], second: Bool[np.ndarray, "*sets head"]
) -> Float[np.ndarray, "*sets"]:
    """(J - E) / (1 - E): 1 for equal sets, 0 on average for random sets of the same sizes.

    E is the exact mean of the Jaccard similarity J over all pairs of sets of these sizes. NaN where
    both sets are empty, or both hold every head: all sets of these sizes are the same.

    Deviation: the paper's plain Jaccard similarity grows with the number of active heads.
    """
    both, one, other = (np.asarray(s.sum(axis=-1)) for s in (first & second, first, second))
    return _corrected(both, one, other, heads=first.shape[-1])


def sharing(
    own: Float[np.ndarray, "sample layer head"], contrast: Float[np.ndarray, "sample layer head"]
) -> Sharing:
    """Similarity of the active heads of two tasks over the same queries, at one place.

    own, contrast: activities as in `head_activity`; a sample with NaN is dropped from both.

    Each activity is called above or not above 0.1 where the samples tell so (`side_p`, 5 % divided
    by the number of activities, those of the heads of both groups in both tasks), and is left open
    elsewhere. All calls are right with 95 % confidence, whatever the activities' distribution and
    dependence; then the difference of the true sets is one of those that the open ones can make,
    and these bounds hold without resampling. They are infinite where an undefined one is possible,
    as it is below `samples_to_tell_idle` of that number: then no head can be told to be idle, and
    all may be active.

    Raises: ValueError with fewer than two samples.
    Source: section 6.1 and appendix F.2.
    Deviation: the paper shows no uncertainty. A bootstrap of the sets would not do: a head close to
    0.1 is active in a resample and not in the next, in one task and not in the other. That looks
    like two tasks that differ, the more so the more such heads there are.
    """
    kept = with_paths(own, contrast)
    n, (layers, heads) = int(kept.sum()), own.shape[1:]
    if n < 2:
        raise ValueError(
            f"samples with high-ranking paths in both tasks={n}, but should be at least 2 "
            "[sharing]: take more samples"
        )
    # Both groups in one column of heads, the two tasks one after the other.
    groups = [*first_fifth(layers), *last_third(layers)]
    size = len(first_fifth(layers)) * heads
    values = np.stack([a[kept][:, groups].reshape(n, -1) for a in (own, contrast)], axis=1)
    calls = active(values.mean(axis=0))
    p = side_p(values.reshape(n, -1)).reshape(calls.shape)
    early, late = np.s_[:, :size], np.s_[:, size:]
    corrected = [float(chance_corrected_jaccard(*calls[group])) for group in (early, late)]

    def at(level: float) -> tuple[float, float]:
        known = p < level / calls.size
        (low, high), (low_late, high_late) = (_bounds(calls[g], known[g]) for g in (early, late))
        return low - high_late, high - low_late

    return Sharing(
        jaccard=(float(jaccard(*calls[early])), float(jaccard(*calls[late]))),
        corrected=(corrected[0], corrected[1]),
        difference=Interval(corrected[0] - corrected[1], *at(ALPHA), n, at),
        undecided=int((p >= ALPHA / calls.size).sum()),
    )


def activities_compared(shape: tuple[int, int]) -> int:
    """How many activities the similarities are made of: of the heads of both groups, in both tasks.

    shape: number of layers, and of heads in each.
    """
    layers, heads = shape
    return 2 * heads * (len(first_fifth(layers)) + len(last_third(layers)))


def _bounds(
    calls: Bool[np.ndarray, "2 head"], known: Bool[np.ndarray, "2 head"]
) -> tuple[float, float]:
    """Smallest and largest chance-corrected similarity over all ways to fill in what is not known.

    It depends on the sizes of the two sets and on how many heads are in both. So it is enough to
    add s heads to one set and t to the other, for every s and t, and to count how few and how many
    of them can be in both.
    """
    (one, other), (told, other_told) = calls, known
    in_one, in_other = (one & told).sum(), (other & other_told).sum()
    in_both = (one & told & other & other_told).sum()
    pair_open = (~told & ~other_told).sum()
    one_open_other_in = (~told & other_told & other).sum()
    one_open_other_out = (~told & other_told & ~other).sum()
    other_open_one_in = (told & ~other_told & one).sum()
    other_open_one_out = (told & ~other_told & ~one).sum()
    s = np.arange((~told).sum() + 1)[:, None]
    t = np.arange((~other_told).sum() + 1)[None, :]
    # As many as possible in both: first where the other set has the head already.
    joining, other_joining = np.minimum(s, one_open_other_in), np.minimum(t, other_open_one_in)
    joined = np.minimum(np.minimum(s - joining, t - other_joining), pair_open)
    # As few as possible: first where the other set does not have it, then in different open heads.
    forced = np.maximum(s - one_open_other_out, 0) + np.maximum(t - other_open_one_out, 0)
    most = in_both + joining + other_joining + joined
    fewest = in_both + np.maximum(forced - pair_open, 0)
    sizes = in_one + s + 0 * t, in_other + t + 0 * s
    lows, highs = (_corrected(x, *sizes, heads=calls.shape[1]) for x in (fewest, most))
    if np.isnan(lows).any():
        return -np.inf, np.inf
    return float(lows.min()), float(highs.max())


def _corrected(
    both: Integer[np.ndarray, "*sets"],
    one: Integer[np.ndarray, "*sets"],
    other: Integer[np.ndarray, "*sets"],
    *,
    heads: int,
) -> Float[np.ndarray, "*sets"]:
    sizes, rows = np.unique(one, return_inverse=True)
    expected = np.stack([_expected_jaccards(int(size), heads) for size in sizes])
    expected = expected[rows.reshape(one.shape), other]
    undefined = (one + other == 0) | (one + other == 2 * heads)
    found = both / np.maximum(one + other - both, 1)
    return np.where(undefined, np.nan, (found - expected) / np.where(undefined, 1, 1 - expected))


@lru_cache(maxsize=1024)
def _expected_jaccards(one: int, heads: int) -> Float[np.ndarray, " size"]:
    """Mean of J over random pairs of sets, one of this size and one of every size up to `heads`.

    Their intersection is hypergeometric.
    """
    sizes, both = np.arange(heads + 1)[:, None], np.arange(heads + 1)
    possible = (both <= one) & (both <= sizes) & (both >= one + sizes - heads)
    both = np.where(possible, both, np.maximum(0, one + sizes - heads))
    log = special.gammaln(np.arange(heads + 1) + 1)  # of the factorials
    chosen = log[one] + log[sizes] + log[heads - one] + log[heads - sizes] - log[heads]
    parts = log[both] + log[one - both] + log[sizes - both] + log[heads - one - sizes + both]
    jaccards = both / np.maximum(one + sizes - both, 1)
    return np.where(possible, np.exp(chosen - parts) * jaccards, 0.0).sum(axis=1)

"""Decoding of a printed t-test of yes-or-no values to the count of yes behind it."""

import functools
import math
from dataclasses import dataclass

from scipy import stats

# What the paper holds the share of samples against, which is in [0, 1]: every test rejects.
NULL_MEAN = 50.0


@dataclass(frozen=True)
class PrintedTest:
    """A t statistic and its two-sided p-value, as text with four significant digits."""

    t: str
    p: str


@dataclass(frozen=True)
class Decoding:
    """The counts of `samples` samples that print as a given test, ascending.

    Where none does, `counts` is empty and `nearest` is the count with the nearest t.
    """

    counts: tuple[int, ...]
    samples: int
    nearest: int | None = None

    @property
    def least(self) -> int:
        """The smallest count that the print allows; 0 where it fits none."""
        return self.counts[0] if self.counts else 0

    @property
    def most(self) -> int:
        """The largest count that the print allows; all samples where it fits none."""
        return self.counts[-1] if self.counts else self.samples


def printed_test(count: int, samples: int) -> PrintedTest:
    """The one-sample t-test of `count` ones among zeros against 50, as the paper prints it.

    t = (m - 50) / sqrt(m (1 - m) / (samples - 1)), m = count / samples, two-sided. Without variance
    t is -inf and p 0. Floats suffice: p is off by 2e-14 of itself at most, and of 100 samples no
    count is nearer than 7e-7 to where its print would change.

    Raises: ValueError if there are fewer than 2 samples, or not that many ones.
    Source: docs/design.md, "The superadditivity test"; Tables 5-8.
    """
    if samples < 2 or not 0 <= count <= samples:
        expected = "from 0 to the number of samples, which is at least 2"
        raise ValueError(
            f"count={count} of {samples}, but should be {expected} [printed_test]; correct it"
        )
    mean = count / samples
    error = math.sqrt(mean * (1 - mean) / (samples - 1))
    t = (mean - NULL_MEAN) / error if error else -math.inf
    return PrintedTest(f"{t:.3e}", f"{2 * stats.t.sf(-t, samples - 1):.3e}")


def decode(test: PrintedTest, samples: int) -> Decoding:
    """All counts of `samples` that print as `test`, in t and in p.

    Of 100 samples, two counts print alike three times: 0 and 100, 45 and 56, 50 and 51. Eleven
    more pairs that sum to 101 print the same t; p tells them apart.
    """
    prints = _prints(samples)
    if test in prints:
        return Decoding(prints[test], samples)

    def distance(printed: PrintedTest) -> float:
        # Equal infinities have no difference.
        return 0.0 if printed.t == test.t else abs(float(printed.t) - float(test.t))

    return Decoding((), samples, prints[min(prints, key=distance)][0])


@functools.cache
def _prints(samples: int) -> dict[PrintedTest, tuple[int, ...]]:
    """The counts behind every print, ascending."""
    found: dict[PrintedTest, tuple[int, ...]] = {}
    for count in range(samples + 1):
        printed = printed_test(count, samples)
        found[printed] = (*found.get(printed, ()), count)
    return found

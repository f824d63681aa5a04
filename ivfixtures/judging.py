"""From criteria to a verdict: the same logic for every claim."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from ivevidence.records import Criterion, Decision
from ivmethods.statistics import Interval, finite, sample_size_to_decide


def criterion(
    name: str,
    description: str,
    interval: Interval,
    threshold: float,
    *,
    p_value: float | None = None,
    unit: str = "",
) -> Criterion:
    """A criterion from an interval of what it is about."""
    return Criterion(
        name=name,
        description=description,
        estimate=interval.estimate,
        low=interval.low,
        high=interval.high,
        threshold=threshold,
        n=interval.n,
        p_value=p_value,
        unit=unit,
    )


def judge(criteria: Sequence[Criterion], *, samples: int) -> Decision:
    """Supported if every criterion is beyond its threshold, refuted if any is short of it.

    Supporting takes all criteria at once, so each may be judged at the full alpha. Refuting takes
    any one, so their `high` bounds share the alpha: make them at alpha / number of criteria.

    samples: samples of the cell, of which the criteria saw some. `samples_to_decide` is in the same
    unit: how many the cell needs, as far as the present estimates can tell.
    """
    short = [c for c in criteria if c.outcome == "short"]
    undecided = [c for c in criteria if c.outcome == "open"]
    if short:
        return Decision("refuted", "; ".join(map(_in_words, short)), tuple(criteria), None)
    if not undecided:
        return Decision("supported", "; ".join(map(_in_words, criteria)), tuple(criteria), None)
    needed = _samples_to_decide(criteria, samples)
    reason = "; ".join(map(_in_words, undecided))
    reason += f"; about {needed} samples would decide" if needed else ""
    return Decision("inconclusive", reason, tuple(criteria), needed)


def no_headroom(rr_gap: Float[np.ndarray, " sample"], smallest: float) -> Decision | None:
    """An inconclusive decision where the target run answers nearly as well as the instructed one.

    rr_gap: rr(instructed) - rr(target). There is nothing to restore where its mean is below
    `smallest`.
    """
    gap = float(finite(rr_gap, "rr_gap", "no_headroom").mean())
    if gap >= smallest:
        return None
    reason = f"no headroom: mean rr gap {gap:.3g} between instructed and target run, but should be "
    return Decision("inconclusive", f"{reason}at least {smallest:.3g}", (), None)


def _in_words(c: Criterion) -> str:
    if c.outcome == "beyond":
        bound = f"at least {c.low:.3g}"
    elif c.outcome == "short":
        bound = f"at most {c.high:.3g}"
    else:
        bound = f"between {c.low:.3g} and {c.high:.3g}"
    p = "" if c.p_value is None else f", p = {c.p_value:.2g}"
    return f"{c.name} {c.estimate:.3g}{c.unit} ({bound}{p}), threshold {c.threshold:.3g}"


def _samples_to_decide(criteria: Sequence[Criterion], samples: int) -> int | None:
    """All open criteria must come beyond; but one whose estimate is short is enough to refute."""
    needs = {
        c.name: sample_size_to_decide(
            Interval(c.estimate, c.low, c.high, c.n), c.threshold, p_value=c.p_value
        )
        for c in criteria
        if c.outcome == "open"
    }
    refuting = [needs[c.name] for c in criteria if c.name in needs and c.estimate < c.threshold]
    if refuting:
        known = [need for need in refuting if need is not None]
        needed = min(known) if known else None
    else:
        needed = None if None in needs.values() else max(filter(None, needs.values()))
    return None if needed is None else math.ceil(needed * samples / criteria[0].n)

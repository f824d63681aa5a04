"""From criteria to a verdict: the same logic for every claim."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from ivevidence.records.cells import Criterion, Decision
from ivmethods.statistics.clusters import fixed_answers
from ivmethods.statistics.univariate import Interval, finite, sample_size_to_decide

COMPETENT = 0.5  # competent: the lower 95 % bound of IA is above this (section 3)


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
    level = interval.level(threshold)
    if level is not None and p_value is not None and interval.low > threshold:
        level = max(level, p_value)
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
        level=level,
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


def judge_all(decisions: Mapping[str, Decision]) -> Decision:
    """Supported if every one of several named decisions is, refuted if any one is refuted.

    Else not applicable if any one is. As in `judge`: the decisions share the alpha of refuting
    between them, and that of supporting not.
    """
    verdicts = [decision.verdict for decision in decisions.values()]
    verdict = next(
        (v for v in ("refuted", "not_applicable", "inconclusive") if v in verdicts), "supported"
    )
    telling = {name: d for name, d in decisions.items() if d.verdict == verdict}
    needed = [d.samples_to_decide for d in telling.values()]
    return Decision(
        verdict,
        "; ".join(f"{name}: {decision.reason}" for name, decision in telling.items()),
        tuple(
            replace(c, name=f"{name}: {c.name}")
            for name, decision in decisions.items()
            for c in decision.criteria
        ),
        max((n for n in needed if n), default=None) if all(needed) else None,
    )


def about(decision: Decision, labels: Sequence[str]) -> Decision:
    """The decision, with how many answers it is about where they are too few to stand for others.

    labels: the right answers of the samples that decide.
    """
    if not decision.criteria or not (count := fixed_answers(labels)):
        return decision
    here = "this answer" if count == 1 else f"these {count} answers"
    return replace(decision, reason=f"{decision.reason}; about {here} only")


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
        bounds = f"at least {_number(c.low)}"
    elif c.outcome == "short":
        bounds = f"at most {_number(c.high)}"
    else:
        bounds = f"between {_number(c.low)} and {_number(c.high)}"
    p = "" if c.p_value is None else f", p = {_number(c.p_value)}"
    return f"{c.name} {_number(c.estimate)}{c.unit} ({bounds}{p}), threshold {c.threshold:.3g}"


def _number(value: float | None) -> str:
    return "anything" if value is None else f"{value:.3g}"


def _samples_to_decide(criteria: Sequence[Criterion], samples: int) -> int | None:
    """All open criteria must come beyond; but one whose estimate is short is enough to refute."""
    undecided = [(c, _needed(c, samples)) for c in criteria if c.outcome == "open"]
    refuting = [
        need for c, need in undecided if c.estimate is not None and c.estimate < c.threshold
    ]
    if refuting:
        needed = min((need for need in refuting if need), default=None)
    elif all(need for _, need in undecided):
        needed = max(need for _, need in undecided if need)
    else:
        needed = None
    return None if needed is None else math.ceil(needed)


def _needed(c: Criterion, samples: int) -> float | None:
    if c.estimate is None:
        return None
    low = -math.inf if c.low is None else c.low
    high = math.inf if c.high is None else c.high
    interval = Interval(c.estimate, low, high, c.n)
    needed = sample_size_to_decide(interval, c.threshold, p_value=c.p_value)
    return None if needed is None else needed * samples / c.n

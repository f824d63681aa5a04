"""From criteria to a verdict: the same logic for every claim."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from ivevidence.figures.data import edges, lead
from ivevidence.figures.text import threshold_text
from ivevidence.records.cells import Criterion, Decision
from ivmethods.statistics.clusters import fixed_answers
from ivmethods.statistics.univariate import Interval, finite, sample_size_to_decide

COMPETENT = 0.5  # competent: the lower 95 % bound of IA is above this (section 3)


def judge(criteria: Sequence[Criterion], *, samples: int) -> Decision:
    """Supported if every criterion is beyond its threshold, refuted if any is short of it.

    Supporting takes all criteria at once, so each may be judged at the full alpha. Refuting takes
    any one, so the bounds that refute share the alpha: see `Asked.alphas`.

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
    if c.outcome == "open" or (c.outcome == "beyond" and c.side == "within"):
        bounds = f"between {_number(c.low)} and {_number(c.high)}"
    elif c.low is not None and c.low > c.threshold:
        bounds = f"at least {_number(c.low)}"
    else:
        bounds = f"at most {_number(c.high)}"
    p = "" if c.p_value is None else f", p = {_number(c.p_value)}"
    threshold = threshold_text(_number(c.threshold), c.side)
    return f"{c.name} {_number(c.estimate)}{c.unit} ({bounds}{p}), threshold {threshold}"


def _number(value: float | None) -> str:
    return "anything" if value is None else f"{value:.3g}"


def _samples_to_decide(criteria: Sequence[Criterion], samples: int) -> int | None:
    """All open criteria must come beyond; but one whose estimate is short is enough to refute."""
    undecided = [(c, _needed(c, samples)) for c in criteria if c.outcome == "open"]
    refuting = [
        need for c, need in undecided if c.estimate is not None and _lead(c, c.estimate) < 0
    ]
    if refuting:
        needed = min((need for need in refuting if need), default=None)
    elif all(need for _, need in undecided):
        needed = max(need for _, need in undecided if need)
    else:
        needed = None
    return None if needed is None else math.ceil(needed)


def _needed(c: Criterion, samples: int) -> float | None:
    """Samples with which its interval would lie on its estimate's side of every edge."""
    if c.estimate is None:
        return None
    low = -math.inf if c.low is None else c.low
    high = math.inf if c.high is None else c.high
    interval = Interval(c.estimate, low, high, c.n)
    p_value = c.p_value if _lead(c, c.estimate) > 0 else None
    needed = [
        sample_size_to_decide(interval, edge, p_value=p_value)
        for edge in edges(c.threshold, c.side)
    ]
    known = [need for need in needed if need is not None]
    return max(known) * samples / c.n if len(known) == len(needed) else None


def _lead(c: Criterion, value: float) -> float:
    return lead(value, c.threshold, c.side)

"""Superadditivity (section 5.1, Eq. 2): f(ij) > f(i) + f(j)."""

from collections.abc import Sequence
from itertools import compress

import numpy as np
import pytest
from jaxtyping import Bool, Float

from claims.instruction_vectors import published_exhibits
from claims.instruction_vectors.paper import PAPER
from ivevidence.records.cells import Decision
from ivfixtures.measuring import gates
from ivfixtures.suite import exhibits
from ivfixtures.suite.asked import Asked, all_of, refuted_if, supported_if
from ivfixtures.suite.cells import Cell
from ivfixtures.suite.rules import about, judge, judge_all, no_headroom
from ivmethods.patching.discovery import SMALLEST_CLOSED_SHARE, largest_specific
from ivmethods.patching.interactions import interactions
from ivmethods.statistics.clusters import FEWEST_ANSWERS, clusters
from ivmethods.statistics.conjunction import majority_share

SMALLEST_HEADROOM = 0.10
MOST_PAIRS = 10
SMALLEST_POSITIVE_SHARE = 0.50
SMALLEST_INTERACTION = 0.05
SATURATED = 0.80
LEAST_SAMPLES = 15
METRICS = ("rr", "logit")
SHARE = Asked("share of samples with a positive interaction", SMALLEST_POSITIVE_SHARE)
SHARE_IN_RR = all_of(SHARE, times=len(METRICS))

CLAIM = PAPER.claim(
    "superadditivity",
    level="L3",  # no-op, the contrast's effects and random vectors, picked apart
    direction="sufficient",  # written into the run without the instruction
    title="Two layers together have more effect than the sum of each alone",
    section="5.1",
    quote="we find that the instructional representations at various individual layers have a "
    "greater effect on the rank and logit of the target token when acting together in "
    "combination, rather than when their individual contributions are summed together.",
    estimand=f"The share of samples on which the interaction f(ij) - f(i) - f(j) of a pair of "
    f"layers exceeds {SMALLEST_INTERACTION:.0%} of the size of its effect |f(ij)|; of several "
    f"pairs, the share that the majority of them reaches.",
    rule=f"The picking part picks the at most {MOST_PAIRS} non-degenerate pairs with the largest "
    f"mean effect among those whose effect and specific effect close at least "
    f"{SMALLEST_CLOSED_SHARE:.0%} of the gap; none: inconclusive. Not applicable where one layer "
    f"closes at least {SATURATED:.0%} of the gap there: nothing is left for a second one to add. "
    f"On the other samples, of the share that the majority of the pairs reaches, "
    f"{supported_if(SHARE)}; {refuted_if(SHARE)}, by the same test of the rest of the pairs and "
    f"the opposite; inconclusive otherwise. The test is partial conjunction over the pairs: sums "
    f"of signs and binomial tests; ties count against; where samples share answers and there are "
    f"at least {FEWEST_ANSWERS}, by answer, too: all samples of an answer flip together. 1/rank is "
    f"convex, so that effects which add up in logits interact in rr: metric rr is supported only "
    f"if logit is, too, and in either {refuted_if(*SHARE_IN_RR)}. Inconclusive "
    f"without headroom (mean rr gap over all samples below {SMALLEST_HEADROOM}) and with fewer "
    f"than {LEAST_SAMPLES} samples that decide.",
    thresholds={
        "smallest headroom": SMALLEST_HEADROOM,
        "most pairs": MOST_PAIRS,
        "smallest share of samples": SMALLEST_POSITIVE_SHARE,
        "smallest interaction": SMALLEST_INTERACTION,
        "smallest closed share": SMALLEST_CLOSED_SHARE,
        "saturated": SATURATED,
        "least samples": LEAST_SAMPLES,
    },
    quantifier="all",  # no exception is named; "various layers" are those within a cell
)


def discover(
    together: Float[np.ndarray, "sample tuple"],
    specific: Float[np.ndarray, "sample tuple"],
    gap: Float[np.ndarray, " sample"],
    *,
    is_discovery: Bool[np.ndarray, " sample"],
    degenerate: Bool[np.ndarray, " tuple"],
) -> tuple[int, ...]:
    """Indices of the pairs to judge, largest mean effect first; maybe none.

    Candidates are the non-degenerate pairs whose mean effect and mean specific effect on the
    picking part close a tenth of its gap. Raises: ValueError on NaN.
    """
    picking = (values[is_discovery] for values in (together, specific, gap))
    return largest_specific(*picking, among=~degenerate, most=MOST_PAIRS)


def decide(
    *,
    singles: Float[np.ndarray, "sample layer"],
    together: Float[np.ndarray, "sample tuple"],
    pairs: Sequence[tuple[int, ...]],
    chosen: Sequence[int],
    gap: Float[np.ndarray, " sample"],
    rr_gap: Float[np.ndarray, " sample"],
    is_discovery: Bool[np.ndarray, " sample"],
    labels: Sequence[str],
    ways: int = 1,
) -> Decision:
    """The verdict on the pairs that `discover` chose, in one metric, as CLAIM.rule says.

    pairs: the layers of every column of `together`. gap: metric(instructed) - metric(target);
    rr_gap the same in rr. labels: the right answers. All hold all samples; those that picked are
    dropped here. ways: to be refuted, where this is one decision of several: they share the alpha
    of refuting.
    """
    if no_room := no_headroom(rr_gap, SMALLEST_HEADROOM):
        return no_room
    if saturated := _saturation(singles[is_discovery], gap[is_discovery]):
        return saturated
    if not chosen:
        reason = (
            f"no pair's effect and specific effect close {SMALLEST_CLOSED_SHARE:.0%} of the gap"
        )
        return Decision("inconclusive", reason, (), None)
    deciding = ~is_discovery
    if (n := int(deciding.sum())) < LEAST_SAMPLES:
        reason = f"{n} samples decide, but should be at least {LEAST_SAMPLES}"
        return Decision("inconclusive", reason, (), None)
    (asked,) = all_of(SHARE, times=ways)
    effect = together[deciding][:, list(chosen)]
    interaction = interactions(singles[deciding], effect, [pairs[pair] for pair in chosen])
    answers = list(compress(labels, deciding))
    share, p = majority_share(
        interaction > SMALLEST_INTERACTION * np.abs(effect),
        clusters=clusters(answers),
        **asked.alphas,
    )
    superadditive = asked.criterion(
        f"interaction above {SMALLEST_INTERACTION:.0%} of the effect; what the majority of "
        f"{len(chosen)} pairs reaches; p: partial conjunction",
        share,
        p_value=p,
    )
    return about(judge([superadditive], samples=len(rr_gap)), answers)


def judge_cell(cell: Cell, metric: str, *, ways: int = 1) -> tuple[tuple[int, ...], Decision]:
    """The pairs that a cell's picking part picks in one metric, and the verdict.

    In rr, the verdict is on both metrics, each with pairs of its own; not applicable where rr
    itself is saturated.
    """
    metrics = METRICS if metric == "rr" else (metric,)
    ways *= len(metrics)
    decisions = {name: _judge_metric(cell, name, ways=ways) for name in metrics}
    chosen, own = decisions[metric]
    if len(metrics) == 1 or own.verdict == "not_applicable":
        return chosen, own
    return chosen, judge_all({name: decision for name, (_, decision) in decisions.items()})


def _judge_metric(cell: Cell, metric: str, *, ways: int) -> tuple[tuple[int, ...], Decision]:
    together, gap = cell.of_order(2, cell.effects(metric)), cell.gap(metric)
    chosen = discover(
        together,
        cell.of_order(2, cell.specific(metric)),
        gap,
        is_discovery=cell.is_discovery,
        degenerate=cell.of_order(2, cell.sweep.degenerate.numpy()),
    )
    decision = decide(
        singles=cell.of_order(1, cell.effects(metric)),
        together=together,
        pairs=cell.tuples_of_order(2),
        chosen=chosen,
        gap=gap,
        rr_gap=cell.gap("rr"),
        is_discovery=cell.is_discovery,
        labels=cell.labels,
        ways=ways,
    )
    return chosen, decision


def _saturation(
    singles: Float[np.ndarray, "sample layer"], gap: Float[np.ndarray, " sample"]
) -> Decision | None:
    """A `not_applicable` decision where one layer closes the gap by itself."""
    if gap.mean() <= 0:
        return None
    closed = singles.mean(axis=0) / gap.mean()
    if closed.max() < SATURATED:
        return None
    reason = (
        f"one layer closes the gap: layer {int(closed.argmax())} closes {closed.max():.2f} of it, "
        f"but should close less than {SATURATED}; nothing is left for a second layer to add"
    )
    return Decision("not_applicable", reason, (), None)


@pytest.mark.claim(
    CLAIM,
    metrics=("rr", "logit"),
    asks=(
        "behaviour",
        gates.competence,
        "runs",
        gates.headroom(SMALLEST_HEADROOM),
        gates.order(2),
        "sweeps",
        "controls",
        "released sweep",
    ),
)
def test_superadditivity(cell: Cell) -> None:
    """Two layers together have more effect than the sum of each alone."""
    cell.require_competence()
    cell.require_headroom(SMALLEST_HEADROOM)
    cell.require_order(2)
    singles, together = cell.of_order(1, cell.effects()), cell.of_order(2, cell.effects())
    pairs = cell.tuples_of_order(2)
    chosen, decision = judge_cell(cell, cell.metric)
    best = [pairs[pair] for pair in chosen]
    interaction = interactions(singles, together, pairs)[:, [*chosen]]
    above = interaction > SMALLEST_INTERACTION * np.abs(together[:, [*chosen]])
    values = {
        f"interaction of layers {exhibits.layers_text(layers)}": column
        for layers, column in zip(best, interaction.T, strict=True)
    }
    cell.conclude(
        decision,
        chosen=exhibits.chosen_text(best),
        figures=exhibits.effect_maps(cell, best),
        tables=[
            exhibits.pairs(cell, best),
            exhibits.leads(cell),
            exhibits.top_tuples(cell),
            exhibits.answers(cell, values),
            exhibits.runs(cell),
            exhibits.released(cell),
            *published_exhibits.published_lists(cell),
        ],
        controls=[exhibits.controls(cell, best[0])] if best else [],
        per_sample={
            "gap": cell.gap("rr"),
            # Comparable with a run that picked other pairs.
            **({"share of pairs with a positive interaction": above.mean(axis=1)} if best else {}),
            **values,
        },
    )

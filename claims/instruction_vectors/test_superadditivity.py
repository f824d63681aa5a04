"""Superadditivity (section 5.1, Eq. 2): f(ij) > f(i) + f(j)."""

from collections.abc import Mapping, Sequence
from itertools import compress

import numpy as np
from jaxtyping import Bool, Float

from claims.instruction_vectors import needs, patching_exhibits, published_exhibits
from claims.instruction_vectors.gates import COMPETENCE, headroom, order
from claims.instruction_vectors.paper import PAPER
from claims.instruction_vectors.views import Patched, in_metric, patched
from ivevidence.records.cells import Decision
from ivfixtures.measuring.inquiry import Inquiry, Then
from ivfixtures.suite import exhibits
from ivfixtures.suite.asked import Asked, all_of, refuted_if, supported_if
from ivfixtures.suite.cells import Cell
from ivfixtures.suite.claims import claim
from ivfixtures.suite.kinds import Instructed
from ivfixtures.suite.rules import about, judge, judge_all, no_headroom
from ivmethods.model.methods import Runs
from ivmethods.patching.discovery import SMALLEST_CLOSED_SHARE, largest_specific
from ivmethods.patching.interactions import interactions
from ivmethods.patching.methods import Controls
from ivmethods.patching.sweep import Sweep
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


def judge_view(
    view: Patched, labels: Sequence[str], *, ways: int = 1
) -> tuple[tuple[int, ...], Decision]:
    """The pairs that the picking part picks in the view's metric, and the verdict.

    In rr, the verdict is on both metrics, each with pairs of its own; not applicable where rr
    itself is saturated.
    """
    metrics = METRICS if view.metric == "rr" else (view.metric,)
    ways *= len(metrics)
    decisions = {name: _judge_metric(view, labels, name, ways=ways) for name in metrics}
    chosen, own = decisions[view.metric]
    if len(metrics) == 1 or own.verdict == "not_applicable":
        return chosen, own
    return chosen, judge_all({name: decision for name, (_, decision) in decisions.items()})


def picked(view: Patched, metric: str) -> tuple[int, ...]:
    """The pairs that `discover` chooses in a metric."""
    return discover(
        view.of_order(2, view.effects(metric)),
        view.of_order(2, view.specific(metric)),
        view.gap(metric),
        is_discovery=view.is_discovery,
        degenerate=view.of_order(2, view.degenerate),
    )


def _judge_metric(
    view: Patched, labels: Sequence[str], metric: str, *, ways: int
) -> tuple[tuple[int, ...], Decision]:
    chosen = picked(view, metric)
    decision = decide(
        singles=view.of_order(1, view.effects(metric)),
        together=view.of_order(2, view.effects(metric)),
        pairs=view.tuples_of_order(2),
        chosen=chosen,
        gap=view.gap(metric),
        rr_gap=view.gap("rr"),
        is_discovery=view.is_discovery,
        labels=labels,
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


def _controls(
    inquiry: Inquiry,
    *,
    runs: Mapping[str, np.ndarray],
    sweep: Sweep,
    control: Sweep,
    **others: object,
) -> Controls | None:
    view = patched(inquiry, sweep, control, runs)
    chosen = picked(view, view.metric)
    pairs = view.tuples_of_order(2)
    return needs.controls(inquiry.data, pairs[chosen[0]]) if chosen else None


@claim(
    CLAIM,
    on=Instructed(),
    metrics=("rr", "logit"),
    gates=(COMPETENCE, headroom(SMALLEST_HEADROOM), order(2)),
    needs={
        "runs": Runs(),
        "sweep": needs.sweep,
        "control": needs.control_sweep,
        "no_op": needs.no_op,
        "released": needs.released_sweep,
    },
    then={"controls": Then(_controls, like=lambda data, settings: needs.controls(data))},
)
def test_superadditivity(
    cell: Cell,
    runs: Mapping[str, np.ndarray],
    sweep: Sweep,
    control: Sweep,
    no_op: float,
    released: Sweep,
    controls: Mapping[str, np.ndarray] | None,
) -> None:
    """Two layers together have more effect than the sum of each alone."""
    view, labels = patched(cell, sweep, control, runs), cell.data.labels
    singles, together = view.of_order(1, view.effects()), view.of_order(2, view.effects())
    pairs = view.tuples_of_order(2)
    chosen, decision = judge_view(view, labels)
    best = [pairs[pair] for pair in chosen]
    interaction = interactions(singles, together, pairs)[:, [*chosen]]
    above = interaction > SMALLEST_INTERACTION * np.abs(together[:, [*chosen]])
    values = {
        f"interaction of layers {patching_exhibits.layers_text(layers)}": column
        for layers, column in zip(best, interaction.T, strict=True)
    }
    cell.conclude(
        decision,
        chosen=patching_exhibits.chosen_text(best),
        figures=patching_exhibits.effect_maps(view, best),
        tables=[
            patching_exhibits.pairs(view, best),
            patching_exhibits.leads(view),
            patching_exhibits.top_tuples(view),
            exhibits.answers(labels, ~view.is_discovery, values),
            patching_exhibits.runs(runs),
            patching_exhibits.released(released, view.metric),
            *published_exhibits.published_lists(cell.data, view, released),
        ],
        controls=[
            patching_exhibits.controls(view, best[0], in_metric(controls, view.metric), no_op)
        ]
        if controls
        else [],
        per_sample={
            "gap": view.gap("rr"),
            # Comparable with a run that picked other pairs.
            **({"share of pairs with a positive interaction": above.mean(axis=1)} if best else {}),
            **values,
        },
    )

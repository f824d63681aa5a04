"""Superadditivity (section 5.1, Eq. 2): f(ij) > f(i) + f(j)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from jaxtyping import Bool, Float

from ivevidence.records import Claim, Decision
from ivfixtures import exhibits, gates, published_exhibits
from ivfixtures.cells import Cell
from ivfixtures.judging import criterion, judge, no_headroom
from ivmethods.bootstrap import bootstrap
from ivmethods.discovery import largest_specific
from ivmethods.interactions import interactions
from ivmethods.statistics import ALPHA, majority_sign_p, majority_value

SMALLEST_HEADROOM = 0.10
MOST_PAIRS = 10
SMALLEST_POSITIVE_SHARE = 0.50
SMALLEST_INTERACTION = 0.05
CRITERIA = 2

CLAIM = Claim(
    name="superadditivity",
    title="Two layers together have more effect than the sum of each alone",
    paper="Patches of Nonlinearity: Instruction Vectors in Large Language Models, arXiv:2602.07930",
    section="5.1",
    quote="we find that the instructional representations at various individual layers have a "
    "greater effect on the rank and logit of the target token when acting together in "
    "combination, rather than when their individual contributions are summed together.",
    estimand="The interaction f(ij) - f(i) - f(j) of a pair of layers, per sample: the share of "
    "samples on which it is above zero, and its median in units of the pair's mean effect; of "
    "several pairs, the value that the majority of them reaches.",
    rule=f"The discovery half picks the at most {MOST_PAIRS} non-degenerate pairs with the largest "
    f"mean effect among those whose effect and specific effect close at least a tenth of the gap; "
    f"none: inconclusive. "
    f"On the confirmation half the claim is supported if the majority of them has a "
    f"positive interaction on more than {SMALLEST_POSITIVE_SHARE:.0%} of the samples (bootstrap "
    f"bound and exact majority sign test, ties count against) and a median interaction above "
    f"{SMALLEST_INTERACTION:.0%} of the pair's mean effect (bootstrap bound and the same test), "
    f"each one-sided at 5 %. It is refuted if one of the two upper bounds is short of its "
    f"threshold (one-sided 5 % / {CRITERIA}, as there are {CRITERIA} ways to be refuted), "
    f"inconclusive otherwise. Inconclusive without headroom: mean rr gap over all samples below "
    f"{SMALLEST_HEADROOM}.",
    thresholds={
        "smallest headroom": SMALLEST_HEADROOM,
        "most pairs": MOST_PAIRS,
        "smallest share of samples": SMALLEST_POSITIVE_SHARE,
        "smallest interaction": SMALLEST_INTERACTION,
    },
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
    discovery half close a tenth of its gap. Raises: ValueError on NaN.
    """
    picking = (values[is_discovery] for values in (together, specific, gap))
    return largest_specific(*picking, among=~degenerate, most=MOST_PAIRS)


def decide(
    *,
    singles: Float[np.ndarray, "sample layer"],
    together: Float[np.ndarray, "sample tuple"],
    pairs: Sequence[tuple[int, ...]],
    chosen: Sequence[int],
    rr_gap: Float[np.ndarray, " sample"],
    is_discovery: Bool[np.ndarray, " sample"],
    ways: int = CRITERIA,
    resamples: int = 10_000,
    seed: int = 0,
) -> Decision:
    """The verdict on the pairs that `discover` chose, as CLAIM.rule says.

    pairs: the layers of every column of `together`. rr_gap: rr(instructed) - rr(target), whatever
    the metric. Arrays hold all samples; the discovery half is dropped here. ways: to be refuted,
    where this is one decision of several.

    Supported is an intersection-union test: each criterion's `low` and p-value are at the full
    alpha. Refuted is any one of two, so each `high` is at alpha / 2 (Bonferroni).
    """
    if no_room := no_headroom(rr_gap, SMALLEST_HEADROOM):
        return no_room
    if not chosen:
        return Decision(
            "inconclusive",
            "no pair's effect and specific effect close a tenth of the gap",
            (),
            None,
        )
    half = ~is_discovery
    effect = together[half][:, list(chosen)]
    interaction = interactions(singles[half], effect, [pairs[pair] for pair in chosen])
    bounds = f"bounds: one-sided 5 % below, 5 % / {ways} above"
    settings: dict[str, Any] = {"smooth": False, "resamples": resamples, "seed": seed}
    settings["alpha_high"] = ALPHA / ways
    share = bootstrap(_majority_share, interaction, **settings)
    size = bootstrap(_majority_size, interaction, effect, **settings)
    criteria = (
        criterion(
            "share of samples with a positive interaction",
            f"what the majority of {len(chosen)} pairs reaches; p: majority sign test ({bounds})",
            share,
            SMALLEST_POSITIVE_SHARE,
            p_value=majority_sign_p(interaction > 0),
        ),
        criterion(
            "median interaction / mean effect",
            f"what the majority of {len(chosen)} pairs reaches; p: majority sign test of the "
            f"interaction being above {SMALLEST_INTERACTION:.0%} of the sample's effect ({bounds})",
            size,
            SMALLEST_INTERACTION,
            p_value=majority_sign_p(interaction > SMALLEST_INTERACTION * effect),
        ),
    )
    return judge(criteria, samples=len(rr_gap))


def judge_cell(
    cell: Cell, metric: str, *, ways: int = CRITERIA
) -> tuple[tuple[int, ...], Decision]:
    """The pairs that a cell's discovery half picks, and the verdict on them."""
    together = cell.of_order(2, cell.effects(metric))
    chosen = discover(
        together,
        cell.of_order(2, cell.specific(metric)),
        cell.gap(metric),
        is_discovery=cell.is_discovery,
        degenerate=cell.of_order(2, cell.sweep.degenerate.numpy()),
    )
    decision = decide(
        singles=cell.of_order(1, cell.effects(metric)),
        together=together,
        pairs=cell.tuples_of_order(2),
        chosen=chosen,
        rr_gap=cell.gap("rr"),
        is_discovery=cell.is_discovery,
        ways=ways,
        seed=cell.seed,
    )
    return chosen, decision


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
    cell.conclude(
        decision,
        chosen=exhibits.chosen_text(best),
        figures=exhibits.effect_maps(cell, best),
        tables=[
            exhibits.pairs(cell, best),
            exhibits.leads(cell),
            exhibits.top_tuples(cell),
            exhibits.runs(cell),
            exhibits.released(cell),
            *published_exhibits.published_lists(cell),
        ],
        controls=[exhibits.controls(cell, best[0])] if best else [],
        per_sample={
            f"interaction of layers {exhibits.layers_text(pairs[k])}": interaction
            for k, interaction in zip(
                chosen, interactions(singles, together, pairs).T[[*chosen]], strict=True
            )
        },
    )


def _majority_share(interaction: Float[np.ndarray, "draw sample tuple"]) -> np.ndarray:
    return majority_value((interaction > 0).mean(axis=1))


def _majority_size(
    interaction: Float[np.ndarray, "draw sample tuple"],
    effect: Float[np.ndarray, "draw sample tuple"],
) -> np.ndarray:
    """A pair without a positive mean effect has no part of it to show, and counts as -1."""
    mean = effect.mean(axis=1)
    share = np.median(interaction, axis=1) / np.where(mean > 0, mean, 1.0)
    return majority_value(np.where(mean > 0, share, -1.0))

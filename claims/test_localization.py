"""Localization (section 5.1): T_inst's residual at few layers carries the instruction."""

import numpy as np
import pytest
from jaxtyping import Bool, Float

from ivevidence.records import Claim, Criterion, Decision
from ivfixtures import exhibits
from ivfixtures.cells import Cell
from ivfixtures.judging import criterion, judge, no_headroom
from ivmethods.bootstrap import Statistic, bootstrap
from ivmethods.statistics import ALPHA, concentration, finite, ratio_of_means

SMALLEST_HEADROOM = 0.10
SMALLEST_CLOSED_SHARE = 0.10
LARGEST_CONCENTRATION = 0.25
CRITERIA = 5

CLAIM = Claim(
    name="localization",
    title="T_inst's residual at few layers carries the instruction",
    paper="Patches of Nonlinearity: Instruction Vectors in Large Language Models, arXiv:2602.07930",
    section="5.1",
    quote="Across all tasks, we observe localized points where the logit improvement is the "
    "greatest.",
    estimand="The share of the gap between target and instructed run that is closed by writing "
    "T_inst's residual after the layers of one tuple at the filler: mean effect / mean gap over "
    "samples, for the effect and for the specific effect; and the smallest fraction of all "
    "tuples that holds half of the positive mean effect.",
    rule=f"The discovery half picks the tuple whose smaller one of mean effect and mean specific "
    f"effect is largest; everything else is judged on the confirmation half alone. Supported if "
    f"the tuple closes more than {SMALLEST_CLOSED_SHARE:.0%} of the gap with its effect and with "
    f"its specific effect, if its effect exceeds that of norm-matched random vectors and that of "
    f"the instruction's other positions, and if half of the positive mean effect lies in less "
    f"than {LARGEST_CONCENTRATION:.0%} of the non-degenerate tuples: each with its lower bound "
    f"(bootstrap over samples, one-sided 5 %). Refuted if an upper bound is short of its "
    f"threshold (one-sided 5 % / {CRITERIA}, as there are {CRITERIA} ways to be refuted), "
    f"inconclusive otherwise. Inconclusive without headroom: mean rr gap over all samples below "
    f"{SMALLEST_HEADROOM}.",
    thresholds={
        "smallest headroom": SMALLEST_HEADROOM,
        "smallest closed share": SMALLEST_CLOSED_SHARE,
        "largest concentration": LARGEST_CONCENTRATION,
    },
)


def discover(
    effects: Float[np.ndarray, "sample tuple"],
    specific: Float[np.ndarray, "sample tuple"],
    *,
    is_discovery: Bool[np.ndarray, " sample"],
    degenerate: Bool[np.ndarray, " tuple"],
) -> int:
    """The tuple whose smaller one of mean effect and mean specific effect is largest.

    Only the discovery half counts. Of equal ones the first: tuples come with fewest layers first.
    Raises: ValueError if every tuple is degenerate, or on NaN.
    """
    if degenerate.all():
        raise ValueError(
            f"non-degenerate tuples=0 of {len(degenerate)}, but should be at least 1 "
            "[localization]: sweep layers before the last one"
        )
    own = finite(effects[is_discovery], "effects", "localization, discovery half")
    contrasted = finite(specific[is_discovery], "specific", "localization, discovery half")
    smaller = np.minimum(own.mean(axis=0), contrasted.mean(axis=0))
    return int(np.argmax(np.where(degenerate, -np.inf, smaller)))


def decide(
    *,
    effects: Float[np.ndarray, "sample tuple"],
    specific: Float[np.ndarray, "sample tuple"],
    chosen: int,
    random: Float[np.ndarray, "sample draw"],
    other_positions: Float[np.ndarray, " sample"],
    gap: Float[np.ndarray, " sample"],
    rr_gap: Float[np.ndarray, " sample"],
    is_discovery: Bool[np.ndarray, " sample"],
    degenerate: Bool[np.ndarray, " tuple"],
    resamples: int = 10_000,
    seed: int = 0,
) -> Decision:
    """The verdict on the tuple that `discover` chose, as CLAIM.rule says.

    random, other_positions: effects of norm-matched random vectors, and the mean effect over the
    other instruction positions, at the chosen tuple. gap: metric(instructed) - metric(target);
    rr_gap the same in rr. Arrays hold all samples; the discovery half is dropped here.

    Supported is an intersection-union test: each criterion's `low` is at the full alpha. Refuted
    is any one of five, so each `high` is at alpha / 5 (Bonferroni).
    """
    if no_room := no_headroom(rr_gap, SMALLEST_HEADROOM):
        return no_room
    half = ~is_discovery
    if gap[half].mean() <= 0:
        return Decision("inconclusive", "no headroom: no gap on the confirmation half", (), None)
    closed, gap = effects[half, chosen], gap[half]

    def share_of_gap(
        name: str, description: str, effect: np.ndarray, threshold: float
    ) -> Criterion:
        return _bootstrapped(
            name, description, ratio_of_means, (effect, gap), threshold, resamples, seed
        )

    criteria = (
        share_of_gap(
            "closed share",
            "mean effect of the chosen tuple / mean gap",
            closed,
            SMALLEST_CLOSED_SHARE,
        ),
        share_of_gap(
            "specifically closed share",
            "mean specific effect of the chosen tuple / mean gap",
            specific[half, chosen],
            SMALLEST_CLOSED_SHARE,
        ),
        share_of_gap(
            "lead over random vectors",
            "mean (effect - mean effect of norm-matched random vectors) / mean gap",
            closed - random[half].mean(axis=1),
            0.0,
        ),
        share_of_gap(
            "lead over other positions",
            "mean (effect - mean effect of the instruction's other positions) / mean gap",
            closed - other_positions[half],
            0.0,
        ),
        _bootstrapped(
            "tuples beside the concentrated ones",
            "1 - smallest fraction of the non-degenerate tuples that holds half of the positive "
            "mean effect; 0 if no mean effect is positive",
            _tuples_beside,
            (effects[half][:, ~degenerate],),
            1 - LARGEST_CONCENTRATION,
            resamples,
            seed,
        ),
    )
    return judge(criteria, samples=len(rr_gap))


@pytest.mark.claim(CLAIM, metrics=("rr",))
def test_localization(cell: Cell) -> None:
    """T_inst's residual at few layers carries the instruction."""
    cell.require_competence()
    effects, specific = cell.effects(), cell.specific()
    degenerate = cell.sweep.degenerate.numpy()
    chosen = discover(effects, specific, is_discovery=cell.is_discovery, degenerate=degenerate)
    layers = cell.sweep.tuples[chosen]
    controls = cell.controls(layers)
    decision = decide(
        effects=effects,
        specific=specific,
        chosen=chosen,
        random=controls["random"],
        other_positions=controls["positions"].mean(axis=1),
        gap=cell.gap(),
        rr_gap=cell.gap("rr"),
        is_discovery=cell.is_discovery,
        degenerate=degenerate,
        seed=cell.seed,
    )
    cell.conclude(
        decision,
        figures=[*exhibits.effect_maps(cell, [layers]), exhibits.position_bars(cell, layers)],
        tables=[exhibits.top_tuples(cell), exhibits.runs(cell), exhibits.released(cell)],
        controls=[exhibits.controls(cell, layers)],
        per_sample={
            "effect": effects[:, chosen],
            "specific effect": specific[:, chosen],
            "gap": cell.gap(),
        },
    )


def _bootstrapped(
    name: str,
    description: str,
    statistic: Statistic,
    arrays: tuple[np.ndarray, ...],
    threshold: float,
    resamples: int,
    seed: int,
) -> Criterion:
    interval = bootstrap(
        statistic,
        *arrays,
        smooth=statistic is ratio_of_means,
        resamples=resamples,
        seed=seed,
        alpha_high=ALPHA / CRITERIA,
    )
    bounds = f"bounds: one-sided 5 % below, 5 % / {CRITERIA} above"
    return criterion(name, f"{description} ({bounds})", interval, threshold)


def _tuples_beside(effects: Float[np.ndarray, "draw sample tuple"]) -> np.ndarray:
    return 1 - concentration(effects.mean(axis=1))

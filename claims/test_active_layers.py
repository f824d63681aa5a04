"""Active layers (section 6.1): the layers of the top tuples have the more active heads."""

from collections.abc import Sequence

import numpy as np
import pytest
from jaxtyping import Bool, Float
from scipy import fft

from ivevidence.records import Claim, Decision
from ivfixtures import exhibits, gates, head_exhibits
from ivfixtures.cells import Cell
from ivfixtures.judging import criterion, judge
from ivfixtures.path_views import activity as head_shares
from ivfixtures.traces import traced
from ivmethods.bootstrap import bootstrap
from ivmethods.discovery import SMALLEST_CLOSED_SHARE, largest_specific
from ivmethods.heads import with_paths
from ivmethods.statistics import ALPHA, sign_flip_p
from ivmethods.sweep import LayerTuple

SMALLEST_HEADROOM = 0.10
MOST_TUPLES = 10
SMALLEST_DIFFERENCE = 0.05

CLAIM = Claim(
    name="active_layers",
    title="The layers of the top tuples are more active than the rest",
    paper="Patches of Nonlinearity: Instruction Vectors in Large Language Models, arXiv:2602.07930",
    section="6.1",
    quote="we notice that the layers which contain significantly active heads (Table 2) for a "
    "particular model and task are also the layers that are involved in most of the 2- or 3-layer "
    "tuples that constitute instructional representations, presented in Section 5.",
    estimand="The mean activity of a layer's heads at T_inst, averaged over layers: weighted with "
    "the number of top tuples that the layer is in, minus weighted with the number of those that "
    "it is not in. Layers that cannot matter when patched are left out.",
    rule=f"The picking part picks the at most {MOST_TUPLES} non-degenerate tuples of two or "
    f"three layers with the largest mean effect among those whose effect and specific effect close "
    f"{SMALLEST_CLOSED_SHARE:.0%} of the gap; none: inconclusive. On the others the claim is "
    f"supported if the difference is above {SMALLEST_DIFFERENCE} (bootstrap bound over samples, "
    f"one-sided 5 %) and too large for chance among layers (one-sided 5 %, sign flips of the "
    f"products of the two depth profiles' cosine components: a profile of the same smoothness, "
    f"but unrelated). Refuted if the upper bound is short of {SMALLEST_DIFFERENCE} (one-sided "
    f"5 %), inconclusive otherwise; also if all layers are in equally many tuples, and without "
    f"headroom: mean rr gap over all samples below {SMALLEST_HEADROOM}.",
    thresholds={
        "smallest headroom": SMALLEST_HEADROOM,
        "most tuples": MOST_TUPLES,
        "smallest difference": SMALLEST_DIFFERENCE,
    },
    quantifier="all",  # "a particular model and task": any; "most" is of the tuples within a cell
)


def discover(
    effects: Float[np.ndarray, "sample tuple"],
    specific: Float[np.ndarray, "sample tuple"],
    tuples: Sequence[LayerTuple],
    gap: Float[np.ndarray, " sample"],
    *,
    is_discovery: Bool[np.ndarray, " sample"],
    degenerate: Bool[np.ndarray, " tuple"],
) -> tuple[LayerTuple, ...]:
    """The tuples whose layers are looked at, largest mean effect first; maybe none.

    Candidates are the non-degenerate tuples of two or three layers whose mean effect and mean
    specific effect on the picking part close a tenth of its gap. Raises: ValueError on NaN.
    """
    several = np.array([len(t) > 1 for t in tuples])
    chosen = largest_specific(
        effects[is_discovery],
        specific[is_discovery],
        gap[is_discovery],
        among=several & ~degenerate,
        most=MOST_TUPLES,
    )
    return tuple(tuples[index] for index in chosen)


def decide(
    *,
    activity: Float[np.ndarray, "sample layer head"],
    chosen: Sequence[LayerTuple],
    layers: Sequence[int],
    is_discovery: Bool[np.ndarray, " sample"],
    resamples: int = 10_000,
    seed: int = 0,
) -> Decision:
    """The verdict on the tuples that `discover` chose, as CLAIM.rule says.

    activity: head activity at T_inst of all samples; the picking part is dropped here, and so are
    samples with NaN (no high-ranking path). layers: those that can matter when patched.
    resamples: of the bootstrap and of the sign flips.

    Deviation: DESIGN asks for a permutation of the layers. Neighbouring layers are alike, in
    activity and in effect, and permuted ones are not: two unrelated profiles that both change
    slowly with depth would pass in up to half of all runs. Flipping the signs of a profile's cosine
    components keeps how smooth it is. It is the sign-flip test of the components' products, which
    add up to the difference; with fewer than 6 layers it cannot reach 5 %.
    """
    if not chosen:
        return Decision(
            "inconclusive",
            "no tuple's effect and specific effect close a tenth of the gap",
            (),
            None,
        )
    weights = _weights(chosen, layers)
    if weights is None:
        reason = f"each of the {len(layers)} layers is in equally many of the {len(chosen)} tuples"
        return Decision("inconclusive", reason, (), None)
    kept = ~is_discovery & with_paths(activity)
    if not kept.any():
        reason = "no sample that decides has a high-ranking path from T_inst"
        return Decision("inconclusive", reason, (), None)
    profiles = activity[kept][:, list(layers)].mean(axis=2)
    p = _unrelated_p(weights, profiles.mean(axis=0), flips=resamples, seed=seed)
    difference = criterion(
        "mean activity, layers of the top tuples - rest",
        f"weighted with the tuples each of {len(layers)} layers is in, of {len(chosen)}; p: sign "
        "flips of cosine components (bounds: one-sided 5 %)",
        bootstrap(_mean, profiles @ weights, smooth=True, resamples=resamples, seed=seed),
        SMALLEST_DIFFERENCE,
        p_value=p,
    )
    decision = judge([difference], samples=len(activity))
    if decision.verdict == "inconclusive" and p >= ALPHA:
        reason = (
            f"{difference.name} {difference.estimate:.3g}, but p = {p:.3g}: may be chance among "
            f"{len(layers)} layers, and more samples would not tell"
        )
        return Decision("inconclusive", reason, (difference,), None)
    return decision


@pytest.mark.claim(
    CLAIM,
    metrics=("rr", "logit"),
    asks=(
        "behaviour",
        gates.competence,
        gates.linear_form,
        "runs",
        gates.headroom(SMALLEST_HEADROOM),
        gates.order(2),
        "sweeps",
        "paths",
    ),
)
def test_active_layers(cell: Cell) -> None:
    """The layers of the top tuples are more active than the rest."""
    cell.require_competence()
    cell.require_linear_form()
    cell.require_headroom(SMALLEST_HEADROOM)
    cell.require_order(2)
    degenerate = cell.sweep.degenerate.numpy()
    chosen = discover(
        cell.effects(),
        cell.specific(),
        cell.sweep.tuples,
        cell.gap(),
        is_discovery=cell.is_discovery,
        degenerate=degenerate,
    )
    tracing = traced(cell.bench, cell.bench.options.path_k[0])
    t_inst = cell.bench.samples()[0].t_inst
    shares = head_shares(tracing, t_inst)
    inert = cell.of_order(1, degenerate)
    layers = [t[0] for t, idle in zip(cell.tuples_of_order(1), inert, strict=True) if not idle]
    decision = decide(
        activity=shares,
        chosen=chosen,
        layers=layers,
        is_discovery=cell.is_discovery,
        seed=cell.seed,
    )
    found = head_exhibits.measured_activity(tracing, t_inst, seed=cell.seed)
    title = f"Head activity at T_inst, k = {tracing.k}"
    cell.conclude(
        decision,
        chosen=exhibits.chosen_text(chosen),
        figures=[
            *exhibits.effect_maps(cell, chosen),
            head_exhibits.head_maps({cell.bench.task.name: found}, title),
        ],
        tables=[
            head_exhibits.layers_and_tuples(found, chosen, layers),
            exhibits.top_tuples(cell),
            head_exhibits.correlation_between_k(cell.bench, t_inst),
        ],
        controls=[head_exhibits.strongest_heads(found, "Heads against drawn paths")]
        if found
        else [],
    )


def _weights(
    chosen: Sequence[LayerTuple], layers: Sequence[int]
) -> Float[np.ndarray, " layer"] | None:
    """What each layer's activity counts in the estimand, 0 in sum; None if all layers are alike."""
    within = np.array([sum(layer in t for t in chosen) for layer in layers])
    without = len(chosen) - within
    if np.ptp(within) == 0:
        return None
    return within / within.sum() - without / without.sum()


def _unrelated_p(
    weights: Float[np.ndarray, " layer"],
    profile: Float[np.ndarray, " layer"],
    *,
    flips: int,
    seed: int,
) -> float:
    """One-sided p-value of the weighted sum, against profiles as smooth as this but unrelated."""
    components = fft.dct(weights, norm="ortho") * fft.dct(profile, norm="ortho")
    # The first component is the mean, which the weights leave out.
    return sign_flip_p(components[1:], flips=flips, seed=seed)


def _mean(values: Float[np.ndarray, "draw sample"]) -> Float[np.ndarray, " draw"]:
    return values.mean(axis=1)

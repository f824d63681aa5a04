"""Active layers (section 6.1): the layers of the top tuples have the more active heads."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float
from scipy import fft

from claims.instruction_vectors import head_exhibits, needs, patching_exhibits
from claims.instruction_vectors.gates import COMPETENCE, CONTRAST, headroom, order
from claims.instruction_vectors.head_exhibits import TaskPaths
from claims.instruction_vectors.paper import PAPER
from claims.instruction_vectors.path_views import activity as head_shares
from claims.instruction_vectors.views import patched
from ivevidence.records.cells import Decision
from ivfixtures.suite.asked import Asked, refuted_if, supported_if
from ivfixtures.suite.cells import Cell
from ivfixtures.suite.claims import claim
from ivfixtures.suite.kinds import Instructed
from ivfixtures.suite.rules import judge, no_headroom
from ivmethods.model.methods import Runs
from ivmethods.patching.discovery import SMALLEST_CLOSED_SHARE, largest_specific
from ivmethods.patching.sweep import LayerTuple, Sweep
from ivmethods.paths.heads import with_paths
from ivmethods.paths.results import Tracing
from ivmethods.statistics.bootstrap import bootstrap
from ivmethods.statistics.bounded import backed, bounded_ratio
from ivmethods.statistics.univariate import ALPHA, Interval, sign_flip_p

SMALLEST_HEADROOM = 0.10
MOST_TUPLES = 10
SMALLEST_DIFFERENCE = 0.05
LEAST_LAYERS = 6
LEAST_SAMPLES = 15
RAW = Asked("mean activity, layers of the top tuples - rest", SMALLEST_DIFFERENCE)
SPECIFIC = Asked(
    "the same, activity minus that under the contrast instruction", SMALLEST_DIFFERENCE
)

CLAIM = PAPER.claim(
    "active_layers",
    level="L1",  # patching picks the layers; what decides is read off their heads
    title="The layers of the top tuples are more active than the rest",
    section="6.1",
    quote="we notice that the layers which contain significantly active heads (Table 2) for a "
    "particular model and task are also the layers that are involved in most of the 2- or 3-layer "
    "tuples that constitute instructional representations, presented in Section 5.",
    estimand="The mean activity of a layer's heads at T_inst, averaged over layers: weighted with "
    "the number of top tuples that the layer is in, minus weighted with the number of those that "
    "it is not in. Of the activity itself, and of the activity minus that under the contrast "
    "instruction at its own T_inst, for the same queries: what depth does to both is gone from "
    "that. Layers that cannot matter when patched are left out.",
    rule=f"The picking part picks the at most {MOST_TUPLES} non-degenerate tuples of two or "
    f"three layers with the largest mean effect among those whose effect and specific effect close "
    f"{SMALLEST_CLOSED_SHARE:.0%} of the gap; none: inconclusive. On the others the claim is "
    f"{supported_if(RAW, SPECIFIC)}: {SMALLEST_DIFFERENCE:.0%} of the high-ranking paths more "
    f"through a head of these layers than through one of the rest, and as many more than under the "
    f"contrast instruction (bounds: the wider one of "
    f"a bootstrap over samples and one for bounded quantities, Gaffke, this alone where "
    f"resampling gives none), and if the second is too "
    f"large for chance among layers (one-sided 5 %, sign flips of the products of the two depth "
    f"profiles' cosine components: a profile of the same smoothness, but unrelated). By the "
    f"first alone it is {refuted_if(RAW)}. Inconclusive "
    f"otherwise: what the contrast has as well may be depth's doing. Inconclusive, too, if all "
    f"layers are in equally many tuples, without headroom (mean rr gap over all samples below "
    f"{SMALLEST_HEADROOM}), and with fewer than {LEAST_SAMPLES} samples that decide and have a "
    f"high-ranking path under both instructions. Not applicable with fewer than {LEAST_LAYERS} "
    f"layers that count, as chance cannot be excluded then, and without a contrast instruction.",
    thresholds={
        "smallest headroom": SMALLEST_HEADROOM,
        "most tuples": MOST_TUPLES,
        "smallest difference": SMALLEST_DIFFERENCE,
        "least layers": LEAST_LAYERS,
        "least samples": LEAST_SAMPLES,
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
    own: Float[np.ndarray, "sample layer head"],
    contrast: Float[np.ndarray, "sample layer head"],
    chosen: Sequence[LayerTuple],
    layers: Sequence[int],
    rr_gap: Float[np.ndarray, " sample"],
    is_discovery: Bool[np.ndarray, " sample"],
    resamples: int = 10_000,
    seed: int = 0,
) -> Decision:
    """The verdict on the tuples that `discover` chose, as CLAIM.rule says.

    own, contrast: head activity at T_inst of all samples, under the task's instruction and under
    its contrast's; the picking part is dropped here, and so are samples with NaN (no high-ranking
    path) in either. layers: those that can matter when patched. rr_gap: rr(instructed) -
    rr(target). resamples: of bounds and sign flips.

    Deviation: the paper compares by eye. Layers are not permuted: neighbouring ones are alike, in
    activity and in effect, and permuted ones are not, so that two unrelated profiles that both
    change slowly with depth would pass in up to half of all runs. Flipping the signs of a profile's
    cosine components keeps how smooth it is. It is the sign-flip test of the components' products,
    which add up to the difference; with fewer than 6 layers it cannot reach 5 %. Two profiles that
    change with depth alike are not unrelated to it: so the contrast's activity is taken off.
    """
    if no_room := no_headroom(rr_gap, SMALLEST_HEADROOM):
        return no_room
    if len(layers) < LEAST_LAYERS:
        reason = (
            f"{len(layers)} layers count, but should be at least {LEAST_LAYERS}: with fewer, "
            "chance cannot be excluded, whatever the activities"
        )
        return Decision("not_applicable", reason, (), None)
    if not chosen:
        reason = "no tuple's effect and specific effect close a tenth of the gap"
        return Decision("inconclusive", reason, (), None)
    weights = weights_of(chosen, layers)
    if weights is None:
        reason = f"each of the {len(layers)} layers is in equally many of the {len(chosen)} tuples"
        return Decision("inconclusive", reason, (), None)
    kept = ~is_discovery & with_paths(own, contrast)
    if (n := int(kept.sum())) < LEAST_SAMPLES:
        reason = (
            f"{n} samples that decide have a high-ranking path from T_inst under both "
            f"instructions, but should be at least {LEAST_SAMPLES}"
        )
        return Decision("inconclusive", reason, (), None)
    profiles = own[kept][:, list(layers)].mean(axis=2)
    beyond = profiles - contrast[kept][:, list(layers)].mean(axis=2)
    p = _unrelated_p(weights, beyond.mean(axis=0), flips=resamples, seed=seed)
    reach = float(weights[weights > 0].sum())
    looked_at = f"{len(layers)} layers, {len(chosen)} tuples"

    def difference(values: Float[np.ndarray, "sample layer"], largest: float) -> Interval:
        each, how = values @ weights, {"seed": seed, "resamples": resamples}
        bounded = bounded_ratio(each, lowest=-largest, highest=largest, seed=seed, draws=resamples)
        return backed(bootstrap(_mean, each, smooth=True, **how), bounded)

    raw = RAW.criterion(
        f"weighted with the tuples that each layer is in; {looked_at}",
        difference(profiles, reach),
    )
    specific = SPECIFIC.criterion(
        f"p: sign flips of cosine components; {looked_at}",
        difference(beyond, 2 * reach),
        p_value=p,
    )
    decision = judge([raw, specific], samples=len(own))
    if decision.verdict == "refuted" and raw.outcome != "short":
        reason = f"no more than depth may explain: {decision.reason}"
        return replace(decision, verdict="inconclusive", reason=reason)
    if decision.verdict == "refuted":
        # At no level but 5 %: it is the first criterion alone that refutes.
        return replace(decision, criteria=(raw, replace(specific, level=None)))
    if decision.verdict == "inconclusive" and p >= ALPHA:
        reason = (
            f"{specific.name} {specific.estimate:.3g}, but p = {p:.3g}: may be chance among "
            f"{len(layers)} layers, and more samples would not tell"
        )
        return replace(decision, reason=reason, samples_to_decide=None)
    return decision


@claim(
    CLAIM,
    on=Instructed(),
    metrics=("rr", "logit"),
    gates=(COMPETENCE, CONTRAST, headroom(SMALLEST_HEADROOM), order(2)),
    needs={
        "runs": Runs(),
        "sweep": needs.sweep,
        "control": needs.control_sweep,
        "paths": needs.paths_by_k,
        "contrast_paths": needs.contrast_paths,
    },
)
def test_active_layers(
    cell: Cell,
    runs: Mapping[str, np.ndarray],
    sweep: Sweep,
    control: Sweep,
    paths: Mapping[int, Tracing],
    contrast_paths: Tracing,
) -> None:
    """The layers of the top tuples are more active than the rest."""
    view = patched(cell, sweep, control, runs)
    chosen = discover(
        view.effects(),
        view.specific(),
        view.tuples,
        view.gap(),
        is_discovery=view.is_discovery,
        degenerate=view.degenerate,
    )
    k = cell.settings.path_k[0]
    tasks = (
        TaskPaths(cell.data, paths),
        TaskPaths(cell.data.contrast, {k: contrast_paths}),
    )
    own, contrast = (head_shares(task.by_k[k], task.t_inst) for task in tasks)
    inert = view.of_order(1, view.degenerate)
    layers = [t[0] for t, idle in zip(view.tuples_of_order(1), inert, strict=True) if not idle]
    decision = decide(
        own=own,
        contrast=contrast,
        chosen=chosen,
        layers=layers,
        rr_gap=view.gap("rr"),
        is_discovery=view.is_discovery,
        seed=cell.seed,
    )
    measured = {
        task.data.name: head_exhibits.measured_activity(task.by_k[k], task.t_inst, seed=cell.seed)
        for task in tasks
    }
    first, second = measured.values()
    cell.conclude(
        decision,
        chosen=patching_exhibits.chosen_text(chosen),
        figures=[
            *patching_exhibits.effect_maps(view, chosen),
            head_exhibits.head_maps(measured, f"Head activity at T_inst, k = {k}"),
        ],
        tables=[
            head_exhibits.layers_and_tuples(first, second, chosen, layers),
            patching_exhibits.top_tuples(view),
            head_exhibits.correlation_between_k(tasks[0]),
        ],
        controls=[head_exhibits.strongest_heads(first, "Heads against drawn paths")]
        if first
        else [],
    )


def weights_of(
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

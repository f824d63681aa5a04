"""T_inst path dominance (section 6.1): no later token, nor the one before, has as many paths."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from claims.instruction_vectors import needs, path_exhibits
from claims.instruction_vectors.gates import COMPETENCE
from claims.instruction_vectors.paper import PAPER
from claims.instruction_vectors.path_views import path_counts
from ivevidence.records.cells import Decision
from ivfixtures.suite.asked import Asked, all_of, refuted_if, supported_if
from ivfixtures.suite.cells import Cell
from ivfixtures.suite.claims import claim
from ivfixtures.suite.kinds import Instructed
from ivfixtures.suite.rules import judge
from ivmethods.paths.methods import Attribution
from ivmethods.paths.results import Attributed, Tracing
from ivmethods.statistics.relative_lead import relative_lead

LARGEST_LAG = 0.05
LEAST_SAMPLES = 15
# In `decide`, with the names of the tokens.
AHEAD = Asked("mean lead over the tokens beside T_inst", 0.0)
NOT_BEHIND = Asked("lead over every rival", -LARGEST_LAG)
AHEAD_OF_REST = replace(AHEAD, name="lead over the later tokens pooled")

CLAIM = PAPER.claim(
    "tinst_path_dominance",
    level="L1",  # paths are a decomposition, not an intervention
    title="T_inst has more high-ranking paths than the tokens around and after it",
    section="6.1",
    quote="Yet, across tasks and model variations, we find that T_inst-emitted high-ranking paths "
    "form the upper bound among other tokens (Figure 4). This indicates that T_inst indeed plays a "
    "crucial role in the correct processing of an input instruction, leading to the target output "
    "token.",
    estimand="The lead of T_inst over a rival: (T_inst's - the rival's) / their sum on a sample, "
    "in [-1, 1], and its mean over the samples on which either has any. Metric count: numbers of "
    "high-ranking paths, the rivals being the token before T_inst and every later one. Metric "
    "share: shares of a token's paths that are high-ranking, the rival being the later tokens "
    "pooled.",
    rule=f"Metric count: {supported_if(NOT_BEHIND, AHEAD)}, so that none has more by what matters, "
    f"and as it is not where numbers of paths fall steadily from token to token or are all alike; "
    f"refuted if any of these is short of that (one-sided 5 % / their number). Metric share: "
    f"{supported_if(AHEAD_OF_REST)}, {refuted_if(AHEAD_OF_REST)}. Inconclusive "
    f"otherwise. Bounds are Gaffke's, which hold for any bounded quantity, widened to "
    f"the lead in mean numbers, as Figure 4 has them. Where the task names an earlier sentence end "
    f"of its instruction, the one of the two with the larger mean on the picking part takes "
    f"T_inst's place, and the other samples alone decide; elsewhere all samples decide. "
    f"Inconclusive with fewer than {LEAST_SAMPLES} samples on which any of the tokens has any.",
    thresholds={"largest lag that does not matter": LARGEST_LAG, "least samples": LEAST_SAMPLES},
    quantifier="all",  # "across tasks and model variations"
    by_metric=True,  # Figure 4 has numbers; shares leave geometry out
)


def discover(
    candidates: Float[np.ndarray, "sample candidate"], *, is_discovery: Bool[np.ndarray, " sample"]
) -> int:
    """Index of the candidate with the largest mean on the picking part, the first of equal ones.

    candidates: numbers or shares, as in `decide`, of the tokens that may stand for T_inst, T_inst
    first. Samples with NaN do not count.
    """
    counted = candidates[is_discovery & ~np.isnan(candidates).any(axis=1)]
    return int(np.argmax(counted.mean(axis=0))) if len(counted) else 0


def decide(
    *,
    own: Float[np.ndarray, " sample"],
    rivals: Mapping[str, Float[np.ndarray, " sample"]],
    beside: Sequence[str] = (),
    own_name: str = "T_inst",
    is_discovery: Bool[np.ndarray, " sample"] | None = None,
    draws: int = 10_000,
    seed: int = 0,
) -> Decision:
    """The verdict on T_inst, or on the token that `discover` chose, as CLAIM.rule says.

    own, rivals: number of high-ranking paths, or their share; NaN on a sample where a token has no
    path of any kind: it is dropped. beside: those of the rivals that are next to it, or none: then
    the rivals are all that it has to lead. is_discovery: samples that chose, which are dropped
    here; None if nothing was chosen. draws: of each bound.
    """
    values = np.column_stack([own, *rivals.values()])
    kept = ~np.isnan(values).any(axis=1)
    if is_discovery is not None:
        kept &= ~is_discovery
    values = values[kept]
    if (n := int((values > 0).any(axis=1).sum())) < LEAST_SAMPLES:
        reason = f"{n} samples on which any of these tokens has a high-ranking path decide"
        return Decision("inconclusive", f"{reason}, but should be at least {LEAST_SAMPLES}")
    overtaken = [list(beside or rivals), *([name] for name in rivals if beside)]
    names = [
        f"{'mean ' if len(over) > 1 else ''}lead over {' and '.join(over)}" for over in overtaken
    ]
    first, *rest = names
    asked = all_of(replace(AHEAD, name=first), *(replace(NOT_BEHIND, name=name) for name in rest))
    columns = {name: column for column, name in enumerate(rivals, start=1)}
    criteria = [
        each.criterion(
            f"mean of ({own_name} - the other) / their sum",
            relative_lead(
                values[:, 0],
                values[:, [columns[name] for name in over]],
                alpha_high=each.alphas["alpha_high"],
                draws=draws,
                seed=seed,
            ),
        )
        for over, each in zip(overtaken, asked, strict=True)
    ]
    criteria.sort(key=lambda c: (c.estimate or 0.0) - c.threshold)
    return judge(criteria, samples=len(own))


@claim(
    CLAIM,
    on=Instructed(),
    metrics=("count", "share"),
    gates=(COMPETENCE,),
    needs={
        "paths": needs.paths_by_k,
        "attribution": Attribution(),
        "released": needs.released_paths,
    },
)
def test_tinst_path_dominance(
    cell: Cell, paths: Mapping[int, Tracing], attribution: Attributed, released: Tracing | None
) -> None:
    """T_inst has more high-ranking paths than the tokens around and after it."""
    data = cell.data
    all_counts = [path_counts(data, tracing) for tracing in paths.values()]
    counts = all_counts[0]
    values = counts.high if cell.metric == "count" else counts.shares()
    ends = [c for c in (counts.columns.t_inst, counts.columns.sub) if c is not None]
    chosen = ends[discover(values[:, ends], is_discovery=data.is_discovery)]
    if cell.metric == "count":
        others = [c for c in range(values.shape[1]) if c == chosen - 1 or c > chosen]
        rivals = {counts.name(c): values[:, c] for c in others}
        beside = [counts.name(c) for c in others if abs(c - chosen) == 1]
    else:
        rivals, beside = {"the later tokens pooled": counts.later_share(chosen)}, []
    decision = decide(
        own=values[:, chosen],
        rivals=rivals,
        beside=beside,
        own_name=counts.name(chosen),
        is_discovery=data.is_discovery if len(ends) > 1 else None,
        seed=cell.seed,
    )
    cell.conclude(
        decision,
        figures=[
            *map(path_exhibits.path_bars, all_counts),
            path_exhibits.strongest_paths(data, counts),
            path_exhibits.attribution_bars(data, attribution),
        ],
        tables=[
            path_exhibits.paths_by_token(counts),
            path_exhibits.paths_by_k(all_counts, path_counts(data, released) if released else None),
        ],
        controls=[path_exhibits.random_token(data, counts)],
        per_sample={counts.name(chosen): values[:, chosen]} | rivals,
    )

"""T_inst path dominance (section 6.1): no later token, nor the one before, has as many paths."""

from collections.abc import Sequence

import numpy as np
import pytest
from jaxtyping import Bool, Float

from ivevidence.records import Claim, Decision
from ivfixtures import gates, path_exhibits
from ivfixtures.cells import Cell
from ivfixtures.judging import criterion, judge
from ivfixtures.path_views import path_counts
from ivmethods.relative_lead import relative_leads
from ivmethods.statistics import ALPHA

SMALLEST_LEAD = 0.05

CLAIM = Claim(
    name="tinst_path_dominance",
    title="T_inst has more high-ranking paths than the tokens around and after it",
    paper="Patches of Nonlinearity: Instruction Vectors in Large Language Models, arXiv:2602.07930",
    section="6.1",
    quote="Yet, across tasks and model variations, we find that T_inst-emitted high-ranking paths "
    "form the upper bound among other tokens (Figure 4). This indicates that T_inst indeed plays a "
    "crucial role in the correct processing of an input instruction, leading to the target output "
    "token.",
    estimand="The relative lead of T_inst over a rival: (mean of T_inst - mean of the rival) / "
    "(mean of T_inst + mean of the rival) over samples, in [-1, 1]; 0 if both are 0. Metric count: "
    "the number of high-ranking paths, against the token before T_inst and every later one. Metric "
    "share: the share of a token's paths that is high-ranking, against the later tokens pooled.",
    rule=f"Supported if T_inst leads every rival by more than {SMALLEST_LEAD:.0%} (one-sided 5 %), "
    f"refuted if its lead over any rival is short of {SMALLEST_LEAD:.0%} (one-sided 5 % / number "
    f"of rivals), inconclusive otherwise. Each bound is the wider one of two: bootstrap over "
    f"samples, and sign flips of the paired differences. Where the task names an earlier sentence "
    f"end of its instruction, the one of the two with the larger mean on the picking part takes "
    f"T_inst's place, and the other samples alone decide; elsewhere all samples decide. "
    f"Inconclusive if no token has any high-ranking path.",
    thresholds={"smallest relative lead": SMALLEST_LEAD},
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
    rivals: Float[np.ndarray, "sample rival"],
    names: Sequence[str],
    own_name: str = "T_inst",
    is_discovery: Bool[np.ndarray, " sample"] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> Decision:
    """The verdict on T_inst, or on the token that `discover` chose, as CLAIM.rule says.

    own, rivals: number of high-ranking paths, or their share; NaN on a sample where a token has no
    path of any kind: it is dropped. names, own_name: of the tokens. is_discovery: samples that
    chose, which are dropped here; None if nothing was chosen. resamples: of the bootstrap and of
    the sign flips.

    Supported is an intersection-union test: each rival's `low` is at the full alpha. Refuted is any
    one rival, so each `high` is at alpha / number of rivals (Bonferroni).
    """
    kept = ~np.isnan(own) & ~np.isnan(rivals).any(axis=1)
    if is_discovery is not None:
        kept &= ~is_discovery
    mine, theirs = own[kept], rivals[kept]
    if not mine.any() and not theirs.any():
        reason = f"no high-ranking path from any of these tokens on {len(mine)} samples"
        return Decision("inconclusive", reason, (), None)
    intervals = relative_leads(
        mine, theirs, alpha_high=ALPHA / len(names), resamples=resamples, seed=seed
    )
    bounds = f"bounds: one-sided 5 % below, 5 % / {len(names)} above"
    criteria = [
        criterion(
            f"lead over {name}",
            f"(mean of {own_name} - mean of {name}) / their sum ({bounds})",
            interval,
            SMALLEST_LEAD,
        )
        for name, interval in zip(names, intervals, strict=True)
    ]
    criteria.sort(key=lambda c: 0.0 if c.estimate is None else c.estimate)
    return judge(criteria, samples=len(own))


@pytest.mark.claim(
    CLAIM,
    metrics=("count", "share"),
    asks=("behaviour", gates.competence, gates.linear_form, "paths", "released paths"),
)
def test_tinst_path_dominance(cell: Cell) -> None:
    """T_inst has more high-ranking paths than the tokens around and after it."""
    cell.require_competence()
    cell.require_linear_form()
    all_counts = [path_counts(cell.bench, k) for k in cell.bench.options.path_k]
    counts = all_counts[0]
    values = counts.high if cell.metric == "count" else counts.shares()
    ends = [c for c in (counts.columns.t_inst, counts.columns.sub) if c is not None]
    chosen = ends[discover(values[:, ends], is_discovery=cell.is_discovery)]
    if cell.metric == "count":
        others = [c for c in range(values.shape[1]) if c == chosen - 1 or c > chosen]
        rivals, names = values[:, others], [counts.name(c) for c in others]
    else:
        rivals, names = counts.later_share(chosen)[:, None], ["the later tokens pooled"]
    decision = decide(
        own=values[:, chosen],
        rivals=rivals,
        names=names,
        own_name=counts.name(chosen),
        is_discovery=cell.is_discovery if len(ends) > 1 else None,
        seed=cell.seed,
    )
    cell.conclude(
        decision,
        figures=[
            *map(path_exhibits.path_bars, all_counts),
            path_exhibits.strongest_paths(cell.bench, counts),
            path_exhibits.attribution_bars(cell.bench),
        ],
        tables=[
            path_exhibits.paths_by_token(counts),
            path_exhibits.paths_by_k(cell.bench),
        ],
        controls=[path_exhibits.random_token(cell.bench, counts)],
        per_sample={counts.name(chosen): values[:, chosen]}
        | dict(zip(names, rivals.T, strict=True)),
    )

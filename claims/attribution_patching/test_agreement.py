"""Agreement: attribution patching gives what activation patching gives, over heads."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from claims.attribution_patching import shown
from claims.attribution_patching.paper import PAPER
from claims.attribution_patching.rule import ESTIMAND, RULE, THRESHOLDS, correlations, decide, parts
from ivfixtures.suite import exhibits
from ivfixtures.suite.cells import Cell
from ivfixtures.suite.claims import claim
from ivfixtures.suite.kinds import Pairs
from ivmethods.patching.head_methods import (
    ActivationPatching,
    AttributionPatching,
    HeadNoOp,
    PairScores,
)

CLAIM = PAPER.claim(
    "agreement",
    title="Attribution patching approximates activation patching",
    section="abstract",
    level="L2",  # heads are patched; picking and deciding are one, as nothing is picked
    quote="We investigate Attribution Patching (AtP), a fast gradient-based approximation to "
    "Activation Patching",
    estimand=ESTIMAND,
    rule=RULE,
    thresholds=THRESHOLDS,
    quantifier="all",  # of the method as such; where it fails is what the paper goes on to ask
)


@claim(
    CLAIM,
    on=Pairs(tasks=("adj_ant",)),
    needs={
        "scores": PairScores(),
        "exact": ActivationPatching("heads"),
        "quick": AttributionPatching("heads"),
        "no_op": HeadNoOp("all"),
    },
)
def test_agreement(
    cell: Cell,
    scores: Mapping[str, Float[np.ndarray, " sample"]],
    exact: Float[np.ndarray, "sample layer head"],
    quick: Float[np.ndarray, "sample layer head"],
    no_op: float,
) -> None:
    """Attribution patching approximates activation patching."""
    labels, gap = cell.data.labels, scores["clean"] - scores["corrupt"]
    by_pair = [values.reshape(len(values), -1).astype(np.float64) for values in (exact, quick)]
    values = {"rank correlation": correlations(*by_pair), "part explained": parts(*by_pair)}
    cell.conclude(
        decide(exact=exact, quick=quick, gap=gap, answers=labels, seed=cell.seed),
        figures=[shown.effects(exact, quick), shown.against(exact, quick)],
        tables=[
            shown.largest(exact, quick),
            exhibits.answers(labels, np.ones(len(labels), dtype=bool), values),
        ],
        controls=[shown.gaps(scores, no_op)],
        per_sample={"gap": gap, **values},
    )

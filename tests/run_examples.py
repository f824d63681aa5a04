"""Runs made up for tests: light cells, as many or few as a test needs."""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from ivevidence import VERDICTS, CellRecord, Criterion, Decision, Evidence
from ivevidence.records.files import SCHEMA
from tests.evidence_examples import CLAIMS, example_cell

CHECKPOINTS = ("step-1000", "step-2000")
TASKS = ("adj_comp", "can_fly")
BARE = [
    replace(example_cell(claim), figures=(), tables=(), controls=(), prompts=()) for claim in CLAIMS
]


def light_cell(
    checkpoint: str = CHECKPOINTS[0],
    task: str = TASKS[0],
    verdict: str = "supported",
    *,
    estimate: float = 0.3,
    criterion: str = "share of gap",
    claim: int = 0,
    values: list[float] | None = None,
    sampled: str = "query",
    **changes,
) -> CellRecord:
    """A cell with one criterion and one series of values, without figures and tables."""
    values = [0.1, 0.2, 0.3] if values is None else values
    low, high = estimate - 0.1, estimate + 0.1
    threshold = {"supported": min(0.1, low - 0.1), "refuted": max(0.1, high + 0.1)}.get(
        verdict, 0.1
    )
    criteria = (Criterion(criterion, "", estimate, low, high, threshold, 50),)
    return replace(
        BARE[claim],
        checkpoint=checkpoint,
        task=task,
        decision=Decision(verdict, f"{criterion} says so", criteria),
        samples=tuple(f"{sampled} {k}" for k in range(len(values))),
        per_sample={"effect": tuple(values)},
        **{"metric": "rr", "family": "olmo"} | changes,
    )


def a_run(*cells: CellRecord, errors=(), **facts) -> Evidence:
    return Evidence(schema=SCHEMA, run=facts, cells=cells, errors=tuple(errors))


@st.composite
def runs(draw: st.DrawFn) -> Evidence:
    """Any cells of two claims, checkpoints and tasks, with any verdicts, criteria and values."""
    names = st.tuples(st.sampled_from(CHECKPOINTS), st.sampled_from(TASKS), st.integers(0, 1))
    cells = []
    for checkpoint, task, claim in draw(st.lists(names, unique=True, max_size=5)):
        rng = np.random.default_rng(draw(st.integers(0, 99)))
        cells.append(
            light_cell(
                *(checkpoint, task, draw(st.sampled_from(VERDICTS))),
                estimate=draw(st.floats(-2, 2)),
                criterion=draw(st.sampled_from(("share", "lead"))),
                claim=claim,
                values=rng.normal(draw(st.sampled_from((0, 3))), 1, draw(st.integers(0, 12))),
                parameters={"samples": draw(st.integers(1, 2))},
            )
        )
    facts = {"interrupted": True} if draw(st.booleans()) else {}
    return a_run(*cells, **facts)

"""How a test says which claim it judges, on what, and what it needs for that."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ivevidence.records.cells import Claim
    from ivfixtures.suite.subjects import Kind

Test = Callable[..., None]


def claim(
    record: Claim,
    *,
    on: Kind,
    metrics: Sequence[str | None] = (None,),
    gates: Sequence[Any] = (),
    needs: Mapping[str, Any] | None = None,
    then: Mapping[str, Any] | None = None,
) -> Callable[[Test], Test]:
    """Make a function the test of a claim: it is given `cell`, and the results of its needs.

    on: the kind of data, which says what there is a cell of. metrics: a cell for each. gates: what
    has to hold before needs are measured (`Gate`), in order. needs: by argument, a method, a
    request on other data, or a function of the cell's data and the pack's settings that gives one,
    several by name, or None. then: by argument, what depends on these results (`Then`).
    """

    def judging(test: Test) -> Test:
        @functools.wraps(test)
        def judge(cell: Any) -> None:
            test(cell, **cell.arguments())

        parameter = inspect.Parameter("cell", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        vars(judge)["__signature__"] = inspect.Signature([parameter])
        marker = pytest.mark.claim(
            record, on=on, metrics=metrics, gates=gates, needs=needs or {}, then=then or {}
        )
        return marker(judge)

    return judging

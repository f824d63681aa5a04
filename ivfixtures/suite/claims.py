"""How a test says which claim it judges, on what, and what it needs for that."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from ivfixtures.errors import error_line

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
    needs, then = dict(needs or {}), dict(then or {})

    def judging(test: Test) -> Test:
        _check(test, gates, needs, then)

        @functools.wraps(test)
        def judge(cell: Any) -> None:
            try:
                test(cell, **cell.arguments())
            except pytest.skip.Exception:
                if cell.record:
                    raise
            # `cell.conclude` ends the test, whatever the verdict.
            where, remedy = test.__name__, "end the test with cell.conclude(decision, ...)"
            line = error_line("verdict", "missing", "concluded by the test", where, remedy)
            raise pytest.fail.Exception(line, pytrace=False)

        parameter = inspect.Parameter("cell", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        vars(judge)["__signature__"] = inspect.Signature([parameter])
        marker = pytest.mark.claim(
            record, on=on, metrics=metrics, gates=gates, needs=needs, then=then
        )
        return marker(judge)

    return judging


def _check(
    test: Test, gates: Sequence[Any], needs: Mapping[str, Any], then: Mapping[str, Any]
) -> None:
    """See that the test takes what is needed, and nothing else.

    Raises: ValueError.
    """
    where = f"{test.__module__}, {test.__name__}"
    if twice := needs.keys() & then.keys():
        remedy = "give one of them another name"
        raise ValueError(error_line("names in needs and then", min(twice), "other", where, remedy))
    takes, given = [*inspect.signature(test).parameters], ["cell", *needs, *then]
    if sorted(takes) != sorted(given):
        got, expected = ", ".join(takes), ", ".join(given)
        remedy = "a test is given `cell`, and a result for each need"
        raise ValueError(error_line("arguments of the test", got, expected, where, remedy))
    gates = gates if isinstance(gates, Sequence) else [gates]
    for kind, values in (("gate", gates), ("then", [*then.values()])):
        for value in values:
            if type(value).__name__ != kind.capitalize():
                expected = f"a {kind.capitalize()} of ivfixtures.measuring.inquiry"
                raise ValueError(error_line(kind, repr(value), expected, where, "make it one"))

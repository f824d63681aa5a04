"""How pytest hears a verdict, alone or held to an expectation."""

from dataclasses import dataclass
from typing import NoReturn

import pytest

from ivevidence import CellRecord, Comparison, Criterion, Decision, Drift, Expectation
from ivevidence.figures.svg import visible_text
from ivevidence.records.cells import UNDRIFTED
from ivfixtures.suite.expectations import Expecting

PASSED_OVER = "passed over (--measure-anyway)"  # in a cell's note, after the gate's name
# What a changed verdict says of why it fails.
_CAUSES = {
    "with a drift": "values drifted further than chance takes them",
    "same values": "no value moved: not the checkpoint, but what judges it changed",
    "another rule": "the claim's rule is another one since: see the verdicts, write the file again",
    "nothing to compare": "no per-sample values to tell chance from a drift by: another store, or "
    "none are kept of such a cell",
}


class Concluded(Exception):  # noqa: N818 - not an error: a cell is judged and its test passes
    """Ends the test of a cell whose verdict is good news, wherever it was concluded."""


@dataclass(frozen=True)
class Hearing:
    """How the cells of a run are heard.

    expecting: what the run is held to, if anything. xfail_refuted: whether a refuted claim that
    nothing was expected of is xfailed rather than failed.
    """

    expecting: Expecting | None = None
    xfail_refuted: bool = False

    def compare(self, record: CellRecord) -> CellRecord:
        """The record with what was expected of its cell."""
        return self.expecting.compare(record) if self.expecting else record

    def tell(self, record: CellRecord) -> NoReturn:
        """End the test with pytest's outcome, its message being the statistics.

        supported passes, refuted fails, inconclusive and not_applicable skip. With expectations:
        what was expected passes, or is xfailed if it is refuted; so does a verdict that changed
        without a drift; all else fails.
        """
        verdict, message = record.decision.verdict, _visible(decision_text(record.decision))
        comparison, xfail_refuted = record.comparison, self.xfail_refuted
        if comparison:
            if problem := self._problem(comparison, record):
                pytest.fail(_visible(problem), pytrace=False)
            if warning := changed_without_drift(record):
                message = f"{UNDRIFTED}: {_visible(warning)}\n{message}"
            xfail_refuted = True
        if verdict == "refuted" and xfail_refuted:
            pytest.xfail(message)
        if verdict == "refuted":
            pytest.fail(message, pytrace=False)
        if verdict != "supported" and not comparison:
            pytest.skip(message)
        raise Concluded

    def _problem(self, comparison: Comparison, record: CellRecord) -> str | None:
        decision = record.decision
        if comparison.expectation is None:
            if self.expecting and self.expecting.may_be_new(record.name):
                return None
            return (
                f"new: {comparison.baseline} has no entry for {record.cell_id}; --expect-new "
                f"allows it, --write-expect writes one\n{decision_text(decision)}"
            )
        before = comparison.expectation
        moved = [drift for drift in comparison.drifts if drift.name in comparison.drifted]
        if comparison.follows or comparison.change == UNDRIFTED:
            return None
        if before.verdict != decision.verdict:
            what = f"changed: {before.verdict} -> {decision.verdict}"
            moved = list(comparison.drifts)
        elif moved:
            what = f"drifted: still {decision.verdict}"
        else:
            return None
        lines = [
            f"{what} [{comparison.baseline}]",
            *([_CAUSES[comparison.change]] if comparison.change else []),
            f"expected of {comparison.checkpoint}: {expectation_text(before)}",
            f"now {decision_text(decision)}",
            *map(drift_text, moved),
        ]
        return "\n".join(lines)


def changed_without_drift(record: CellRecord) -> str | None:
    """Both verdicts of a cell whose verdict changed without a drift; None of any other."""
    comparison = record.comparison
    if not (comparison and comparison.expectation and comparison.change == UNDRIFTED):
        return None
    return f"{comparison.expectation.verdict} -> {record.decision.verdict}"


def decision_text(decision: Decision) -> str:
    """A verdict with its reason, what it is on, and a line for each criterion."""
    lines = [f"{decision.verdict}: {decision.reason}"]
    lines += [f"  judged on: {decision.chosen}"] if decision.chosen else []
    return "\n".join([*lines, *(f"  {criterion_line(c)}" for c in decision.criteria)])


def expectation_text(expectation: Expectation) -> str:
    """An expected verdict with its first criterion."""
    if expectation.criterion is None:
        return expectation.verdict
    e = expectation
    return f"{e.verdict}\n  {e.criterion}={_number(e.estimate)} {_bounds(e)} (n={e.n})"


def drift_text(drift: Drift) -> str:
    """A drift as a line of text."""
    how = f"paired, n={drift.n[1]}" if drift.paired else f"unpaired, n={drift.n[0]}, {drift.n[1]}"
    return f"  drift of {drift.name}={_number(drift.estimate)} {_bounds(drift)} ({how})"


def criterion_line(criterion: Criterion) -> str:
    """One criterion as a line of text."""
    test = "" if criterion.p_value is None else f", p={criterion.p_value:.2g}"
    return (
        f"{criterion.name}={_number(criterion.estimate)} {_bounds(criterion)} against "
        f"{_number(criterion.threshold)} (n={criterion.n}{test}): {criterion.outcome}"
    )


def _visible(text: str) -> str:
    """Lines without control characters: names of checkpoints and entries are data."""
    return "\n".join(map(visible_text, text.split("\n")))


def _bounds(found: Criterion | Expectation | Drift) -> str:
    return f"[{_number(found.low)}, {_number(found.high)}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"

"""How cells conclude for pytest, alone or held to an expectation."""

from dataclasses import dataclass
from typing import NoReturn

import pytest

from ivevidence import CellRecord
from ivevidence.figures.svg import visible_text
from ivevidence.records.cells import UNDRIFTED
from ivevidence.report.comparison import mark
from ivevidence.report.comparison_text import change_text, comparison_lines, decision_lines
from ivfixtures.suite.expectations import Expecting

PASSED_OVER = "passed over (--measure-anyway)"  # in a cell's note, after the gate's name


class Concluded(Exception):  # noqa: N818 - not an error: a cell is judged and its test passes
    """Ends the test of a cell whose verdict is good news, wherever it was concluded."""


@dataclass(frozen=True)
class Conclusions:
    """How the cells of a run conclude.

    expecting: what the run is held to, if anything. xfail_refuted: whether a refuted claim that
    nothing was expected of is xfailed rather than failed.
    """

    expecting: Expecting | None = None
    xfail_refuted: bool = False

    def compare(self, record: CellRecord) -> CellRecord:
        """The record with what was expected of its cell."""
        return self.expecting.baseline.compare(record) if self.expecting else record

    def tell(self, record: CellRecord) -> NoReturn:
        """End the test with pytest's outcome, its message being the statistics.

        supported passes, refuted fails, inconclusive and not_applicable skip. With expectations:
        what was expected passes, or is xfailed if it is refuted; so does a verdict that changed
        without a drift; all else fails.
        """
        verdict, message = record.decision.verdict, "\n".join(decision_lines(record.decision))
        comparison, xfail_refuted = record.comparison, self.xfail_refuted
        if comparison:
            if problem := self._problem(record):
                pytest.fail(problem, pytrace=False)
            if mark(record) == UNDRIFTED:
                message = f"{UNDRIFTED}: {change_text(record)}\n{message}"
            xfail_refuted = True
        if verdict == "refuted" and xfail_refuted:
            pytest.xfail(message)
        if verdict == "refuted":
            pytest.fail(message, pytrace=False)
        if verdict != "supported" and not comparison:
            pytest.skip(message)
        raise Concluded

    def _problem(self, record: CellRecord) -> str | None:
        word, comparison = mark(record), record.comparison
        if comparison and word == "new":
            if self.expecting and self.expecting.may_be_new(record.name):
                return None
            said = visible_text(
                f"new: {comparison.baseline} has no entry for {record.cell_id}; --expect-new "
                "allows it, --write-expect writes one"
            )
            return "\n".join([said, *decision_lines(record.decision)])
        return "\n".join(comparison_lines(record)) if word in ("changed", "drifted") else None

"""The plan: the measurements that the selected cells need, and which of them the store has."""

from __future__ import annotations

from typing import Any

import pytest

from ivevidence.figures.svg import visible_text
from ivfixtures.errors import NotMeasuredError, message_of
from ivfixtures.measuring.lookups import Lookup, ReadOnlyStore
from ivfixtures.measuring.measurements import Measurements
from ivfixtures.measuring.plan_text import Plan, Planned, State, lines
from ivfixtures.measuring.requests import Request
from ivfixtures.suite.executing import stored
from ivfixtures.suite.plugin import cell_of
from ivfixtures.suite.run import Run
from ivfixtures.suite.selection import subject_of


class Planner:
    """Goes through cells, one checkpoint after the other, as they are judged.

    Raises: pytest.UsageError, the store cannot be listed.
    """

    def __init__(self, run: Run) -> None:
        self.run, self.plan = run, Plan()
        self.stored = stored(run.store)
        run.judging = ReadOnlyStore(run.store.place)
        self.measurements = Measurements(run.judging, device="", dtype=run.options.dtype)

    def add(self, item: pytest.Item) -> None:
        """Add what a cell needs."""
        subject = subject_of(item)
        if subject is None:
            return
        for checkpoint in subject.checkpoints:
            self.plan.cells[checkpoint.name] = self.plan.cells.get(checkpoint.name, 0) + 1
        try:
            if self.run.turn_to(subject):
                self.measurements.forget()
            self._add(cell_of(item, subject, self.run))
        except Exception as error:
            self.plan.problems[subject.name] = message_of(error)

    def _add(self, cell: Any) -> None:
        self.run.show(f"planning {cell.subject.name} {cell.subject.task}")
        lookup = Lookup(self.measurements, self.stored)
        is_open = False
        try:
            cell.ask(lookup, unknown="all", look=lookup.look)
        except NotMeasuredError:
            is_open = True
        for digest, request in lookup.asked.items():
            state: State = "stored" if digest in self.stored else "missing"
            self._note((digest,), request, request.method.role, state)
        if is_open:
            for _, request in cell.methods_like():
                label = f"{request.method.role} of {cell.claim.name} {cell.metric}"
                self._note(
                    (*request.data.digests.values(), request.data.name, label),
                    request,
                    label,
                    "open",
                )

    def _note(self, at: tuple[str, ...], request: Request, label: str, state: State) -> None:
        data, method = request.data, request.method
        if at in self.plan.planned:
            return
        size = data.size()
        self.plan.parameters[data.checkpoint.name] = size.parameters
        task = data.name if method.of_task else ""
        flop = method.flop(data.inputs(method), size)
        self.plan.planned[at] = Planned(data.checkpoint.name, task, label, state, flop)


class Planning:
    """Plugin that says what the selected cells need, and judges none."""

    def __init__(self, config: pytest.Config, run: Run) -> None:
        if config.getoption("dist", "no") != "no":
            raise pytest.UsageError("--plan: leave out pytest-xdist [-n]; one process plans")
        self.config, self._run = config, run

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Print the plan in place of judging."""
        if session.testsfailed and not self.config.option.continue_on_collection_errors:
            return None
        planner = Planner(self._run)
        for item in session.items:
            planner.add(item)
        for line in lines(planner.plan, listing=self.config.option.verbose > 0):
            self._run.screen.line(visible_text(line))
        self._run.end_unjudged()
        return True

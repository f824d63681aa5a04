"""The plan: the measurements that the selected cells need, and which of them the store has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, product
from typing import Any

import pytest

from ivevidence import Claim, Measurement, Store, digest_json
from ivevidence.figures.svg import visible_text
from ivevidence.store.measurements import Check, Computed
from ivevidence.store.places import Place
from ivfixtures.checkpoints.resolving import Checkpoint
from ivfixtures.data.tasks import Task
from ivfixtures.measuring.asks import ASKS, Asked, Tokens, Want
from ivfixtures.measuring.bench import Bench, CheckpointRefusedError
from ivfixtures.measuring.executing import stored
from ivfixtures.measuring.executors.waves import subject_of
from ivfixtures.measuring.gates import Gate
from ivfixtures.measuring.plan_text import Plan, Planned, State, lines
from ivfixtures.suite.cells import Cell
from ivfixtures.suite.run import Run
from ivfixtures.suite.subjects import Subject

Identity = tuple[str, ...]  # digests of the checkpoint's files, task, method


class AsksError(ValueError):
    """A claim's marker asks for what there is not, in one line."""


class _Found(Exception):  # noqa: N818 - no error: it brings the answer out of a bench
    """The key of a measurement is known, and so is whether the store has it."""

    def __init__(self, method: str, is_stored: bool) -> None:
        super().__init__(method)
        self.method, self.is_stored = method, is_stored


class PlanStore(Store):
    """A store that measures nothing: it says of what is wanted whether it is there.

    What the wanted measurement's key depends on is read. stored: digests of what is there.
    """

    def __init__(self, place: Place, stored: frozenset[str]) -> None:
        super().__init__(place)
        self.wanted, self._stored = "", stored

    def measure(
        self, key: Mapping[str, Any], compute: Callable[[], Computed], check: Check | None = None
    ) -> Measurement:
        """Return a measurement that is stored and not the one that is wanted.

        Raises: _Found.
        """
        digest, method = digest_json(key), str(key["method"])
        is_stored = digest in self._stored
        if is_stored and method != self.wanted and (found := self.find(digest, check)):
            return found
        raise _Found(method, is_stored)

    def state(self, want: Want) -> State:
        """Whether a measurement is stored. It is not where it takes one that is not."""
        if want.find is None:
            return "open"
        self.wanted = want.method
        try:
            want.find()
        except _Found as found:
            return "stored" if found.is_stored and found.method == want.method else "missing"
        finally:
            self.wanted = ""
        return "stored"  # the bench had it at hand


class Planner:
    """Goes through cells, one checkpoint after the other, as they are judged.

    Raises: pytest.UsageError, the store cannot be listed.
    """

    def __init__(self, run: Run) -> None:
        self.run, self.plan = run, Plan()
        self.store = PlanStore(run.store.place, stored(run.store))
        self._asked: dict[tuple[str, str], Asked] = {}
        self._counted: dict[tuple[str, ...], Tokens] = {}

    def add(self, item: pytest.Item) -> None:
        """Add what a cell needs.

        Raises: AsksError.
        """
        subject = subject_of(item)
        if subject is None:
            return
        for checkpoint in subject.checkpoints:
            self.plan.cells[checkpoint.name] = self.plan.cells.get(checkpoint.name, 0) + 1
        try:
            for at, want in self.wants(item, subject):
                if at not in self.plan.planned:
                    *_, task, method = at
                    name, state = want.of.bench.checkpoint.name, self.store.state(want)
                    self.plan.planned[at] = Planned(name, task, method, state, want.flop)
        except AsksError:
            raise
        except (ValueError, CheckpointRefusedError) as error:
            self.plan.problems[subject.name] = str(error)

    def wants(self, item: pytest.Item, subject: Subject) -> Iterator[tuple[Identity, Want]]:
        """What a cell needs, up to a gate that is closed.

        Raises: AsksError; ValueError, CheckpointRefusedError, as the benches do.
        """
        claim, asks = self._claim(item, subject)
        labels = {checkpoint.label for checkpoint in subject.checkpoints}
        for other in [key for key in self._asked if key[0] not in labels]:
            del self._asked[other]
        of = [self._of(c, task) for c, task in product(subject.checkpoints, subject.tasks)]
        cell = Cell(claim, subject, [one.bench for one in of], (), self.run.hearing)
        for ask in asks:
            if not isinstance(ask, str):
                if self._is_closed(ask, cell):
                    return
                continue
            for want in chain.from_iterable(map(ASKS[ask], of)):
                task = "" if want.of_checkpoint else want.of.bench.task.name
                which = "" if want.find else f" of {claim.name} {subject.metric}"
                yield (*want.of.identity, task, want.method + which), want

    def _claim(self, item: pytest.Item, subject: Subject) -> tuple[Claim, Sequence[str | Gate]]:
        marker = next(item.iter_markers("claim"))
        claim, asks = marker.args[0], marker.kwargs.get("asks", ())
        if "asks" not in marker.kwargs:
            self.plan.problems[claim.name] = "its marker has no `asks`"
        if isinstance(asks, Mapping) and subject.metric not in asks:
            got, expected = ", ".join(map(str, asks)), f"for {subject.metric}, too"
            raise AsksError(f"asks=for {got}, but should be {expected} [marker of {claim.name}]")
        found = asks[subject.metric] if isinstance(asks, Mapping) else asks
        for ask in found:
            if not callable(ask) and ask not in ASKS:
                expected = f"a gate or one of {', '.join(ASKS)}"
                raise AsksError(f"asks={ask!r}, but should be {expected} [marker of {claim.name}]")
        return claim, found

    def _of(self, checkpoint: Checkpoint, task: Task) -> Asked:
        at = (checkpoint.label, task.name)
        if at not in self._asked:
            self.run.show(f"planning {checkpoint.name} {task.name}")
            options = self.run.options.of(checkpoint)
            bench = Bench(checkpoint, task, options, self.store, self.run.show)
            self._asked[at] = Asked(bench, lambda other: self._of(checkpoint, other), self._counted)
            self.plan.parameters[checkpoint.name] = self._asked[at].parameters
        return self._asked[at]

    def _is_closed(self, gate: Gate, cell: Cell) -> bool:
        try:
            return not gate(cell)
        except _Found:
            return False  # not measured yet


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
        try:
            for item in session.items:
                planner.add(item)
        except AsksError as error:
            raise pytest.UsageError(visible_text(str(error))) from None
        for line in lines(planner.plan, listing=self.config.option.verbose > 0):
            self._run.screen.line(line)
        self._run.end_unjudged()
        return True

"""The plan: the measurements that the selected cells need, and which of them the store has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, product
from typing import Any

import pytest

from ivevidence import Claim, Measurement, digest_json
from ivevidence.figures.svg import visible_text
from ivevidence.store.measurements import Check, Computed
from ivevidence.store.places import Place
from ivfixtures.checkpoints.resolving import Checkpoint
from ivfixtures.data.tasks import Task
from ivfixtures.errors import NotMeasuredError
from ivfixtures.measuring.asks import ASKS, Want, whole
from ivfixtures.measuring.bench import Bench, CheckpointRefusedError
from ivfixtures.measuring.executing import ReadOnlyStore, stored
from ivfixtures.measuring.executors.waves import subject_of
from ivfixtures.measuring.gates import Gate
from ivfixtures.measuring.plan_text import Plan, Planned, State, lines
from ivfixtures.suite.cells import Cell
from ivfixtures.suite.run import Run
from ivfixtures.suite.subjects import Subject
from ivmethods.method import Method

Identity = tuple[str, ...]  # the digest of a key; where it is open, checkpoint, task and name


class AsksError(ValueError):
    """A claim's marker asks for what there is not, in one line."""


class PlanStore(ReadOnlyStore):
    """A store that says what is there. stored: digests of that."""

    counts = False

    def __init__(self, place: Place, stored: frozenset[str]) -> None:
        super().__init__(place)
        self.stored = stored

    def measure(
        self, key: Mapping[str, Any], compute: Callable[[], Computed], check: Check | None = None
    ) -> Measurement:
        """Return a measurement that is stored.

        Raises: NotMeasuredError.
        """
        if (digest := digest_json(key)) not in self.stored:
            raise NotMeasuredError(f"{digest[:12]} is not stored")
        return super().measure(key, compute, check)


class Planner:
    """Goes through cells, one checkpoint after the other, as they are judged.

    Raises: pytest.UsageError, the store cannot be listed.
    """

    def __init__(self, run: Run) -> None:
        self.run, self.plan = run, Plan()
        self.store = PlanStore(run.store.place, stored(run.store))
        self._benches: dict[tuple[str, str], Bench] = {}
        # Of a bench, which is equal to itself alone.
        self._digests: dict[tuple[Bench, Method], str] = {}

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
            for at, want, label in self.wants(item, subject):
                if at not in self.plan.planned:
                    self.plan.planned[at] = self._planned(at, want, label)
        except AsksError:
            raise
        except (ValueError, CheckpointRefusedError) as error:
            self.plan.problems[subject.name] = str(error)

    def wants(self, item: pytest.Item, subject: Subject) -> Iterator[tuple[Identity, Want, str]]:
        """What a cell needs, up to a gate that is closed: what it is known by, and its name.

        Raises: AsksError; ValueError, CheckpointRefusedError, as the benches do.
        """
        claim, asks = self._claim(item, subject)
        labels = {checkpoint.label for checkpoint in subject.checkpoints}
        for other in [key for key in self._benches if key[0] not in labels]:
            del self._benches[other]
            self._digests.clear()
        benches = [self._bench(c, task) for c, task in product(subject.checkpoints, subject.tasks)]
        cell = Cell(claim, subject, benches, (), self.run.hearing)
        for ask in asks:
            if not isinstance(ask, str):
                if self._is_closed(ask, cell):
                    return
                continue
            for bench in benches:
                sibling = partial(self._bench, bench.checkpoint)
                for want in chain.from_iterable(map(whole, ASKS[ask](bench, sibling))):
                    which = f" of {claim.name} {subject.metric}" if want.is_open else ""
                    label = want.method.role + which
                    yield self._identity(want, label), want, label

    def _identity(self, want: Want, label: str) -> Identity:
        bench, method = want.bench, want.method
        if want.is_open:
            return (*bench.digests.values(), bench.task.name, label)
        at = (bench, method)
        if at not in self._digests:
            self._digests[at] = digest_json(bench.key(method))
        return (self._digests[at],)

    def _planned(self, at: Identity, want: Want, label: str) -> Planned:
        bench, method = want.bench, want.method
        is_stored = at[0] in self.store.stored
        state: State = "open" if want.is_open else "stored" if is_stored else "missing"
        task = bench.task.name if method.of_task else ""
        flop = method.flop(method.inputs(bench), bench.size())
        return Planned(bench.checkpoint.name, task, label, state, flop)

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

    def _bench(self, checkpoint: Checkpoint, task: Task) -> Bench:
        at = (checkpoint.label, task.name)
        if at not in self._benches:
            self.run.show(f"planning {checkpoint.name} {task.name}")
            options = self.run.options.of(checkpoint)
            bench = Bench(checkpoint, task, options, self.store, self.run.show)
            self.plan.parameters[checkpoint.name] = bench.size().parameters
            self._benches[at] = bench
        return self._benches[at]

    def _is_closed(self, gate: Gate, cell: Cell) -> bool:
        try:
            return not gate(cell)
        except NotMeasuredError:
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

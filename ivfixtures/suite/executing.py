"""A run whose measurements are made by an executor: jobs first, then verdicts from the store."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from ivevidence import Store
from ivevidence.figures.svg import visible_text
from ivevidence.store.places import one_line
from ivfixtures.errors import NotMeasuredError
from ivfixtures.measuring.executors import Executor, ExecutorError, executor_of
from ivfixtures.measuring.executors.dispatch import Dispatch, Jobs
from ivfixtures.suite.selection import subject_of

if TYPE_CHECKING:
    from ivfixtures.measuring.executors.waves import Waves
    from ivfixtures.suite.run import Run
    from ivfixtures.suite.subjects import Subject


def stored(store: Store) -> frozenset[str]:
    """Digests of what is in a run's store.

    Raises: pytest.UsageError, it cannot be listed.
    """
    try:
        return store.digests()
    except OSError as error:
        line = f"--store={store.place}, but should be one that can be listed [{one_line(error)}]"
        raise pytest.UsageError(visible_text(line)) from None


class Executing:
    """Plugin that has what cells need measured before the first cell is judged.

    Raises: pytest.UsageError, the executor cannot be used.
    """

    def __init__(self, config: pytest.Config, run: Run) -> None:
        self.config, self._run = config, run
        try:
            executor = executor_of(config)
        except ValueError as error:
            raise pytest.UsageError(visible_text(str(error))) from None
        self.is_needed = executor is not None
        self._executor: Executor | None = executor
        self._jobs = Jobs()
        self._waves: Waves | None = None
        self._messages: dict[str, str] = {}  # of cells that had an error
        if self.is_needed:
            from ivfixtures.measuring.lookups import ReadOnlyStore

            self._store = run.store = ReadOnlyStore(run.store.place)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Have the jobs run; end here if they were left to themselves (`--detach`)."""
        option, executor = self.config.option, self._executor
        broken = session.testsfailed and not option.continue_on_collection_errors
        if broken or option.collectonly or executor is None:
            return None
        from ivfixtures.measuring.executors.waves import Waves, jobs_folder

        run, subjects = self._run, [(item, subject_of(item)) for item in session.items]
        about = [(item, subject) for item, subject in subjects if subject]
        inquiries = {item.nodeid: partial(self._cell, item, subject) for item, subject in about}
        folder = jobs_folder(run.store.place, run.folder)
        self._waves = Waves(inquiries, run.measurements, folder)
        checkpoints = {c.label for _, subject in about for c in subject.checkpoints}
        try:
            first = self._waves.next(stored(run.store))
            if not first:
                return None
            executor.start(len(checkpoints))
            try:
                return self._dispatched(executor, first)
            finally:
                executor.close()
        except ExecutorError as error:
            raise pytest.UsageError(visible_text(str(error))) from None

    def _dispatched(self, executor: Executor, wave: list[Any]) -> bool | None:
        run, waves = self._run, self._waves
        dispatch = Dispatch(self._jobs, executor, run.screen)
        while wave and waves:
            waves.take_back(dispatch.run(wave, wait=not self.config.option.detach))
            if dispatch.under_way and self.config.option.detach:
                return self._left(dispatch.under_way)
            run.measurements.forget()
            wave = waves.next(stored(run.store))
        results = self._jobs.results.values()
        errors = self._jobs.errors
        self._store.not_runnable = {at: errors[at] for r in results for at in r.not_runnable}
        self._store.fresh = frozenset(digest for r in results for digest in r.measurements)
        self._store.reused = 0  # what was read meanwhile is read again by the cells
        run.measured += sum(result.measured for result in results)
        run.reused += sum(result.reused for result in results)
        return None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> Generator[None, object, object]:
        """Say of a cell that lacks something what the worker met, or why there is none."""
        try:
            return (yield)
        except NotMeasuredError as error:
            told = self._jobs.errors.get(error.digest)
            job = self._waves.asked.get(error.digest) if self._waves else None
            why = self._jobs.reason(job) if job else None
            told = told or f"{error}; {why or 'run again: the job will be, too'}"
            raise self._error(pyfuncitem, told) from None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep errors as the worker had them, as evidence of a run without executor does."""
        errors = self._run.errors
        if report.nodeid in errors and report.nodeid in self._messages:
            message = self._messages[report.nodeid]
            errors[report.nodeid] = replace(errors[report.nodeid], message=message)

    def _cell(self, item: pytest.Item, subject: Subject) -> Any:
        from ivfixtures.suite.plugin import cell_of

        self._run.turn_to(subject)
        return cell_of(item, subject, self._run)

    def _error(self, item: pytest.Item, message: str) -> BaseException:
        self._messages[item.nodeid] = message
        visible = "\n".join(map(visible_text, message.split("\n")))
        return pytest.fail.Exception(visible, pytrace=False)

    def _left(self, jobs: int) -> bool:
        """End without verdicts and report."""
        self._run.end_unjudged()
        self._run.screen.line(
            f"{jobs} jobs are left to themselves; the same command goes on from what they measure, "
            "and without --detach it waits for them and judges"
        )
        return True

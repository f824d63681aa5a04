"""A run whose measurements are made by an executor: jobs first, then verdicts from the store."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from ivevidence import Measurement, Store, digest_json
from ivevidence.figures.svg import visible_text
from ivevidence.store.measurements import Check, Computed
from ivevidence.store.places import one_line
from ivfixtures.errors import NotMeasuredError
from ivfixtures.measuring.executors import Executor, ExecutorError, executor_of
from ivfixtures.measuring.executors.dispatch import Dispatch, Jobs
from ivfixtures.measuring.executors.jobs import JobFolder

if TYPE_CHECKING:
    from ivfixtures.suite.run import Run


class ReadOnlyStore(Store):
    """A store of a process that judges and must not measure.

    counts: whether what is found is counted as reused.
    """

    counts = True

    def measure(
        self, key: Mapping[str, Any], compute: Callable[[], Computed], check: Check | None = None
    ) -> Measurement:
        """Return the measurement of `key`.

        Raises: NotMeasuredError, it is not there.
        """
        digest = digest_json(key)
        found = self.find(digest, check)
        if found is None:
            raise NotMeasuredError(
                f"measurement of {key.get('method')}=missing, but should be in the store "
                f"[{self.place}, {digest[:12]}]"
            )
        self.reused += self.counts
        return found


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
    """Plugin that runs the cells' jobs before the first cell is judged.

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
        self._jobs = Jobs(())
        self._job_of: dict[str, JobFolder] = {}
        self._messages: dict[str, str] = {}  # of cells that had an error
        self._store = ReadOnlyStore(run.store.place)
        if self.is_needed:
            run.store = self._store

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Have the jobs run; end here if they were left to themselves (`--detach`)."""
        option, executor = self.config.option, self._executor
        broken = session.testsfailed and not option.continue_on_collection_errors
        if broken or option.collectonly or executor is None:
            return None
        from ivfixtures.measuring.executors.waves import waves

        try:
            self._jobs = Jobs(waves(session.items, self._run))
            self._job_of = {cell: job for job in self._jobs.every for cell in job.job.cells}
            if not self._jobs.every:
                return None
            executor.start(max(map(len, self._jobs.waves)))
            try:
                return self._dispatched(executor)
            finally:
                executor.close()
        except ExecutorError as error:
            raise pytest.UsageError(visible_text(str(error))) from None

    def _dispatched(self, executor: Executor) -> bool | None:
        dispatch = Dispatch(self._jobs, executor, self._run.screen, stored(self._store))
        if self.config.option.detach:
            dispatch.submit_all()
            if dispatch.under_way:
                return self._left(dispatch.under_way)
        dispatch.run()
        for digest in self._jobs.fresh & self._jobs.results.keys():
            self._run.measured += self._jobs.results[digest].measured
            self._run.reused += self._jobs.results[digest].reused
        return None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> Generator[None, object, object]:
        """Let a cell whose worker met an error have it, and one that lacks something say why."""
        job = self._job_of.get(pyfuncitem.nodeid)
        if job is None:
            return (yield)
        digest = job.job.digest
        result = self._jobs.results.get(digest)
        if result and pyfuncitem.nodeid in result.errors:
            raise self._error(pyfuncitem, result.errors[pyfuncitem.nodeid])
        self._store.counts = digest not in self._jobs.fresh
        try:
            return (yield)
        except NotMeasuredError as error:
            why = self._jobs.reason(job) or "run again: the job will be, too"
            job.forget()
            raise self._error(pyfuncitem, f"{error}; {why}") from None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep errors as the worker had them, as evidence of a run without executor does."""
        errors = self._run.errors
        if report.nodeid in errors and report.nodeid in self._messages:
            message = self._messages[report.nodeid]
            errors[report.nodeid] = replace(errors[report.nodeid], message=message)

    def _error(self, item: pytest.Item, message: str) -> BaseException:
        self._messages[item.nodeid] = message
        visible = "\n".join(map(visible_text, message.split("\n")))
        return pytest.fail.Exception(visible, pytrace=False)

    def _left(self, jobs: int) -> bool:
        """End without verdicts and report."""
        self._run.end_unjudged()
        self._run.screen.line(
            f"{jobs} jobs are left to themselves; the same command without --detach waits for them "
            "and judges"
        )
        return True

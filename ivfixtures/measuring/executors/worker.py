"""A worker: runs the claims of a job's cells for what they measure, and throws verdicts away.

`python -m ivfixtures.measuring.executors.worker FOLDER` runs the job of a folder.
"""

from __future__ import annotations

import contextlib
import io
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ivevidence.store.leases import leased
from ivevidence.store.measurements import Check, Computed, Measurement, Store, StoreWarning
from ivevidence.store.places import Folder, one_line
from ivfixtures.measuring.executors.jobs import LOG, JobFolder, Result
from ivfixtures.measuring.executors.private import log_tail
from ivfixtures.suite.plugin import RUN_NAME, WORKER_NAME

_STOPPED = 143  # as by SIGTERM


class Worker:
    """Plugin of a pytest that measures: quiet, without report, telling what the job's cells do."""

    def __init__(self, folder: JobFolder) -> None:
        self.__name__ = WORKER_NAME  # what pytest calls it
        self.folder, self.job = folder, folder.job
        self.errors: dict[str, str] = {}
        self.warnings: dict[str, None] = {}
        self.stopped: SystemExit | None = None
        self._cell = 0
        self._doing = ""
        self._run: Any = None

    def pytest_configure(self, config: pytest.Config) -> None:
        """Note what is measured."""
        self._run = config.pluginmanager.get_plugin(RUN_NAME)
        self._run.store = NotingStore(self._run.store.place)
        self._run.screen = self

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Keep the job's cells; one that is not there is an error of it."""
        cells = {*self.job.cells}
        others = [item for item in items if item.nodeid not in cells]
        items[:] = [item for item in items if item.nodeid in cells]
        config.hook.pytest_deselected(items=others)
        for lacking in sorted(cells - {item.nodeid for item in items}):
            self.errors[lacking] = (
                "cell=missing, but should be collected by the worker too [its claims or options "
                "are others]; install the same version everywhere"
            )

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Tell which cell is next."""
        self._cell += 1
        self._doing = nodeid.partition("::")[2]
        self.passing("")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
        """Stop where a signal's handler asks the process to exit: pytest would call it an error."""
        if call.excinfo and isinstance(call.excinfo.value, SystemExit):
            self.stopped = call.excinfo.value
            item.session.shouldstop = "asked to exit"

    def pytest_warning_recorded(self, warning_message: Any) -> None:
        """Keep what the store says."""
        if issubclass(warning_message.category, StoreWarning):
            self.warnings[one_line(warning_message.message)] = None

    def result(self, seconds: float, failure: str | None) -> Result:
        """How the job went."""
        run, found = self._run, Result(self.job.digest, failure=failure, seconds=seconds)
        if run is None:
            return found
        messages = {nodeid: error.message for nodeid, error in run.errors.items()}
        asked_for = run.store.asked_for
        return Result(
            self.job.digest,
            errors=self.errors | messages,
            failure=failure,
            unkept=len(asked_for - Store(run.store.place).digests()),
            warnings=tuple(self.warnings),
            measured=run.measured,
            reused=run.reused,
            measurements=tuple(sorted(asked_for)),
            seconds=seconds,
            facts=_facts(run.options.device),
        )

    def line(self, text: str) -> None:
        """Nothing of a worker's stays."""

    def passing(self, text: str) -> bool:
        """Tell the controller what is measured."""
        self.folder.tell(self._cell, f"{self._doing}: {text}" if text else self._doing)
        return True


class NotingStore(Store):
    """A store that remembers what it was asked for."""

    asked_for: frozenset[str] = frozenset()

    def measure(
        self, key: Mapping[str, Any], compute: Callable[[], Computed], check: Check | None = None
    ) -> Measurement:
        """Return the measurement as a store does."""
        found = super().measure(key, compute, check)
        self.asked_for |= {found.digest}
        return found


def run_job(path: Path) -> Result:
    """Run the job of a folder, unless it was; no two processes run one at the same time.

    Raises: SystemExit, a signal's handler ended it: there is no result.
    """
    folder = JobFolder.open(path)
    with leased(Folder(path), "job"):
        found = folder.result()
        if found is None or not found.is_whole:
            found = _run(folder)
            folder.finish(found)
    return found


def _run(folder: JobFolder) -> Result:
    folder.tell(0, "loading")
    job, worker, start = folder.job, Worker(folder), time.perf_counter()
    os.environ.pop("PYTEST_ADDOPTS", None)  # what counts of it is among the arguments
    with _apart(folder):
        code = pytest.main(list(job.arguments), plugins=[worker])
    if worker.stopped:
        raise worker.stopped
    failed = code in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.INTERNAL_ERROR)
    interrupted = code == pytest.ExitCode.INTERRUPTED
    failure = _last_error(folder.path / LOG) if failed or interrupted else None
    return worker.result(time.perf_counter() - start, failure)


@contextlib.contextmanager
def _apart(folder: JobFolder) -> Iterator[None]:
    """In the job's working directory; what is printed goes to the job's log."""
    before = Path.cwd()
    with io.TextIOWrapper(folder.open_log(), encoding="utf-8", errors="replace") as log:
        os.chdir(folder.job.folder)
        try:
            with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                yield
        finally:
            os.chdir(before)


def _last_error(log: Path) -> str:
    lines = log_tail(log)
    told = [line for line in lines if line.startswith(("ERROR", "INTERNALERROR>", "E  "))]
    last = (told or lines or ["it said nothing"])[-1]
    return one_line(ValueError(last.partition(": ")[2] if last.startswith("ERROR: ") else last))


def _facts(device: str) -> dict[str, Any]:
    import torch

    from ivfixtures.measuring.origins import origin

    return {"machine": platform.node(), "threads": torch.get_num_threads(), **origin(device)}


def _end_with_parent() -> None:
    """End where standard input does: its other end is the controller's, killed or not."""
    handle = os.dup(sys.stdin.fileno())  # pytest puts another file in its place

    def wait() -> None:
        os.read(handle, 1)
        os._exit(_STOPPED)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    _end_with_parent()
    run_job(Path(sys.argv[1]))

"""A worker: measures the requests of a job, and neither collects nor judges.

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
import traceback
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ivevidence.store.leases import leased
from ivevidence.store.measurements import Store, StoreWarning
from ivevidence.store.places import Folder, one_line, open_place
from ivfixtures.errors import error_line, message_of
from ivfixtures.measuring.executors.jobs import JobFolder, Result
from ivmethods.errors import NotRunnableError

_STOPPED = 143  # as by SIGTERM


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
    start = time.perf_counter()
    sys.path += [entry for entry in folder.job.path if entry not in sys.path]
    with _apart(folder), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", StoreWarning)
        try:
            done = _measured(folder)
        except Exception as error:
            traceback.print_exc()
            done = {"failure": one_line(error)}
    said = [one_line(w.message) for w in told if isinstance(w.message, StoreWarning)]
    seconds = time.perf_counter() - start
    return Result(folder.job.digest, warnings=tuple(dict.fromkeys(said)), seconds=seconds, **done)


def _measured(folder: JobFolder) -> dict[str, Any]:
    """Measure each request; what goes wrong with one is kept as its error."""
    from ivfixtures.measuring.executors.given import from_job
    from ivfixtures.measuring.measurements import Measurements, Reader

    job, at = folder.job, [0]
    how = dict(job.measuring)
    store = Store(open_place(how.pop("store"), Path(job.folder)))
    measurements = Measurements(store, **how, show=lambda text: folder.tell(at[0], text))
    reader = Reader(measurements)
    errors: dict[str, str] = {}
    not_runnable: list[str] = []
    requests = from_job(job.requests, job.inputs)
    for digest, request in requests.items():
        at[0] += 1
        folder.tell(at[0], request.method.role)
        try:
            if (key := measurements.digest(request)) != digest:
                expected, remedy = digest[:12], "install the same version everywhere, run again"
                where = f"{request.data.checkpoint.name}, {request.method.role}"
                raise ValueError(
                    error_line("key of a measurement", key[:12], expected, where, remedy)
                )
            reader(request)
        except Exception as error:
            traceback.print_exc()
            errors[digest] = message_of(error)
            if isinstance(error, NotRunnableError):
                not_runnable.append(digest)
    return {
        "errors": errors,
        "not_runnable": tuple(not_runnable),
        "unkept": len(requests.keys() - errors.keys() - Store(store.place).digests()),
        "measured": store.measured,
        "reused": store.reused,
        "measurements": tuple(sorted(requests.keys() - errors.keys())),
        "facts": _facts(how["device"]),
    }


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


def _facts(device: str) -> Mapping[str, Any]:
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

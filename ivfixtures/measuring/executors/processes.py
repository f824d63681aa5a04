"""Jobs in processes of this machine: one for each visible GPU, or `--workers` on the CPU."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ivevidence.store.places import one_line
from ivfixtures.measuring.executors import ExecutorError
from ivfixtures.measuring.executors.jobs import LOG, JobFolder, last_line

MOST_BY_DEFAULT = 4  # of workers on the CPU: each holds a model
GRACE = 5.0  # seconds between asking and killing


@dataclass
class _Slot:
    """Room for one worker."""

    environment: Mapping[str, str]
    job: JobFolder | None = None
    process: subprocess.Popen[bytes] | None = None


class Processes:
    """An executor that starts a process for each job, as many at a time as there are slots."""

    outlives = False

    def __init__(self, device: str, workers: int | None) -> None:
        self._device, self._workers = device, workers
        self._slots: list[_Slot] = []
        self._queue: deque[JobFolder] = deque()

    def start(self, jobs: int) -> None:
        """See what there is to run on."""
        gpus = visible_gpus() if self._device == "cuda" else []
        if self._device == "cuda" and not gpus:
            raise ExecutorError(
                "--device=cuda, but should be a device of this machine [no GPU is visible]; try "
                "--device cpu"
            )
        if gpus:
            count = min(self._workers or len(gpus), jobs)
            given = [{"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]} for i in range(count)]
        else:
            most = MOST_BY_DEFAULT if self._device == "cpu" else 1
            given = [{}] * min(self._workers or most, jobs)
        self._slots = [_Slot({**threads(len(given)), **one}) for one in given]

    def submit(self, jobs: Sequence[JobFolder]) -> None:
        """Queue jobs; `poll` starts them."""
        self._queue.extend(jobs)

    def adopt(self, job: JobFolder) -> bool:
        """Workers end with their controller. Another one's are waited for by ours (`run_job`)."""
        return False

    def poll(self) -> dict[str, str]:
        """Note which processes ended, and start others in their place."""
        ended = {}
        for slot in self._slots:
            if slot.job and slot.process and slot.process.poll() is not None:
                slot.process.communicate()  # closes its standard input
                ended[slot.job.job.digest] = _why(slot.process.returncode, slot.job)
                slot.job = slot.process = None
            if slot.job is None and self._queue:
                job = self._queue.popleft()
                try:
                    slot.job, slot.process = job, _started(job, slot.environment)
                except OSError as error:
                    ended[job.job.digest] = f"it could not be started: {one_line(error)}"
                    slot.job = None
        return ended

    def cancel(self) -> None:
        """End all processes, those that they started included."""
        self._queue.clear()
        running = [slot.process for slot in self._slots if slot.process]
        for process in running:
            _send(process, signal.SIGTERM)
        until = time.monotonic() + GRACE
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))
            _send(process, signal.SIGKILL)
            process.wait()

    def close(self) -> None:
        """Nothing is held."""


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES calls them."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name for name in given.split(",") if name.strip()]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def threads(workers: int) -> dict[str, str]:
    """The environment that shares the cores; what is set already stays."""
    if "OMP_NUM_THREADS" in os.environ:
        return {}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"OMP_NUM_THREADS": str(max(1, (cores or 1) // workers))}


def _started(job: JobFolder, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    paths = os.pathsep.join(path for path in sys.path if path)  # modules as this process has them
    command = [sys.executable, "-P", "-m", "ivfixtures.measuring.executors.worker", str(job.path)]
    with job.open_log() as log:
        return subprocess.Popen(  # noqa: S603 - our own module
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=job.job.folder,
            env={**os.environ, "PYTHONPATH": paths, **environment},
            start_new_session=True,  # Ctrl-C is for the controller, which ends them
        )


def _why(code: int, job: JobFolder) -> str:
    log = f"its log is {job.path / LOG}"
    if code == -signal.SIGKILL:
        return f"killed by SIGKILL, as where memory runs out; {log}"
    if code < 0:
        return f"killed by {signal.Signals(-code).name}; {log}"
    return f"it ended with exit status {code} ({last_line(job.path / LOG)}); {log}"


def _send(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)

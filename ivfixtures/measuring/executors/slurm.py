"""Jobs on a Slurm cluster, through submitit: one task of an array for each."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from ivevidence.store.places import one_line
from ivfixtures.errors import error_line
from ivfixtures.measuring.executors import ExecutorError, missing_extra
from ivfixtures.measuring.executors.jobs import JobFolder, last_line
from ivfixtures.measuring.executors.private import check_private, identity, new_folder, state_folder

try:
    import submitit
except ImportError:
    raise missing_extra("submitit", "slurm") from None

# What submitit calls them. Texts are handed on to sbatch as they are.
NUMBERS = {
    "gpus": "gpus_per_node",
    "cpus": "cpus_per_task",
    "array_parallelism": "slurm_array_parallelism",
    "requeues": "slurm_max_num_timeout",
}
TEXTS = {
    name: f"slurm_{name}"
    for name in (
        *("partition", "mem", "account", "qos", "constraint", "gres", "exclude", "nodelist"),
        *("comment", "exclusive", "mail_type", "mail_user", "setup"),
    )
}
OTHERS = ("cluster", "time")
CLUSTERS = ("slurm", "local")
A_DAY = 24 * 60  # minutes: submitit's own default is five of them
_SUBMISSIONS = re.compile(r"submitit-\w+")
_ID = re.compile(r"[1-9]\d{0,17}(_\d{1,9})?")
MOST_IN_ARRAY = 1000  # Slurm's own limit, unless a cluster sets another
A_JOBS_PAUSE = 0.005  # seconds between two looks at all tasks, for each of them


class Task(submitit.helpers.Checkpointable):
    """A job as submitit runs it. Slurm may requeue it: what it measured is in the store."""

    def __call__(self, path: str) -> None:
        """Run the job of a folder."""
        from ivfixtures.measuring.executors.worker import run_job

        run_job(Path(path))


class Slurm:
    """An executor that submits jobs as arrays.

    Raises: ExecutorError, an option is wrong or there is no Slurm.
    """

    outlives = True

    def __init__(self, given: Sequence[str]) -> None:
        parameters = dict(map(_pair, given))
        self._cluster = parameters.pop("cluster", CLUSTERS[0])
        if self._cluster not in CLUSTERS:
            raise _wrong("cluster", self._cluster, f"one of {', '.join(CLUSTERS)}", "correct it")
        minutes = _minutes(parameters.pop("time")) if "time" in parameters else A_DAY
        self._parameters: dict[str, Any] = {"timeout_min": minutes, "name": "ivclaims"}
        for key, text in parameters.items():
            self._parameters |= _parameter(key, text)
        absent = [name for name in ("sbatch", "srun", "sacct") if shutil.which(name) is None]
        if self._cluster == "slurm" and absent:
            remedy = "run it on a login node of the cluster"
            raise ExecutorError(
                error_line(absent[0], "missing", "a command on the PATH", "Slurm", remedy)
            )
        self._folder: Path | None = None  # of what submitit pickles
        self._jobs: dict[str, tuple[JobFolder, Any]] = {}
        self._polled = 0.0

    def start(self, jobs: int) -> None:
        """Nothing has to be reached before something is submitted."""

    def submit(self, jobs: Sequence[JobFolder]) -> None:
        """Submit jobs as arrays."""
        folder = self._folder = self._folder or _submissions()
        retries = {
            name: self._parameters[name]
            for name in ("slurm_max_num_timeout",)
            if name in self._parameters
        }
        rest = {name: v for name, v in self._parameters.items() if name not in retries}
        with _told():
            executor = submitit.AutoExecutor(folder, cluster=self._cluster, **retries)
            executor.update_parameters(**rest)
        for start in range(0, len(jobs), MOST_IN_ARRAY):
            some = jobs[start : start + MOST_IN_ARRAY]
            with _told(), executor.batch():
                found = [executor.submit(Task(), str(job.path)) for job in some]
            for job, task in zip(some, found, strict=True):
                # A process may end, and its number be another's, before this is read.
                process = identity(task.job_id) if self._cluster == "local" else None
                handle = {"executor": "slurm", "cluster": self._cluster, "folder": folder.name}
                job.submitted(handle | {"id": task.job_id, "process": process})
                self._jobs[job.job.digest] = (job, task)

    def adopt(self, job: JobFolder) -> bool:
        """Whether an earlier run's task still waits or runs."""
        handle = job.handle()
        if handle.get("executor") != "slurm" or handle.get("cluster") != self._cluster:
            return False
        task = self._earlier(handle)
        if task is None or job.result() or task.done(force_check=True):
            return False
        self._jobs[job.job.digest] = (job, task)
        return True

    def _earlier(self, handle: Mapping[str, Any]) -> Any:
        """The task of a handle, if it is one that `submit` wrote."""
        number, name, process = (handle.get(key) for key in ("id", "folder", "process"))
        if not _ID.fullmatch(str(number)) or not _SUBMISSIONS.fullmatch(str(name)):
            return None
        try:
            folder = state_folder() / str(name)
            check_private(folder)
        except OSError:
            return None
        if self._cluster == "local":
            return _Local(folder, str(number), str(process))
        return submitit.SlurmJob(folder, str(number))

    def poll(self) -> dict[str, str]:
        """Note which tasks ended; with many, not at every call, for the file system's sake."""
        if time.monotonic() - self._polled < len(self._jobs) * A_JOBS_PAUSE:
            return {}
        self._polled, ended = time.monotonic(), {}
        for digest, (job, task) in list(self._jobs.items()):
            if job.result() or task.done():
                ended[digest] = "" if job.result() else _why(task)
                del self._jobs[digest]
        return ended

    def cancel(self) -> None:
        """Cancel what waits or runs."""
        tasks = [task for _, task in self._jobs.values()]
        if self._cluster == "local":
            for task in tasks:
                task.cancel()
        elif tasks:
            command = ["scancel", *(str(task.job_id) for task in tasks)]
            subprocess.run(command, check=False)  # noqa: S603 - ids that Slurm gave

    def close(self) -> None:
        """Nothing is held."""


class _Local(submitit.LocalJob[None]):
    """A task of the cluster `local` that an earlier process started."""

    def __init__(self, folder: Path, job_id: str, identity: str) -> None:
        super().__init__(folder, job_id)
        self._identity = identity

    def done(self, force_check: bool = False) -> bool:
        """Whether its process has ended."""
        return identity(self.job_id) != self._identity or self.paths.result_pickle.exists()

    def cancel(self, check: bool = True) -> None:
        """Interrupt it, if it is still the one that was started."""
        with contextlib.suppress(OSError):
            if identity(self.job_id) == self._identity:
                os.kill(int(self.job_id), signal.SIGINT)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Keep submitit quiet, and turn what it raises into one line."""
    try:
        with redirect_stderr(io.StringIO()):
            yield
    except Exception as error:  # sbatch's own, and submitit's of many kinds
        said = getattr(error, "stderr", None) or error
        raise _wrong("sbatch", one_line(Exception(said)), "ready to take jobs") from None


def _submissions() -> Path:
    """A new folder for submitit, which unpickles what it finds there: so it is in no store."""
    try:
        return new_folder("submitit")
    except OSError as error:
        expected = "a folder of your own that all nodes of the cluster see"
        remedy = "set XDG_STATE_HOME to one"
        where = error.filename or "environment"
        raise ExecutorError(
            error_line("state folder", error.strerror or "none", expected, where, remedy)
        ) from None


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    known = (*OTHERS, *NUMBERS, *TEXTS)
    if not equals or not value or key not in known:
        expected = f"KEY=VALUE with a key of {', '.join(sorted(known))}"
        raise ExecutorError(f"--slurm={text}, but should be {expected} [command line]")
    return key, value


def _parameter(key: str, text: str) -> dict[str, Any]:
    if key in TEXTS:
        return {TEXTS[key]: [text] if key == "setup" else True if text == "true" else text}
    if not text.isdecimal():
        raise _wrong(key, text, "a number")
    return {NUMBERS[key]: int(text)}


def _minutes(text: str) -> int:
    """Minutes of a time as sbatch reads it: M, M:S, H:M:S, D-H, D-H:M, D-H:M:S."""
    match = re.fullmatch(r"(?:(\d{1,4})-)?(\d{1,6})(?::(\d{1,2}))?(?::(\d{1,2}))?", text)
    if match is None:
        raise _wrong("time", text, "minutes, or D-HH:MM:SS")
    days, *parts = (int(part) if part else None for part in match.groups())
    first, second, third = parts
    if days is not None:
        found = days * 1440 + (first or 0) * 60 + (second or 0) + ((third or 0) > 0)
    elif third is not None:
        found = (first or 0) * 60 + (second or 0) + (third > 0)
    else:
        found = (first or 0) + ((second or 0) > 0)
    if found < 1:
        raise _wrong("time", text, "at least a minute")
    return found


def _why(task: Any) -> str:
    with redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
        state = str(task.state)
        log = task.paths.stderr
        return f"Slurm says {state} of {task.job_id} ({last_line(log)}); its log is {log}"
    return f"Slurm says nothing of {task.job_id}"


def _wrong(key: str, got: str, expected: str, remedy: str = "see man sbatch") -> ExecutorError:
    return ExecutorError(error_line(f"--slurm {key}", got, expected, "command line", remedy))

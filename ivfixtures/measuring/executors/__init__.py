"""Who runs the measurements of a run: executors fill the store, pytest judges from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from ivfixtures.errors import error_line

if TYPE_CHECKING:
    import pytest

    from ivfixtures.measuring.executors.jobs import JobFolder

INPROCESS = "inprocess"


class ExecutorError(ValueError):
    """Why an executor cannot be used, in one line."""


class Executor(Protocol):
    """Runs jobs somewhere; what they find is in the store and in the jobs' folders.

    outlives: jobs go on when this process ends.
    """

    outlives: bool

    def start(self, jobs: int) -> None:
        """Reach what runs them.

        Raises: ExecutorError.
        """

    def submit(self, jobs: Sequence[JobFolder]) -> None:
        """Have jobs run, after those that were submitted before.

        Raises: ExecutorError.
        """

    def adopt(self, job: JobFolder) -> bool:
        """Whether an earlier run submitted the job and it still waits or runs; it is ours then."""

    def poll(self) -> dict[str, str]:
        """Why jobs ended since the last call, by digest; those with a result say that instead."""

    def cancel(self) -> None:
        """End all jobs that have not ended."""

    def close(self) -> None:
        """Give back what `start` took."""


def executor_of(config: pytest.Config) -> Executor | None:
    """The executor that the options name; None where the process itself measures.

    Nothing but the one that was chosen is imported.

    Raises: ExecutorError, an option does not fit it, or what it needs is not there.
    """
    get = config.getoption
    name, workers = get("--executor"), get("--workers")
    _check_options(config, name)
    if workers is not None and workers < 1:
        raise ExecutorError(f"--workers={workers}, but should be at least 1 [command line]")
    if name == "processes":
        from ivfixtures.measuring.executors.processes import Processes

        return Processes(get("--device"), workers)
    if name == "slurm":
        from ivfixtures.measuring.executors.slurm import Slurm

        return Slurm(get("--slurm"))
    if name == "ray":
        from ivfixtures.measuring.executors.ray_actors import Ray

        return Ray(get("--device"), workers, get("--ray-address"), detach=get("--detach"))
    return None


def missing_extra(package: str, extra: str) -> ExecutorError:
    """What to say where a package of an extra is not installed."""
    remedy = f"pip install 'ivclaims[{extra}]'"
    return ExecutorError(error_line(package, "missing", "installed", "environment", remedy))


def _check_options(config: pytest.Config, name: str) -> None:
    get = config.getoption
    given = {
        "--workers": (get("--workers") is not None, ("processes", "ray")),
        "--slurm": (bool(get("--slurm")), ("slurm",)),
        "--ray-address": (get("--ray-address") is not None, ("ray",)),
        "--detach": (get("--detach"), ("slurm", "ray")),
    }
    for option, (is_given, of) in given.items():
        if is_given and name not in of:
            named = " or ".join(f"--executor {one}" for one in of)
            raise ExecutorError(f"{option} is for {named}, but the executor is {name}")
    if name == "ray" and get("--detach") and not get("--ray-address"):
        raise ExecutorError(
            "--detach needs --ray-address: a Ray that this run starts ends with this run"
        )
    if name != INPROCESS and config.getoption("dist", "no") != "no":
        raise ExecutorError(
            f"--executor={name}, but should be left out with pytest-xdist [-n]; run it without -n, "
            "then judge what it measured with -n and without --executor"
        )

"""Jobs: what is to be measured on one checkpoint, and the folder that tells how it went."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from ivevidence.records.digests import digest_json
from ivevidence.store.whole_files import read_limited, write_atomic
from ivfixtures.errors import cut
from ivfixtures.measuring.executors.private import check_private, log_tail, open_log, private_folder

LIMIT = 64 * 2**20
JOB, HANDLE, PROGRESS, RESULT, LOG = (
    *("job.json", "handle.json", "progress.json", "result.json"),
    "log.txt",
)
_PAUSE = 0.5  # seconds between two writes of progress: a network folder has to bear them


@dataclass(frozen=True)
class Job:
    """Measurements that one process makes, one after the other.

    label: their checkpoint's. requests, inputs: as `given.to_job` has them. measuring: device,
    dtype, memory budget and store. folder: the working directory. path: where modules are imported
    from. versions: of what measures.
    """

    label: str
    requests: tuple[Mapping[str, Any], ...]
    inputs: Mapping[str, Any]
    measuring: Mapping[str, Any]
    folder: str
    path: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """The digest of all fields."""
        return digest_json(asdict(self))

    @cached_property
    def subject(self) -> str:
        """The digest of what jobs on the same checkpoint have in common."""
        return digest_json([self.label, self.measuring, self.folder])

    @property
    def name(self) -> str:
        """That of its folder: jobs on the same checkpoint begin alike."""
        return f"{self.subject[:16]}-{self.digest}"


@dataclass(frozen=True)
class Result:
    """How a job went.

    errors: the message of each request that had one, by its key's digest. not_runnable: those whose
    methods cannot be run there. failure: why the whole job failed, if it did. unkept: how many
    measurements are not in the store. warnings: the store's. measured, reused: counts of
    measurements; measurements: their digests. seconds: of wall time. facts: the worker's device,
    versions and so on.
    """

    job: str
    errors: Mapping[str, str] = field(default_factory=dict)
    not_runnable: tuple[str, ...] = ()
    failure: str | None = None
    unkept: int = 0
    warnings: tuple[str, ...] = ()
    measured: int = 0
    reused: int = 0
    measurements: tuple[str, ...] = ()
    seconds: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether nothing failed, and all that was measured is in the store."""
        return not (self.errors or self.failure or self.unkept)

    def to_json(self) -> dict[str, Any]:
        """The fields as plain JSON data."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Result:
        """The result that `to_json` gave.

        Raises: TypeError, KeyError, it is not one.
        """
        names = ("warnings", "measurements", "not_runnable")
        listed = {name: tuple(found[name]) for name in names}
        return cls(**{**found, **listed})


def last_line(log: Path) -> str:
    """The last line of a log, cut short; nothing where there is none."""
    return next((cut(line.strip()) for line in reversed(log_tail(log)) if line.strip()), "")


class JobFolder:
    """The folder of a job, which its controller and its worker share. Files are written whole.

    Nothing is read from it, and nothing written, if somebody else could have put something there:
    it is this user's alone, like the folder of all jobs. The store around them may be a group's.
    """

    def __init__(self, path: Path, job: Job) -> None:
        self.path, self.job = path, job
        self._written = 0.0

    @classmethod
    def open(cls, path: Path) -> JobFolder:
        """The folder that a controller prepared.

        Raises: OSError, ValueError, TypeError: there is no job.
        """
        _check(path)
        found = json.loads(read_limited(path / JOB, LIMIT))
        listed = {name: tuple(found[name]) for name in ("requests", "path")}
        return cls(path, Job(**{**found, **listed}))

    def alike(self) -> list[JobFolder]:
        """The folders of jobs on the same checkpoint, this one's too, that were submitted."""
        found = []
        for path in sorted(self.path.parent.glob(f"{self.job.subject[:16]}-*")):
            with contextlib.suppress(OSError, ValueError, TypeError):
                other = JobFolder.open(path)
                if other.handle() and other.result() is None:
                    found.append(other)
        return found

    def prepare(self) -> None:
        """Write the job, and forget how an earlier one of it went.

        Raises: OSError.
        """
        for folder in (self.path.parent, self.path):
            private_folder(folder)
        for name in (RESULT, PROGRESS, HANDLE):
            (self.path / name).unlink(missing_ok=True)
        self._write(JOB, asdict(self.job))

    def submitted(self, handle: Mapping[str, Any]) -> None:
        """Keep how its executor calls the job.

        Raises: OSError.
        """
        self._write(HANDLE, handle)

    def handle(self) -> dict[str, Any]:
        """How its executor calls the job; empty if it was not submitted."""
        return self._read(HANDLE)

    def open_log(self) -> IO[bytes]:
        """The log, emptied.

        Raises: OSError.
        """
        _check(self.path)
        return os.fdopen(open_log(self.path / LOG), "wb")

    def tell(self, number: int, doing: str) -> None:
        """Say which request (from 1 on) the worker is at, and what it does; now and then only."""
        if time.monotonic() - self._written > _PAUSE:
            self._written = time.monotonic()
            with contextlib.suppress(OSError):  # a full disk is told of where it matters
                total = len(self.job.requests)
                self._write(PROGRESS, {"request": number, "of": total, "doing": doing})

    def progress(self) -> dict[str, Any]:
        """What `tell` last said; empty before the worker has begun."""
        return self._read(PROGRESS)

    def finish(self, result: Result) -> None:
        """Keep the result.

        Raises: OSError.
        """
        self._write(RESULT, result.to_json())

    def result(self) -> Result | None:
        """The result of this very job, if there is one."""
        with contextlib.suppress(TypeError, KeyError):
            found = Result.from_json(self._read(RESULT))
            return found if found.job == self.job.digest else None
        return None

    def _write(self, name: str, found: Mapping[str, Any]) -> None:
        _check(self.path)
        write_atomic(self.path / name, json.dumps(found).encode())

    def _read(self, name: str) -> dict[str, Any]:
        # Clients of network folders look for new files again where the folder is listed.
        with contextlib.suppress(OSError, ValueError):
            os.listdir(self.path)
            _check(self.path)
            found = json.loads(read_limited(self.path / name, LIMIT))
            return found if isinstance(found, dict) else {}
        return {}


def _check(path: Path) -> None:
    for folder in (path.parent, path):
        check_private(folder)

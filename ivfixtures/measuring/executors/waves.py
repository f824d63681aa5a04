"""What is to be measured next: the requests of inquiries that are not in the store, as jobs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ivevidence.store.places import Folder, Place
from ivfixtures.errors import NotMeasuredError
from ivfixtures.measuring.environment import LIBRARIES, environment
from ivfixtures.measuring.executors.given import to_job
from ivfixtures.measuring.executors.jobs import Job, JobFolder
from ivfixtures.measuring.inquiry import Inquiry
from ivfixtures.measuring.lookups import Lookup
from ivfixtures.measuring.measurements import Measurements
from ivfixtures.measuring.requests import Request, whole

AWAY_FROM_STORE = ".ivclaims-jobs"
STAGES = 3  # gates, needs, and what depends on them: a wave each


@dataclass
class Wanted:
    """What is wanted of a checkpoint, as a job tells it: its prompts' own form would not fit."""

    requests: dict[str, dict[str, Any]] = field(default_factory=dict)
    rows: dict[str, Any] = field(default_factory=dict)

    def add(self, requests: Mapping[str, Request]) -> None:
        """Add requests by the digest of their key."""
        new = {digest: each for digest, each in requests.items() if digest not in self.requests}
        listed, rows = to_job(new)
        self.requests |= {each["key"]: each for each in listed}
        self.rows |= rows


class Waves:
    """Inquiries on their way: each wave has what can be known to be needed by now.

    inquiries: makes them anew, for thousands do not fit into memory; an error is the cell's own,
    which meets it when it is judged. asked: by digest, whose job a request was put into.
    """

    def __init__(
        self,
        inquiries: Mapping[str, Callable[[], Inquiry]],
        measurements: Measurements,
        folder: Path,
    ) -> None:
        self.inquiries, self.measurements, self.folder = dict(inquiries), measurements, folder
        self.asked: dict[str, JobFolder] = {}
        self._left = STAGES  # a need that is another one whenever it is asked for would never end

    def next(self, stored: frozenset[str]) -> list[JobFolder]:
        """The jobs of the next wave, one a checkpoint; none where nothing more can be measured.

        What was asked for before and is not stored is not asked for again.
        """
        if not self._left:
            return []
        self._left -= 1
        wanted: dict[str, Wanted] = {}
        for name in list(self.inquiries):
            missing = self._missing(self.inquiries[name], stored)
            if not missing or missing.keys() & self.asked.keys():
                del self.inquiries[name]  # all is there, or cannot be had
            for digest, request in missing.items():
                if digest not in self.asked:
                    wanted.setdefault(request.data.checkpoint.label, Wanted()).add(
                        {self.measurements.digest(each): each for each in whole(request)}
                    )
        jobs = [self._job(label, found) for label, found in wanted.items()]
        folders = [JobFolder(self.folder / job.name, job) for job in jobs]
        for folder in folders:
            self.asked |= {request["key"]: folder for request in folder.job.requests}
        return folders

    def take_back(self, jobs: Sequence[JobFolder]) -> None:
        """Have what was not submitted asked for in the next wave, if it is missing then."""
        self._left += bool(jobs)
        self.asked = {at: folder for at, folder in self.asked.items() if folder not in jobs}

    def _missing(self, make: Callable[[], Inquiry], stored: frozenset[str]) -> dict[str, Request]:
        lookup = Lookup(self.measurements, stored)
        try:
            make().ask(lookup, unknown="gates")
        except NotMeasuredError:
            pass
        except Exception:
            return {}
        return lookup.missing

    def _job(self, label: str, wanted: Wanted) -> Job:
        m = self.measurements
        return Job(
            label=label,
            requests=tuple(wanted.requests.values()),
            inputs=wanted.rows,
            measuring={
                "device": m.device,
                "dtype": m.dtype,
                "memory_budget": m.memory_budget,
                "store": _where(m.store.place),
            },
            folder=str(Path.cwd()),
            path=tuple(path for path in sys.path if path),
            versions=environment(LIBRARIES)["versions"],
        )


def jobs_folder(place: Place, base: Path) -> Path:
    """Where the jobs of a store are: in it, if it is a folder."""
    if isinstance(place, Folder):
        # Each user's own: they need not trust whom they share a store with.
        own = f"jobs-{os.geteuid()}" if hasattr(os, "geteuid") else "jobs"
        return place.path.absolute() / own
    return base / AWAY_FROM_STORE


def _where(place: Any) -> str:
    return str(place.path.absolute()) if isinstance(place, Folder) else str(place)

"""What is to be measured next: the requests of inquiries that are not in the store, as jobs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
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

    def next(self, stored: frozenset[str]) -> list[JobFolder]:
        """The jobs of the next wave, one a checkpoint; none where nothing more can be measured.

        What was asked for before and is not stored is not asked for again.
        """
        by_checkpoint: dict[str, dict[str, Request]] = {}
        for name in list(self.inquiries):
            missing = self._missing(self.inquiries[name], stored)
            if not missing or missing.keys() & self.asked.keys():
                del self.inquiries[name]  # all is there, or cannot be had
            for digest, request in missing.items():
                if digest not in self.asked:
                    label = request.data.checkpoint.label
                    by_checkpoint.setdefault(label, {})[digest] = request
        folders = []
        for label, wanted in by_checkpoint.items():
            every = [each for request in wanted.values() for each in whole(request)]
            requests = {self.measurements.digest(each): each for each in every}
            job = self._job(label, requests)
            folder = JobFolder(self.folder / job.name, job)
            self.asked |= dict.fromkeys(requests, folder)
            folders.append(folder)
        return folders

    def _missing(self, make: Callable[[], Inquiry], stored: frozenset[str]) -> dict[str, Request]:
        lookup = Lookup(self.measurements, stored)
        try:
            make().ask(lookup, unknown="gates")
        except NotMeasuredError:
            pass
        except Exception:
            return {}
        return lookup.missing

    def _job(self, label: str, requests: Mapping[str, Request]) -> Job:
        listed, rows = to_job(requests)
        m = self.measurements
        return Job(
            label=label,
            requests=tuple(listed),
            inputs=rows,
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

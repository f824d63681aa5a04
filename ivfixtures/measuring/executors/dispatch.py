"""Jobs on their way: what is submitted, waited for or done already, and what they say."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from ivfixtures.errors import error_line
from ivfixtures.measuring.executors import Executor, ExecutorError
from ivfixtures.measuring.executors.jobs import JobFolder, Result
from ivfixtures.measuring.screen import Screen

POLL = 0.3
QUIET = 60.0  # seconds between two lines of progress where lines stay
MOST_TOLD = 40  # with more jobs, only what went wrong has a line of its own


@dataclass
class Jobs:
    """All jobs of a run.

    results: by the digest of the job. died: why others have none.
    """

    every: list[JobFolder] = field(default_factory=list)
    results: dict[str, Result] = field(default_factory=dict)
    died: dict[str, str] = field(default_factory=dict)

    @property
    def errors(self) -> dict[str, str]:
        """The messages of all requests that had one, by the digest of the key."""
        found: dict[str, str] = {}
        for result in self.results.values():
            found |= result.errors
        return found

    def reason(self, job: JobFolder) -> str | None:
        """Why something the job should have measured may not be in the store."""
        digest, label = job.job.digest, job.job.label
        if digest in self.died:
            return f"the job of {label} died: {self.died[digest]}"
        result = self.results.get(digest)
        if result is None:
            return None
        if result.failure:
            return f"the job of {label} failed: {result.failure}"
        if result.unkept:
            return f"the job of {label} could not keep it: {'; '.join(result.warnings)}"
        return None


class Dispatch:
    """Brings jobs to their end, or (detach) on their way only."""

    def __init__(self, jobs: Jobs, executor: Executor, screen: Screen) -> None:
        self.jobs, self.executor, self.screen = jobs, executor, screen
        self._running: dict[str, JobFolder] = {}
        self._started: set[str] = set()
        self._told = 0.0

    @property
    def _many(self) -> bool:
        return len(self.jobs.every) > MOST_TOLD

    def run(self, wave: Sequence[JobFolder], *, wait: bool = True) -> list[JobFolder]:
        """Submit the jobs of a wave, and (wait) see them end. If stopped, nothing is left.

        Returns those that were not submitted: where a job on the same checkpoint was under way, it
        is waited for first.

        Raises: ExecutorError.
        """
        try:
            new = [job for job in wave if not self._is_under_way(job)]
            self._submit(new)
            if wait:
                self._wait()
        except BaseException:
            self.executor.cancel()
            raise
        return [job for job in wave if job not in new]

    def _submit(self, new: Sequence[JobFolder]) -> None:
        self.jobs.every += new
        for job in new:
            try:
                job.prepare()
            except OSError as error:
                got, where = error.strerror or str(error), error.filename or job.path
                expected, remedy = "one that only you can write", "remove it, or change --store"
                raise ExecutorError(
                    error_line("folder of jobs", got, expected, where, remedy)
                ) from None
        if new:
            self.executor.submit(new)
        self._running |= {job.job.digest: job for job in new}

    @property
    def under_way(self) -> int:
        """How many jobs have been submitted and have not ended."""
        return len(self._running)

    def _is_under_way(self, job: JobFolder) -> bool:
        adopted = [other for other in job.alike() if self.executor.adopt(other)]
        for other in adopted:
            self._running[other.job.digest] = other
            self.jobs.every.append(other)
            self._tell(f"job {job.job.label}: submitted by an earlier run, waited for")
        return bool(adopted)

    def _wait(self) -> None:
        while self._running:
            for digest, why in self.executor.poll().items():
                if digest in self._running:
                    self._end(self._running.pop(digest), why)
            self._show()
            if self._running:
                time.sleep(POLL)

    def _end(self, job: JobFolder, why: str) -> None:
        label, result = job.job.label, job.result()
        if result is None:
            self.jobs.died[job.job.digest] = why
            self.screen.line(f"job {label}: died: {why}")
            return
        self.jobs.results[job.job.digest] = result
        counts = f"{result.measured} measured, {result.reused} reused, {result.seconds:.0f} s"
        if result.is_whole:
            self._tell(f"job {label}: done, {counts}")
        elif result.failure:
            self.screen.line(f"job {label}: failed: {result.failure}")
        else:
            kept = f"; {'; '.join(result.warnings)}" if result.unkept else ""
            self.screen.line(f"job {label}: done with {len(result.errors)} errors, {counts}{kept}")

    def _show(self) -> None:
        news = []
        # With thousands under way, to read what each says would take longer than to wait.
        for digest, job in islice(self._running.items(), MOST_TOLD):
            if found := job.progress():
                if digest not in self._started:
                    self._started.add(digest)
                    count = len(job.job.requests)
                    self._tell(f"job {job.job.label}: started, {count} measurements")
                where = f"measurement {found.get('request')}/{found.get('of')}"
                news.append(f"job {job.job.label}: {where}: {found.get('doing')}")
        counts = self._counts()
        if not self.screen.passing(" | ".join([counts, *news[:2]])) and self._is_time():
            for text in [counts] if self._many else news:
                self.screen.line(text)

    def _counts(self) -> str:
        found = Counter(done=len(self.jobs.results), died=len(self.jobs.died))
        died = f", {found['died']} died" if found["died"] else ""
        return f"{found['done']}/{len(self.jobs.every)} jobs done{died}"

    def _is_time(self) -> bool:
        if time.monotonic() - self._told < QUIET:
            return False
        self._told = time.monotonic()
        return True

    def _tell(self, text: str) -> None:
        if not self._many:
            self.screen.line(text)

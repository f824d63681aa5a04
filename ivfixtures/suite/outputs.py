"""The files that a run leaves: evidence, report, expectations."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ivevidence import write_evidence
from ivevidence.compare.expectations import expect, keep_values, write_expectations
from ivevidence.compare.runs import EVIDENCE_SUFFIX, evidence_beside
from ivevidence.store.whole_files import write_atomic
from ivfixtures.errors import error_line
from ivfixtures.suite.report_page import completed

if TYPE_CHECKING:
    from pytest_html.basereport import BaseReport

    from ivfixtures.suite.run import Run

PAGE_SUFFIX = ".html"
_EVIDENCE = EVIDENCE_SUFFIX.removeprefix(".")


class Outputs:
    """Where a run's files go; which of them were written, and which not (path: reason).

    Raises: pytest.UsageError, a folder cannot be written, or a file would take the place of
        another one, before anything is measured.
    """

    def __init__(self, config: pytest.Config) -> None:
        folder, html = config.invocation_params.dir, config.option.htmlpath
        expectations = config.getoption("--write-expect")
        # As pytest-html reads it.
        self.report = folder / Path(os.path.expandvars(html)).expanduser() if html else None
        self.evidence = evidence_beside(self.report) if self.report else None
        self.expectations = Path(folder, expectations) if expectations else None
        self.sha256 = ""  # of the evidence, once it is written
        self.written: set[str] = set()
        self.unwritten: dict[str, str] = {}
        for option, path in {"--html": self.report, "--write-expect": self.expectations}.items():
            if path:
                _check_folder(option, path)
        junit = config.getoption("xmlpath", None)
        self._refuse_the_same(Path(folder, junit) if junit else None)

    def write(self, run: Run) -> None:
        """Write evidence and expectations; what cannot be written is remembered.

        Expectations only of a run whose every cell has a verdict: a part would pass for the whole.
        Without any cell, what an earlier run left stays.
        """
        if not (run.records or run.errors or run.planned):
            return
        evidence, expectations = self.evidence, self.expectations
        if evidence and (run.records or run.errors):
            self._try(evidence, lambda: self._write_evidence(evidence, run))
        if expectations and len(run.records) < run.planned:
            lacking = run.planned - len(run.records)
            self.unwritten[str(expectations)] = f"{lacking} of {run.planned} cells have no verdict"
        elif expectations:
            self._try(expectations, lambda: _write_expectations(expectations, run))

    def take_report(self, run: Run) -> None:
        """Write pytest-html's page in its stead: it would leave half of it where a disk is full.

        Without any cell there is no page. What cannot be written is remembered, and pytest-html
        does not say that it was.
        """
        for plugin in _reports(run.config):
            plugin._write_report = partial(self._write_report, run, plugin)

    def leave_none(self, config: pytest.Config) -> None:
        """Write no files: nothing is judged."""
        self.report = self.evidence = self.expectations = None
        for plugin in _reports(config):
            config.pluginmanager.unregister(plugin)

    def _write_evidence(self, path: Path, run: Run) -> None:
        errors = run.errors.values()
        self.sha256 = write_evidence(path, run.cells, errors=errors, run=run.facts())

    def _refuse_the_same(self, junit: Path | None) -> None:
        """Refuse a page that is no page by its name, and two files of one name."""
        where, remedy = "command line", "name another file"
        if self.report and self.report.suffix != PAGE_SUFFIX:
            expected = f"a name that ends in {PAGE_SUFFIX}"
            line = error_line("--html", str(self.report), expected, where, remedy)
            raise pytest.UsageError(line)
        taken = {"the report": self.report, "its evidence": self.evidence}
        for option, path in {"--write-expect": self.expectations, "--junit-xml": junit}.items():
            if path is None:
                continue
            same = (what for what, other in taken.items() if other and _is_same(path, other))
            kept = "a page or evidence" if path.name.endswith((PAGE_SUFFIX, _EVIDENCE)) else None
            if what := next(same, kept):
                line = error_line(option, str(path), f"another file than {what}", where, remedy)
                raise pytest.UsageError(line)
            taken[option] = path

    def _write_report(self, run: Run, plugin: BaseReport, page: str) -> None:
        path, content = plugin._report_path, completed(page).encode("utf-8", "replace")
        judged = run.records or run.errors
        if not (judged and self._try(path, lambda: write_atomic(path, content))):
            run.config.pluginmanager.unregister(plugin)

    def _try(self, path: Path, write: Callable[[], None]) -> bool:
        try:
            write()
        except OSError as error:
            self.unwritten[str(path)] = error.strerror or str(error)
            self.written.discard(str(path))
            return False
        self.written.add(str(path))
        return True


def _reports(config: pytest.Config) -> list[BaseReport]:
    from pytest_html.basereport import BaseReport

    every = config.pluginmanager.get_plugins()
    return [plugin for plugin in every if isinstance(plugin, BaseReport)]


def _write_expectations(path: Path, run: Run) -> None:
    for cell in run.cells:
        keep_values(run.store, cell)
    found = expect(run.cells, written_by=f"ivclaims {version('ivclaims')}", **run.premises())
    write_expectations(path, found)


def _is_same(path: Path, other: Path) -> bool:
    return os.path.realpath(path) == os.path.realpath(other)


def _check_folder(option: str, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(path.parent, os.W_OK | os.X_OK) else "no permission"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason or path.is_dir():
        raise pytest.UsageError(
            f"{option}={path}, but should be a file in a folder that can be written "
            f"[{reason or 'it is a folder'}]"
        )

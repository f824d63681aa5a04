"""The files that a run leaves: evidence, report, expectations."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pytest_html.basereport import BaseReport

from ivevidence import write_evidence
from ivevidence.expectations import expect, keep_values, write_expectations
from ivevidence.files import write_atomic

if TYPE_CHECKING:
    from ivfixtures.run import Run

EVIDENCE_NAME = "evidence.json"


class Outputs:
    """Where a run's files go; which of them were written, and which not (path: reason).

    Raises: pytest.UsageError, a folder cannot be written, before anything is measured.
    """

    def __init__(self, config: pytest.Config) -> None:
        folder, html = config.invocation_params.dir, config.option.htmlpath
        expectations = config.getoption("--write-expect")
        # As pytest-html reads it.
        self.report = folder / Path(os.path.expandvars(html)).expanduser() if html else None
        self.evidence = self.report.with_name(EVIDENCE_NAME) if self.report else None
        self.expectations = Path(folder, expectations) if expectations else None
        self.written: set[str] = set()
        self.unwritten: dict[str, str] = {}
        for option, path in {"--html": self.report, "--write-expect": self.expectations}.items():
            if path:
                _check_folder(option, path)

    def write(self, run: Run) -> None:
        """Write evidence and expectations; what cannot be written is remembered.

        Expectations only of a run whose every cell has a verdict: a part would pass for the whole.
        """
        evidence, expectations = self.evidence, self.expectations
        if evidence and (run.records or run.errors):
            errors, facts = run.errors.values(), run.facts()
            self._try(
                evidence, lambda: write_evidence(evidence, run.cells, errors=errors, run=facts)
            )
        if expectations and len(run.records) < run.planned:
            lacking = run.planned - len(run.records)
            self.unwritten[str(expectations)] = f"{lacking} of {run.planned} cells have no verdict"
        elif expectations:
            self._try(expectations, lambda: _write_expectations(expectations, run))

    def take_report(self, config: pytest.Config) -> None:
        """Write pytest-html's page in its stead: it would leave half of it where a disk is full.

        What cannot be written is remembered, and pytest-html does not say that it was.
        """
        for plugin in _reports(config):
            plugin._write_report = partial(self._write_report, config, plugin)

    def leave_none(self, config: pytest.Config) -> None:
        """Write no files: nothing is judged."""
        self.report = self.evidence = self.expectations = None
        for plugin in _reports(config):
            config.pluginmanager.unregister(plugin)

    def _write_report(self, config: pytest.Config, plugin: BaseReport, page: str) -> None:
        path = plugin._report_path
        if not self._try(path, lambda: write_atomic(path, page.encode("utf-8", "replace"))):
            config.pluginmanager.unregister(plugin)

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
    every = config.pluginmanager.get_plugins()
    return [plugin for plugin in every if isinstance(plugin, BaseReport)]


def _write_expectations(path: Path, run: Run) -> None:
    for cell in run.cells:
        keep_values(run.store, cell)
    found = expect(run.cells, written_by=f"ivclaims {version('ivclaims')}", **run.premises())
    write_expectations(path, found)


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

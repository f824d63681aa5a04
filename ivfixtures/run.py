"""One run of the suite: collects the cells' records and leaves report and evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ivevidence import VERDICTS, CellError, CellRecord, Store, render, write_evidence
from ivfixtures.subjects import PUBLISHED, Subject, measured_subjects, published_subjects
from ivfixtures.tasks import passed_over

if TYPE_CHECKING:
    from ivfixtures.options import Options

CELL = pytest.StashKey[Any]()  # a Cell or a PublishedCell
EVIDENCE_NAME = "evidence.json"


class Run:
    """Plugin of a pytest process that judges claims (controller or xdist worker)."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.store = Store(Path(config.invocation_params.dir, config.getoption("--store")))
        self.records: dict[str, CellRecord] = {}
        self._places: dict[str, int] = {}
        self._of_checkpoints: set[str] = set()
        self._options: Options | None = None
        self.errors: dict[str, CellError] = {}
        self.measured = self.reused = self.collected = 0

    @property
    def options(self) -> Options:
        """The checked options, read when a claim first needs them.

        Claims on published numbers do not, and are judged without torch being imported.
        """
        if self._options is None:
            from ivfixtures.options import read_options

            self._options = read_options(self.config)
        return self._options

    def subjects(self, claim: pytest.Mark) -> list[Subject]:
        """What the cells of a claim's marker are about."""
        per, metrics = claim.kwargs.get("per", "checkpoint"), claim.kwargs.get("metrics", (None,))
        published = per == PUBLISHED
        found = published_subjects() if published else measured_subjects(per, metrics, self.options)
        return [replace(subject, place=place) for place, subject in enumerate(found)]

    def show(self, line: str) -> None:
        """Show progress of long work in place, on a terminal only."""
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        capture = self.config.pluginmanager.get_plugin("capturemanager")
        if reporter and capture and reporter.isatty:
            with capture.global_and_fixture_disabled():
                reporter.rewrite(line, erase=True)
            reporter.currentfspath = None  # pytest names the file again on its next line

    def pytest_report_header(self) -> list[str]:
        """Say what will be judged, and which files of a task folder are passed over."""
        options = self._options
        if options is None:
            return ["claims: on published numbers"]
        names = ", ".join(checkpoint.name for checkpoint in options.checkpoints)
        lines = [f"claims: {names}; tasks {', '.join(options.tasks)}"]
        folder = options.tasks_folder
        if folder and (unused := passed_over(folder)):
            lines.append(f"passed over, as no task is defined for them: {', '.join(unused)}")
        return lines

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Let the record travel with the test's report, from xdist workers too."""
        report = yield
        if report.when == "call" and CELL in item.stash:
            cell = item.stash[CELL]
            vars(report)["ivclaims"] = {
                "record": cell.record.to_json() if cell.record else None,
                "place": cell.subject.place,
                "of checkpoint": bool(cell.subject.checkpoints),
                "measured": self.store.measured,
                "reused": self.store.reused,
            }
            self.store.measured = self.store.reused = 0
        return report

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Judge all claims of a checkpoint before the next one is loaded."""
        checkpoints = self._options.checkpoints if self._options else ()
        order = {c.label: i for i, c in enumerate(checkpoints)}
        items.sort(key=lambda item: order.get(_group(item), len(order)))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect records and errors where the session is reported."""
        sent = vars(report).get("ivclaims")
        if sent:
            self.measured += sent["measured"]
            self.reused += sent["reused"]
        if sent and sent["record"]:
            self.records[report.nodeid] = CellRecord.from_json(sent["record"])
            self._places[report.nodeid] = sent["place"]
            if sent["of checkpoint"]:
                self._of_checkpoints.add(report.nodeid)
        elif report.failed:
            self.errors[report.nodeid] = CellError(report.nodeid, _last_line(report))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write the evidence; a run that judged no cell fails."""
        if _is_worker(self.config):
            return
        if self._report and (self.records or self.errors):
            path = self._report.with_name(EVIDENCE_NAME)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_evidence(path, self.cells, errors=self._errors, run=self._facts())
        if exitstatus == pytest.ExitCode.OK and not self._judged:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_summary(self, prefix: list[str]) -> None:
        """Put matrix and cells before pytest-html's own table."""
        prefix.append(render(self.cells, errors=self._errors, run=self._facts()))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """End with the verdict counts, what was measured, and where the report is."""
        if not (self.records or self.errors):
            return
        write = terminalreporter.write_line
        terminalreporter.write_sep("=", "claims")
        counts = Counter(record.decision.verdict for record in self.cells)
        write(", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]))
        if self.errors:
            write(
                f"{len(self.errors)} cells could not be judged (errors are not verdicts)", red=True
            )
        if not self._judged:
            write("no cell was judged: the run fails", red=True)
        if self.measured or self.reused:
            again = f"{self.measured} measured, " if self.measured else "nothing measured again, "
            write(f"measurements: {again}{self.reused} reused from {self.store.folder}")
        if self._report:
            write(f"evidence: {self._report.with_name(EVIDENCE_NAME)}")
            write(f"report: {self._report}")

    @property
    def cells(self) -> tuple[CellRecord, ...]:
        """The records in the order of claims, and of the cells of each."""
        return tuple(self.records[nodeid] for nodeid in sorted(self.records, key=self._rank))

    def _rank(self, nodeid: str) -> tuple[str, int]:
        return self.records[nodeid].claim.name, self._places[nodeid]

    @property
    def _judged(self) -> bool:
        """Whether a cell was; where checkpoints are judged, published numbers do not count."""
        counted = self._of_checkpoints or self.records
        return any(self.records[i].decision.verdict != "not_applicable" for i in counted)

    @property
    def _errors(self) -> tuple[CellError, ...]:
        return tuple(self.errors.values())

    @property
    def _report(self) -> Path | None:
        path = self.config.option.htmlpath
        return Path(self.config.invocation_params.dir, path) if path else None

    def _facts(self) -> dict[str, Any]:
        return {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "arguments": [str(argument) for argument in self.config.invocation_params.args],
            "measured": self.measured,
            "reused": self.reused,
        }


def _group(item: pytest.Item) -> str:
    marker = item.get_closest_marker("xdist_group")
    return str(marker.args[0]) if marker else ""


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def _last_line(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash else report.longrepr).strip()

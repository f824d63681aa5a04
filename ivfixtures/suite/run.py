"""One run of the suite: collects the cells' records and leaves report, evidence, expectations."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ivevidence import CellError, CellRecord, Store, open_place, render
from ivevidence.figures.svg import visible_text
from ivevidence.records.cells import UNDRIFTED
from ivevidence.report.comparison import mark
from ivevidence.report.comparison_text import change_text
from ivevidence.store.places import Folder, Place
from ivfixtures.data.tasks import passed_over
from ivfixtures.errors import error_line
from ivfixtures.measuring.screen import Screen, Terminal
from ivfixtures.suite import selection
from ivfixtures.suite.expectations import read_expecting
from ivfixtures.suite.outputs import Outputs
from ivfixtures.suite.papers import Paper, paper_of, read_set, read_settings, texts_of
from ivfixtures.suite.subjects import Subject
from ivfixtures.suite.summary import summarize
from ivfixtures.suite.verdicts import Concluded, Conclusions

if TYPE_CHECKING:
    from ivfixtures.checkpoints.resolving import Checkpoint
    from ivfixtures.data.instructed import InstructedData
    from ivfixtures.data.tasks import Task
    from ivfixtures.measuring.measurements import Measurements
    from ivfixtures.suite.options import Options

CELL = pytest.StashKey[Any]()


class Run:
    """Plugin of a pytest process that judges claims (controller or xdist worker).

    measures: whether some claim may be about checkpoints. Claims on published numbers alone are
    judged without torch being imported.

    Raises: pytest.UsageError, an option is wrong.
    """

    def __init__(self, config: pytest.Config, *, measures: bool) -> None:
        self.config = config
        self.folder = config.invocation_params.dir
        self.records: dict[str, CellRecord] = {}
        self._places: dict[str, int] = {}
        self._of_checkpoints: set[str] = set()
        self._options: Options | None = None
        self._data: dict[tuple[Any, str, str], Any] = {}
        self._papers: dict[Paper, None] = {}  # those whose claims are judged
        self.errors: dict[str, CellError] = {}
        self.measured = self.reused = self.planned = 0
        self.missing: list[str] = []  # entries of --expect without a cell
        self.stopped = False
        self.judges = True  # unless all there is to see is what is planned, or submitted
        self.screen: Screen = Terminal(config)
        options = self.options if measures else None
        self.outputs = Outputs(config)
        try:
            self._set = read_set(config)
            self.store = Store(_place(config.getoption("--store"), self.folder))
            self.judging = self.store  # an executor measures, but this process asks the judge
            known = len(options.checkpoints) if options else None
            self._shard = selection.read_shard(config.getoption("--shard"), known)
            self.conclusions = Conclusions(
                read_expecting(config, self.store), config.getoption("--xfail-refuted")
            )
        except ValueError as error:
            raise pytest.UsageError(visible_text(str(error))) from None

    @property
    def options(self) -> Options:
        """The checked options, read when a claim first needs them."""
        if self._options is None:
            from ivfixtures.suite.options import read_options

            self._options = read_options(self.config)
        return self._options

    def settings(self, paper: Paper) -> Any:
        """The settings of a pack, as this run has them."""
        return read_settings(paper, self._set.get(paper.name, {}))

    def texts(self, paper: Paper) -> dict[str, str]:
        """The same by `PACK.NAME`, as they are written."""
        texts = texts_of(paper, self._set.get(paper.name, {}))
        return {f"{paper.name}.{name}": text for name, text in texts.items()}

    @cached_property
    def measurements(self) -> Measurements:
        """What measures, in this process, what is not in the store."""
        from ivfixtures.measuring.measurements import Measurements

        o, store = self.options, self.store
        return Measurements(
            store, device=o.device, dtype=o.dtype, memory_budget=o.memory_budget, show=self.show
        )

    def kept(self, kind: Callable[..., Any], checkpoint: Checkpoint, task: Task) -> Any:
        """A task's data for a checkpoint, made once while the checkpoint is judged."""
        at = (kind, checkpoint.label, task.name)
        if at not in self._data:
            self._data[at] = kind(checkpoint, task, self.options.of(checkpoint))
        return self._data[at]

    def instructed(self, checkpoint: Checkpoint, task: Task) -> InstructedData:
        """A task's prompts, whose answers are judged where there is a judge."""
        from ivfixtures.data.instructed import InstructedData
        from ivfixtures.measuring.judge import judged_answers

        data: InstructedData = self.kept(InstructedData, checkpoint, task)
        data.judge = partial(judged_answers, store=self.judging, show=self.show)
        data.judgements = {}
        return data

    def turn_to(self, subject: Subject) -> bool:
        """Let go of what is kept of other checkpoints than those of the subject, if anything is."""
        labels = [checkpoint.label for checkpoint in subject.checkpoints]
        others = [at for at in self._data if at[1] not in labels]
        for at in others:
            del self._data[at]
        if others:
            self.measurements.forget()
        return bool(others)

    def subjects(self, marker: pytest.Mark) -> list[Subject]:
        """What the cells of a claim's marker are about."""
        kind, metrics = marker.kwargs["on"], marker.kwargs["metrics"]
        subjects = kind.subjects(marker.args[0].name, metrics, lambda: self.options)
        return [replace(subject, place=place) for place, subject in enumerate(subjects)]

    def show(self, line: str) -> None:
        """Show progress of long work in place, on a terminal only."""
        self.screen.passing(line)

    def end_unjudged(self) -> None:
        """Have the run end without verdicts and files."""
        self.judges = False
        self.outputs.leave_none(self.config)

    def pytest_report_header(self) -> list[str]:
        """Say what will be judged, and which files of a task folder are passed over."""
        options = self._options
        if options is None:
            return ["claims: on published numbers"]
        names = ", ".join(checkpoint.name for checkpoint in options.checkpoints)
        tasks = dict.fromkeys(t for c in options.checkpoints for t in options.of(c).tasks)
        lines = [f"claims: {names}; tasks {', '.join(tasks)}"]
        folder = options.tasks_folder
        if folder and (unused := passed_over(folder)):
            lines.append(f"passed over, as no task is defined for them: {', '.join(unused)}")
        return list(map(visible_text, lines))

    def pytest_sessionstart(self) -> None:
        """See that the report is written whole or not at all."""
        self.outputs.take_report(self)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Judge all claims of a checkpoint before the next one is loaded, and the shard's only.

        First of all hooks: what -k and -m leave out is still a cell, and its entry is not missing.
        """
        labels = [c.label for c in self._options.checkpoints] if self._options else []
        self.config.hook.pytest_deselected(items=selection.drop_idle(items))
        selection.identify(items)
        selection.require_names(items)
        try:
            self._take_settings(items)
        except ValueError as error:
            raise pytest.UsageError(visible_text(str(error))) from None
        selection.arrange(items, labels)
        if self.conclusions.expecting:
            names, printed = selection.names(items), selection.printed(items)
            self.conclusions.expecting.plan(names, printed=printed)
        if self._shard:
            items[:], others = selection.split(items, self._shard)
            self.config.hook.pytest_deselected(items=others)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note how many cells are to be judged, and which."""
        names = selection.names(session.items)
        self.planned = len(names)
        if self.conclusions.expecting:
            self.conclusions.expecting.selected = frozenset(names)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Note the same where workers collect."""
        self.planned = len(ids)

    @pytest.hookimpl(wrapper=True)
    def pytest_pyfunc_call(self) -> Generator[None, object, object]:
        """Let a test pass that ends with `Concluded`."""
        try:
            return (yield)
        except Concluded:
            return True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Let the record travel with the test's report, from xdist workers too."""
        report = yield
        if report.when == "call" and CELL in item.stash:
            cell, expecting = item.stash[CELL], self.conclusions.expecting
            missing = expecting.missing if expecting else ()
            vars(report)["ivclaims"] = {
                "record": cell.record.to_json() if cell.record else None,
                "place": cell.subject.place,
                "of checkpoint": bool(cell.subject.checkpoints),
                "measured": self.store.measured,
                "reused": self.store.reused,
                "missing": [f"{asked} of {of}" for of, asked in missing],
            }
            self.store.measured = self.store.reused = 0
            if cell.record and mark(cell.record) == UNDRIFTED:
                # JUnit XML takes it from the report of the teardown.
                item.user_properties.append((UNDRIFTED, change_text(cell.record)))
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect records and errors where the session is reported.

        Names that xdist gave a group are as they are without it, in JUnit XML, too.
        """
        report.nodeid = selection.without_group(report.nodeid, self.config)
        sent = vars(report).get("ivclaims")
        if sent:
            self.measured += sent["measured"]
            self.reused += sent["reused"]
            self.missing = sent["missing"]
        if sent and sent["record"]:
            self.records[report.nodeid] = CellRecord.from_json(sent["record"])
            self._places[report.nodeid] = sent["place"]
            if sent["of checkpoint"]:
                self._of_checkpoints.add(report.nodeid)
        elif report.failed:
            self.errors[report.nodeid] = CellError(report.nodeid, _last_line(report))

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(
        self, session: pytest.Session, exitstatus: int
    ) -> Generator[None, object, object]:
        """Write the evidence, let the report be written; what judged or wrote too little fails.

        The innermost wrapper: the summary follows.
        """
        if not _is_worker(self.config):
            self.outputs.write(self)
        result = yield
        if not _is_worker(self.config):
            may_miss = self.config.getoption("--expect-missing")
            failed = not self.judged or (self.missing and not may_miss) or self.outputs.unwritten
            if exitstatus == pytest.ExitCode.OK and failed and self.judges:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return result

    def pytest_keyboard_interrupt(self) -> None:
        """Note that the run was stopped, perhaps before its first cell."""
        self.stopped = True

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_report_title(self, report: Any) -> None:
        """Name the page by what is judged."""
        names = (
            [checkpoint.name for checkpoint in self._options.checkpoints] if self._options else []
        )
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        what = visible_text(names[0]) if names else "published numbers"
        report.title = f"Claims on {what}{more} · ivclaims"

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_summary(self, prefix: list[str]) -> None:
        """Put matrix and cells before pytest-html's own table."""
        errors, sha256 = self.errors.values(), self.outputs.sha256
        prefix.append(render(self.cells, errors=errors, run=self.facts(), sha256=sha256))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """End with the verdict counts, what was measured, and where the report is."""
        if self.records or self.errors or self.stopped:
            summarize(self, terminalreporter.write_line, terminalreporter.write_sep)

    @property
    def cells(self) -> tuple[CellRecord, ...]:
        """The records in the order of claims, and of the cells of each."""
        return tuple(self.records[nodeid] for nodeid in sorted(self.records, key=self._rank))

    @property
    def judged(self) -> bool:
        """Whether a cell was; where checkpoints are judged, published numbers do not count."""
        counted = self._of_checkpoints or self.records
        return any(self.records[i].decision.verdict != "not_applicable" for i in counted)

    def facts(self) -> dict[str, Any]:
        """What evidence and report say of the run as a whole."""
        facts = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "arguments": [str(argument) for argument in self.config.invocation_params.args],
            "measured": self.measured,
            "reused": self.reused,
            "planned": self.planned,
            "interrupted": self.planned > len(self.records) + len(self.errors),
            "order": self._order(),
        }
        return facts | ({"missing": self.missing} if self.missing else {})

    def premises(self) -> dict[str, dict[str, Any]]:
        """What the verdicts of the collected packs depend on: options, settings, tasks' digests."""
        options = self._options
        if options is None:
            return {}
        settings = {
            name: text for paper in self._papers for name, text in self.texts(paper).items()
        }
        tasks = {name: task.digest for name, task in options.every_task.items()}
        return {"options": {**options.settings, **settings}, "tasks": tasks}

    def _take_settings(self, items: Sequence[pytest.Item]) -> None:
        """Note whose claims are judged, and see that all that was set is theirs.

        Raises: ValueError, a setting is not what it should be, or expectations had another.
        """
        selection.require_packs(items)
        claims = selection.claims(items)
        self._papers = {paper_of(claim): None for claim in claims}
        names = [paper.name for paper in self._papers]
        if others := [pack for pack in self._set if pack not in names]:
            expected = f"one of {', '.join(names)}" if names else "left out"
            where, remedy = f"--set {others[0]}", "correct it, or name its claims, too"
            raise ValueError(error_line("pack", others[0], expected, where, remedy))
        for paper in self._papers:
            self.settings(paper)
        if self.conclusions.expecting:
            self.conclusions.expecting.check(names, **self.premises())

    def _order(self) -> list[str]:
        """Whom cells are about, in order: shards of a run, who judge a part each, have the same."""
        options = self._options
        return [*options.families, *(c.name for c in options.checkpoints)] if options else []

    def _rank(self, nodeid: str) -> tuple[str, int]:
        return self.records[nodeid].claim.name, self._places[nodeid]


def _place(where: str, base: Path) -> Place:
    """The place of `--store`.

    Raises: ValueError, it is a file or in one, or a URL that cannot be used.
    """
    place = open_place(where, base)
    if isinstance(place, Folder):
        there = next(path for path in (place.path, *place.path.parents) if path.exists())
        if not there.is_dir():
            expected, remedy = "a folder or in one", "name another folder"
            raise ValueError(error_line("--store", where, expected, f"{there} is a file", remedy))
    return place


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def _last_line(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash else report.longrepr).strip()

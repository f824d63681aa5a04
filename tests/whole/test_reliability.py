"""Runs of the suite that are killed, stopped or two at once; names that look like more."""

import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ivevidence import read_evidence
from ivfixtures.suite.run import Run
from tests.reliability import (
    MEASURED,
    ONE,
    clean,
    evidence,
    found,
    lasting_tasks,
    one_thread,
    undisturbed,
)
from tests.running import SINGLES, printed, shown, write_tasks

FORK = multiprocessing.get_context("fork")  # a new process would import torch for seconds
HELD = "adj_ant: sweep from contrast"
HOLDING = f'''
"""Holds a run in a sweep of its second cell."""
import signal, time
from pathlib import Path

from ivfixtures.suite.run import Run

signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in a shell's background ignore it


def hold(self, line):
    if "{HELD}" in line:
        Path("in-flight").touch()
        time.sleep(600)


Run.show = hold
'''


@pytest.fixture(autouse=True)
def same_rounding():
    """Let runs be equal to the bit."""
    with one_thread():
        yield


@pytest.fixture
def tasks(tmp_path_factory):
    """The tasks of all tests, so that measurements can be shared."""
    return lasting_tasks(tmp_path_factory.getbasetemp())


@pytest.fixture
def before(judge, tmp_path_factory):
    """The evidence of an undisturbed run."""
    return read_evidence(undisturbed(judge, tmp_path_factory.getbasetemp()) / "c.evidence.json")


@pytest.fixture
def options(checkpoint, tasks):
    """The options of `judge`, for runs that are started otherwise."""
    return [
        *("--pyargs", *ONE, "--checkpoint", str(checkpoint), "--tasks", str(tasks)),
        *("--samples", "8", "-p", "no:cacheprovider", *MEASURED),
    ]


@pytest.fixture
def begin():
    """Call a function in another process."""
    begun = []

    def begin(function, *arguments):
        process = FORK.Process(target=function, args=arguments)
        begun.append(process)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads
            process.start()
        return process

    yield begin
    for process in begun:
        process.kill()
        process.join()


def in_flight(pytester, alive):
    """Wait until a run is in a sweep of its second cell."""
    for _ in range(9000):
        if (pytester.path / "in-flight").exists():
            return
        assert alive(), "the run has ended"
        time.sleep(0.01)
    raise AssertionError("no sweep was begun")


def finished(pytester):
    """How many measurements the store holds wholly."""
    return len(list((pytester.path / ".ivclaims").glob("*.json")))


def test_a_killed_run_loses_the_measurement_in_flight_and_nothing_else(
    judge, pytester, before, begin
):
    def held(self, line):
        if HELD in line:
            (pytester.path / "in-flight").touch()
            time.sleep(600)

    def run():
        Run.show = held
        judge(*MEASURED, "--write-expect", "reports/expected.json", only=ONE)

    (pytester.path / "reports").mkdir()
    for name in ("claims.evidence.json", "claims.html", "expected.json"):
        (pytester.path / "reports" / name).write_text(f"{name} of an earlier run")
    process = begin(run)
    in_flight(pytester, process.is_alive)
    process.kill()
    process.join()
    left = {path.name: path.read_text() for path in (pytester.path / "reports").iterdir()}
    names = ("claims.evidence.json", "claims.html", "expected.json")
    assert left == {name: f"{name} of an earlier run" for name in names}
    kept = finished(pytester)
    judge(*MEASURED, only=ONE)
    assert evidence(pytester).run["measured"] == before.run["measured"] - kept
    assert 0 < evidence(pytester).run["measured"] < before.run["measured"] / 2
    assert found(evidence(pytester)) == found(before)
    assert not list((pytester.path / ".ivclaims").glob(".*"))


def test_a_stopped_run_keeps_what_was_judged_and_says_how_to_go_on(
    judge, pytester, before, options
):
    (pytester.path / "holding.py").write_text(HOLDING)
    path = os.pathsep.join(filter(None, [str(pytester.path), os.environ.get("PYTHONPATH")]))
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "holding", *options, "--write-expect", "e.json"],
        cwd=pytester.path,
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            in_flight(pytester, lambda: process.poll() is None)
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=60)[0]
        finally:
            process.kill()
    assert process.returncode == pytest.ExitCode.INTERRUPTED, said
    for line in (
        r"interrupted: 1 of 2 cells were not judged; the same command goes on",
        r"not written: .*e\.json \(1 of 2 cells have no verdict\); .*run again",
        r"evidence: .*evidence\.json",
    ):
        assert re.search(f"^{line}$", said, re.MULTILINE), said
    assert not (pytester.path / "e.json").exists()
    stopped = evidence(pytester)
    assert (stopped.run["planned"], stopped.run["interrupted"]) == (2, True)
    assert found(stopped)[0] == [cell for cell in found(before)[0] if cell["task"] == "adj_comp"]
    assert "1 of 2 cells were judged" in shown(pytester.path / "reports" / "claims.html")
    kept = finished(pytester)
    judge(*MEASURED, "--write-expect", "e.json", only=ONE)
    assert evidence(pytester).run["measured"] == before.run["measured"] - kept
    assert found(evidence(pytester)) == found(before)
    assert (pytester.path / "e.json").exists()


def test_a_run_that_is_stopped_in_its_first_cell_says_so_and_leaves_older_evidence(
    pytester, options, monkeypatch
):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "show", stop)
    (pytester.path / "reports").mkdir()
    (pytester.path / "reports" / "claims.evidence.json").write_text("of an earlier run")
    result = pytester.runpytest_inprocess(
        *options,
        no_reraise_ctrlc=True,
    )
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert clean(result)
    result.stdout.fnmatch_lines(["interrupted: 2 of 2 cells were not judged; *goes on"])
    assert "evidence: " not in printed(result)
    assert (pytester.path / "reports" / "claims.evidence.json").read_text() == "of an earlier run"


def test_two_runs_at_once_share_a_store_and_measure_nothing_twice(judge, pytester, before, begin):
    together = FORK.Barrier(2)

    def run(name):
        together.wait(60)
        result = judge(*MEASURED, "--html", f"{name}/claims.html", only=ONE)
        assert "StoreWarning" not in printed(result)

    both = [begin(run, name) for name in ("a", "b")]
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    one, other = (
        read_evidence(pytester.path / name / "claims.evidence.json") for name in ("a", "b")
    )
    assert found(one) == found(other) == found(before)
    assert one.run["measured"] + other.run["measured"] == finished(pytester)
    assert finished(pytester) == before.run["measured"]


HOSTILE = "<img src=x onerror=alert(1)>\"'&lt;\n\x1b[31mred\x9b31m\u202e{{7*7}}"
QUOTED = HOSTILE.partition("\n")[0].replace('"', '""')
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e]")


class Elements(HTMLParser):
    """What a page loads and runs, and the rows that pytest-html's script puts into it."""

    def __init__(self, page):
        super().__init__()
        self.loaded, self.handlers, self.scripts, self.rows = [], [], [], {}
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.loaded += [found["src"]] if found.get("src") else []
        self.handlers += [found["onerror"]] if "onerror" in found else []
        self.rows |= json.loads(found.get("data-jsonblob", "{}"))

    def handle_data(self, data):
        if self.cdata_elem == "script":
            self.scripts.append(data)


def only_text(page):
    """Whether nothing of HOSTILE became markup, in the page or in what its script inserts."""
    elements = Elements(page)
    assert elements.rows["tests"]
    rows = [row for tests in elements.rows["tests"].values() for row in tests]
    inserted = Elements(
        "".join(cell for row in rows for cell in (*row["resultsTableRow"], row["log"]))
    )
    return (
        not (elements.loaded + elements.handlers + inserted.loaded + inserted.handlers)
        and not any("alert(1)" in script for script in elements.scripts)
        and not CONTROL.search(page)
    )


def everything(folder):
    return {path for path in folder.rglob("*") if "__pycache__" not in path.parts}


@pytest.fixture
def hostile(pytester, checkpoint):
    """Options that judge a checkpoint and tasks whose every text would be more than text."""
    rows = [f'"{QUOTED} {i}","{QUOTED} yes {i}","../../x{i} {QUOTED}"' for i in range(8)]
    folder = write_tasks(pytester.path / "words", rows)
    table = (folder / "tasks.toml").read_text()
    for text in ("Given an", "Adjective:"):
        table = table.replace(text, json.dumps(QUOTED.replace('""', '"') + text)[1:-1])
    (folder / "tasks.toml").write_text(table)
    (folder / f"{HOSTILE}.csv").write_text("a,b\n")
    path = pytester.path / HOSTILE
    shutil.copytree(checkpoint, path)
    return [
        *("--checkpoint", f"words/../{HOSTILE}", "--tasks", "words", "--samples", "8"),
        *("-p", "no:cacheprovider", "--measure-anyway", *SINGLES, "-W", "default"),
    ]


def test_names_and_texts_from_data_are_text_wherever_they_go(pytester, hostile, tmp_path_factory):
    base = tmp_path_factory.getbasetemp()
    there = everything(base)
    claims = (
        *ONE,
        "claims.instruction_vectors.test_behaviour",
        "claims.instruction_vectors.test_stages",
    )
    result = pytester.runpytest_inprocess("--pyargs", *claims, *hostile)
    assert clean(result)
    assert not evidence(pytester).errors
    new = everything(base) - there
    folders = [pytester.path / name for name in ("reports", ".ivclaims")]
    # Digests of files that are old enough are kept, in the folder that is there for it.
    folders.append(Path(os.environ["XDG_CACHE_HOME"], "ivclaims", "digests"))
    assert {path for path in new if not any(path.is_relative_to(f) for f in folders)} == set()
    assert {path.name for path in new if path.is_relative_to(folders[0])} == {
        *("reports", "claims.evidence.json", "claims.html")
    }
    assert not CONTROL.search(result.stdout.str() + result.stderr.str())
    assert "onerror=alert(1)" in result.stdout.str()
    page = shown(pytester.path / "reports" / "claims.html")
    assert page.count("onerror=alert(1)") > 20
    assert only_text(page)


def test_names_in_a_file_of_expectations_are_text(pytester, hostile):
    def run(*options):
        return pytester.runpytest_inprocess(
            "--pyargs", "claims.instruction_vectors.test_behaviour", *hostile, *options
        )

    run("--write-expect", "e.json")
    data = json.loads((pytester.path / "e.json").read_text())
    (cells,) = data["cells"].values()
    entry = next(iter(cells.values()))
    for each in cells.values():
        del each["values"]
    entry.update(verdict="supported", criterion=HOSTILE, estimate=1, low=1, high=1, n=1)
    data["cells"] = {
        HOSTILE * 2: cells | {f"instruction_vectors/{HOSTILE}": {"verdict": "refuted"}}
    }
    (pytester.path / "e.json").write_text(json.dumps(data))
    result = run("--expect", "e.json")
    assert result.ret == 1
    assert "1 missing" in printed(result)
    assert not CONTROL.search(result.stdout.str())
    assert only_text(shown(pytester.path / "reports" / "claims.html"))
    (pytester.path / "e.json").write_text(json.dumps(data | {HOSTILE: 1}))
    result = run("--expect", "e.json")
    assert result.ret == 4
    assert len(result.errlines) == 2
    assert not CONTROL.search(result.stderr.str())

"""`python -m ivevidence`: what it writes, says and exits with."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ivevidence import CellError, read_evidence, write_evidence
from ivevidence.compare.command_line import main
from ivevidence.compare.runs import run_names
from tests.report.test_report import Page
from tests.run_examples import light_cell

ROOT = Path(__file__).parents[2]
COMMANDS = (("diff", "a", "b"), ("history", "a", "b"), ("report", "a", "b"))


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Two runs of different tasks, in folders a and b of the current one."""
    monkeypatch.chdir(tmp_path)
    write("a", light_cell(), light_cell(task="second"))
    write("b", light_cell(), light_cell(task="third"))
    return tmp_path


def write(name: str, *cells, errors=(), **run) -> Path:
    Path(name).mkdir(exist_ok=True)
    path = Path(name, "evidence.json")
    write_evidence(path, cells, errors=errors, run=run)
    return path


@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_page_that_stands_alone_is_written_and_named(arguments, capsys):
    assert main(arguments) == 0
    target = Path("reports", f"{arguments[0]}.html")
    assert capsys.readouterr().out.endswith(f"page: {target}\n")
    source = target.read_text("utf-8")
    assert source.startswith("<!DOCTYPE html>")
    page = Page(source.removeprefix("<!DOCTYPE html>"))
    assert not [attrs for _, attrs in page.tags if {"src", "srcset"} & set(attrs)]
    assert not page.all("link")
    assert "second" in " ".join(page.texts)


@pytest.mark.parametrize("command", ["diff", "history", "report"])
def test_files_do_as_well_as_folders_and_pages_go_where_they_are_told(command, capsys):
    Path("a/evidence.json").rename("a/old.json")
    assert main([command, "a/old.json", "b", "--html", "new/folder/page.HTML"]) == 0
    assert Path("new/folder/page.HTML").exists()
    assert not Path("reports").exists()
    if command == "diff":
        assert capsys.readouterr().out.startswith("A  old.json\nB  b\n")


@pytest.mark.parametrize(
    ("other", "errors", "facts", "code"),
    [
        ([light_cell(estimate=0.25)], [], {}, 0),
        ([light_cell(verdict="refuted")], [], {}, 1),
        ([light_cell()], [CellError("x", "boom")], {}, 1),
        ([], [CellError("instruction_vectors/localization[x]", "boom")], {}, 1),
        ([light_cell()], [], {"interrupted": True}, 1),
        ([light_cell()], [], {"interrupted": False}, 0),
    ],
)
def test_a_difference_exits_with_1_where_something_is_to_be_looked_at(other, errors, facts, code):
    write("c", light_cell())
    write("d", *other, errors=errors, **facts)
    assert main(["diff", "c", "d"]) == code
    assert main(["diff", "d", "c"]) == code


def test_a_run_is_compared_with_itself(capsys):
    assert main(["diff", "a", "a"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("A  a\nB  a (2)\n")
    assert (
        "0 changed, 0 changed without drift, 0 follows its gate, 0 drifted, 2 same, 0 only in A"
        in said
    )


def test_a_report_says_verdicts_and_what_could_not_be_judged(capsys):
    write("c", light_cell(task="x", verdict="refuted"), errors=[CellError("x", "boom")])
    assert main(["report", "a", "c"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "2 supported, 1 refuted"
    assert "1 cell could not be judged (errors are not verdicts)" in said
    assert "boom" in Path("reports/report.html").read_text()


def test_a_report_of_runs_that_disagree_is_refused(capsys):
    write("c", light_cell(verdict="refuted"))
    assert main(["report", "a", "c"]) == 2
    assert "one cell in a, another in c" in error_line(capsys)
    assert not Path("reports").exists()


def error_line(capsys) -> str:
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    return said.err


@pytest.mark.parametrize("command", ["diff", "history", "report"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "run='bad/evidence.json', but should be a folder that holds one *evidence.json"),
        (b"", "should be JSON"),
        (b"{}", "sha256="),
        (b"[" * 100_000, "should be JSON"),
        (b'{"schema": 2, "cells": []}', "schema=2, but should be 3"),
        (b"cut", "sha256="),
    ],
)
def test_what_cannot_be_read_is_one_line_and_exit_code_2(command, content, message, capsys):
    path = write("bad", light_cell())
    if content is None:
        path.unlink()
    else:
        path.write_bytes(
            path.read_bytes().replace(b"0.3", b"0.4") if content == b"cut" else content
        )
    assert main([command, "a", "bad/evidence.json"]) == 2
    assert message in error_line(capsys)
    assert not Path("reports").exists()


@pytest.mark.parametrize("run", ["nowhere", "here\x1b[31m\n", "\udcff", "a/missing.json"])
def test_a_wrong_path_is_named_without_control_characters(run, capsys):
    assert main(["report", run]) == 2
    said = error_line(capsys)
    assert "but should be a folder that holds one *evidence.json, or such a file" in said
    assert "\x1b" not in said


def test_a_damaged_file_is_named_without_control_characters(capsys):
    write("x\x1b[31m", light_cell()).write_bytes(b"")
    assert main(["report", "x\x1b[31m"]) == 2
    assert "x␛[31m/evidence.json" in error_line(capsys)


def test_a_folder_without_evidence_is_refused(capsys, tmp_path):
    assert main(["history", str(tmp_path)]) == 2
    assert "evidence.json" in error_line(capsys)


@pytest.mark.parametrize("name", ["a/evidence.json", "page", "page.htm", "notes.txt", ".html"])
def test_only_pages_are_written_over(name, capsys):
    before = Path("a/evidence.json").read_bytes()
    for command in ("diff", "history", "report"):
        assert main([command, "a", "b", "--html", name]) == 2
        assert f"--html={name!r}, but should be" in error_line(capsys)
    assert Path("a/evidence.json").read_bytes() == before


def test_no_run_is_written_over_whatever_its_name(capsys):
    Path("a/evidence.json").rename("a/run.html")
    before = Path("a/run.html").read_bytes()
    Path("other.html").symlink_to("a/run.html")
    for name in ("a/run.html", "a/../a/run.html", "other.html"):
        assert main(["report", "a/run.html", "--html", name]) == 2
        assert "should be none of the runs" in error_line(capsys)
    assert Path("a/run.html").read_bytes() == before


def test_a_page_that_cannot_be_written_is_one_line_and_exit_code_2(capsys):
    Path("reports").write_text("a file")
    assert main(["report", "a"]) == 2
    assert "reports" in error_line(capsys)
    Path("folder.html").mkdir()
    assert main(["report", "a", "--html", "folder.html"]) == 2
    assert "folder.html" in error_line(capsys)


def test_the_page_and_evidence_of_another_run_are_not_replaced(capsys):
    write("c", light_cell(task="x")).rename("c/claims.evidence.json")
    Path("c/claims.html").write_text("a page")
    kept = {path: path.read_bytes() for path in Path("c").iterdir()}
    for command in (
        ["report", "a"],
        ["report", "a", "b"],
        ["report", "c", "a"],
        ["diff", "a", "c"],
    ):
        assert main([*command, "--html", "c/claims.html"]) == 2
        assert "should be not the page of claims.evidence.json, which" in error_line(capsys)
    assert {path: path.read_bytes() for path in Path("c").iterdir()} == kept


def test_a_page_is_drawn_again_from_its_evidence_and_a_merge_is_made_again():
    for _ in range(2):
        assert main(["report", "a", "b", "--html", "m/all.html"]) == 0
    assert main(["report", "m", "--html", "m/all.html"]) == 0
    assert main(["report", "m/all.html"]) == 0
    evidence = read_evidence(Path("m/all.evidence.json"))
    assert len(evidence.cells) == 3
    for name in ("m/all.html", "reports/report.html"):
        assert f"SHA-256 <code>{evidence.sha256}</code>" in Path(name).read_text("utf-8")
    assert Path("m/all.evidence.json").read_text().endswith(f'"{evidence.sha256}"}}\n')


@pytest.mark.parametrize("command", ["diff", "history", "report"])
def test_nothing_that_data_say_steers_the_terminal(command, capsys):
    said = "a\x1b[2J\x9b\x07\u202e\u2066\u2028\r"
    for name, verdict in (("c", "supported"), ("d", "refuted")):
        cell = light_cell(f"{said}1", said, verdict, criterion=said, metric=said, notes=(said,))
        other = light_cell(f"{said}{name}", said, parameters={said: name})
        write(name, cell, other, errors=[CellError(said, said)], interrupted=True)
    main([command, "c", *["d"] * (command != "report")])
    out = capsys.readouterr()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", out.out)
    assert not out.err


@pytest.mark.parametrize("arguments", [[], ["diff", "a"], ["diff", "a", "b", "b"], ["merge", "a"]])
def test_wrong_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "usage: python -m ivevidence" in capsys.readouterr().err


def test_the_same_runs_give_the_same_page():
    pages = []
    for _ in range(2):
        for arguments in COMMANDS:
            main(arguments)
        pages.append([path.read_bytes() for path in sorted(Path("reports").iterdir())])
    assert pages[0] == pages[1]


def test_inputs_are_left_as_they_are():
    before = [Path(name, "evidence.json").read_bytes() for name in "ab"]
    for arguments in COMMANDS:
        main(arguments)
    assert [Path(name, "evidence.json").read_bytes() for name in "ab"] == before
    assert read_evidence(Path("a/evidence.json")).cells[0] == light_cell()


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["x/a/evidence.json", "x/b/evidence.json"], ["a", "b"]),
        (["a/x/evidence.json", "b/x/evidence.json"], ["a/x", "b/x"]),
        (["a/evidence.json", "a/old.json"], ["a", "old.json"]),
        (["a/1.json", "b/1.json", "c/2.json"], ["a/1.json", "b/1.json", "c/2.json"]),
        (["a/evidence.json"] * 3, ["a", "a (2)", "a (3)"]),
        (
            ["a/evidence.json", "a/evidence.json", "a (2)/evidence.json"],
            ["a", "a (2)", "a (2) (2)"],
        ),
        (["/evidence.json"], ["/"]),
        ([], []),
    ],
)
def test_runs_are_named_by_the_end_of_their_paths(paths, names):
    assert run_names([Path(path) for path in paths]) == names


def run_python(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


def test_the_module_runs_without_torch_and_on_any_terminal():
    code = (
        "import sys; from ivevidence.compare.command_line import main; "
        "codes = [main([c, 'a', 'b']) for c in ('diff', 'history', 'report')]; "
        "assert codes == [0, 0, 0], codes; "
        "assert not {'torch', 'transformers', 'pytest', 'ivfixtures'} & set(sys.modules)"
    )
    result = run_python("-c", code, PYTHONIOENCODING="ascii")
    assert result.returncode == 0, result.stderr
    write("c", light_cell(verdict="refuted"))
    result = run_python("-m", "ivevidence", "diff", "a", "c")
    assert (result.returncode, result.stderr) == (1, "")
    assert "\033" not in result.stdout

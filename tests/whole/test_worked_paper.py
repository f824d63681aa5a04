"""The paper that docs/adding-a-paper.md goes through is judged as it stands."""

import json
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-paper.md"
JUDGE = (
    *("my_paper", "--checkpoint", "tiny-olmo2-base", "--samples", "12"),
    *("-W", "error", "-p", "no:cacheprovider", "--store", "store", "--html", "report.html"),
)


@pytest.fixture
def worked(pytester):
    text = PAGE.read_text(encoding="utf-8")
    files = re.findall(r"`(my_paper/[\w.]+)`.*?```\w+\n(.*?)```", text, re.DOTALL)
    for name, content in [("my_paper/__init__.py", ""), *files]:
        path = pytester.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return pytester


def cells(folder):
    return json.loads((folder / "report.evidence.json").read_text())["cells"]


def test_the_worked_paper_is_judged_planned_and_held_to_its_own_expectations(worked):
    plan = worked.runpytest_subprocess(*JUDGE, "--plan")
    plan.stdout.fnmatch_lines(["*activation patching heads denoising all*", "*heads noising all*"])
    worked.runpytest_subprocess(*JUDGE, "--write-expect", "expected.json", "--xfail-refuted")
    (cell,) = cells(worked.path)
    assert cell["claim"]["name"] == "my_paper/mirror"
    assert cell["decision"]["verdict"] in ("supported", "refuted", "inconclusive")
    assert "my_paper.positions=all" in cell["command"]
    held = worked.runpytest_subprocess(*JUDGE, "--expect", "expected.json")
    assert held.ret == 0
    held.stdout.fnmatch_lines(["*1 as expected*", "*nothing measured again*"])


def test_its_setting_makes_other_measurements_and_a_wrong_one_is_one_line(worked):
    worked.runpytest_subprocess(*JUDGE, "--xfail-refuted")
    before = cells(worked.path)[0]["measurements"]
    other = "--set", "my_paper.positions=last"
    worked.runpytest_subprocess(*JUDGE, "--xfail-refuted", *other)
    after = cells(worked.path)[0]["measurements"]
    assert before["pair scores"] == after["pair scores"]
    assert any("noising last" in role for role in after)
    wrong = worked.runpytest_subprocess(*JUDGE, "--set", "my_paper.positions=some")
    wrong.stderr.fnmatch_lines(["ERROR: --set my_paper.positions=some, but should be all or last*"])


def test_it_is_measured_by_processes_as_by_the_run_itself(worked):
    worked.runpytest_subprocess(*JUDGE, "--xfail-refuted")
    own = cells(worked.path)
    where = "--store", "other", "--executor", "processes", "--workers", "1"
    worked.runpytest_subprocess(*JUDGE, "--xfail-refuted", *where)
    assert [cell["decision"] for cell in cells(worked.path)] == [c["decision"] for c in own]
    assert cells(worked.path)[0]["measurements"] == own[0]["measurements"]

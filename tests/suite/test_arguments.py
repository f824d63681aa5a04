"""What a command line may ask of the suite: one line where it cannot be, and no file replaced."""

import os
import shutil

import pytest

import claims.instruction_vectors.published.audit  # noqa: F401 - once, so that its classes outlive each run
from ivevidence import read_evidence
from ivfixtures.suite.packs import CLAIMS_FOLDER, packs_at, path_of_module
from tests.running import printed, write_tasks

AUDIT = ("--pyargs", "claims.instruction_vectors.test_published_audit", "-p", "no:cacheprovider")
FEW = ("-k", "olmo2-published-all")
TINY = ("--pyargs", "claims.instruction_vectors.test_behaviour", "--checkpoint", "tiny-olmo2-sft")
CLAIM = """
from claims.instruction_vectors.published.cell import PublishedTables
from ivfixtures.suite.claims import claim
from ivfixtures.suite.papers import Paper

PAPER = Paper("made_up", "a paper", "0000.00000")
CLAIM = PAPER.claim(
    "it", level="L0", title="so", section="1", quote="so it is", estimand="what", rule="how"
)

@claim(CLAIM, on=PublishedTables())
def test_it(cell):
    {line}
"""


def refused(result):
    """The one line that a run was refused with."""
    assert result.ret == pytest.ExitCode.USAGE_ERROR, printed(result)
    (line,) = (text for text in result.errlines if text)
    return line


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--tasks", ""], "--tasks='', but should be filled in"),
        (["--store", " "], "--store=' ', but should be filled in"),
        (["--checkpoint", ""], "--checkpoint='', but should be filled in"),
        (["--html", ""], "--html='', but should be filled in"),
        (["--store", "file"], "--store=file, but should be a folder"),
        (["--store", "file/in"], "--store=file/in, but should be a folder"),
        (["--store", "s\udcff"], "--store='s\\udcff', but should be UTF-8"),
        (["--html", "s\udcff/c.html"], "--html='s\\udcff/c.html', but should be UTF-8"),
        (["--checkpoint", "s\udcff"], "--checkpoint='s\\udcff', but should be UTF-8"),
        (["--tasks", "s\udcff"], "--tasks='s\\udcff', but should be UTF-8"),
        (["--html", "claims.evidence.json"], "but should be a name that ends in .html"),
        (["--write-expect", "reports/claims.html"], "but should be another file than the report"),
        (["--write-expect", "reports/../reports/claims.evidence.json"], "than its evidence"),
        (["--write-expect", "old.evidence.json"], "another file than a page or evidence"),
        (["--junit-xml", "reports/claims.evidence.json"], "--junit-xml="),
        (["--write-expect", "x", "--junit-xml", "x"], "another file than --write-expect"),
        (["-p", "no:html"], "plugin html=missing, but should be loaded"),
    ],
)
def test_what_says_nothing_or_replaces_a_file_is_one_line(pytester, options, line):
    (pytester.path / "file").write_text("")
    assert line in refused(pytester.runpytest_inprocess(*AUDIT, *options))


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--memory-budget", "inf"], "--memory-budget=inf, but should be above 0 GiB and finite"),
        (["--memory-budget", "nan"], "--memory-budget=nan, but should be above 0 GiB and finite"),
        (["--tasks", "deep"], "TOML="),
    ],
)
def test_what_cannot_be_measured_with_is_one_line(pytester, options, line):
    write_tasks(pytester.path / "deep")
    (pytester.path / "deep" / "tasks.toml").write_text("x = " + "[" * 50_000)
    assert line in refused(pytester.runpytest_inprocess(*TINY, *options))


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("others.orders=1", "pack=others, but should be one of instruction_vectors [--set others]"),
        ("instruction_vectors.order=1", "setting=order, but should be one of orders, path_k, max_"),
        ("instruction_vectors.orders=3", ".orders=3, but should be one of 1 or 1,2 or 1,2,3 [comm"),
        ("instruction_vectors.path_k=0,1", ".path_k=0,1, but should be different numbers from 1"),
        ("instruction_vectors.path_k=2,2", ".path_k=2,2, but should be different numbers from 1"),
        ("instruction_vectors.path_k=1,01", ".path_k=1,01, but should be different numbers"),
        ("instruction_vectors.path_k=" + "9" * 5000, "but should be different numbers"),
        ("instruction_vectors.max_paths=0", ".max_paths=0, but should be a number from 1 on"),
        ("instruction_vectors.path_granularity=all", "=all, but should be one of merged, head"),
        ("orders=1", "--set=orders=1, but should be PACK.NAME=VALUE [command line]"),
        ("", "--set='', but should be filled in"),
        ("instruction_vectors.orders=\x1b[31m", "but should be one of 1 or 1,2"),
    ],
)
def test_what_cannot_be_set_is_one_line_before_anything_is_measured(pytester, given, line):
    said = refused(pytester.runpytest_inprocess(*TINY, "-p", "no:cacheprovider", "--set", given))
    assert line in said
    assert len(said) < 500
    assert said.isprintable()
    assert not (pytester.path / ".ivclaims").exists()


OTHER = ["--set", "instruction_vectors.orders=1,2"]


@pytest.mark.parametrize("twice", [["--set", "instruction_vectors.orders=1"], ["--orders", "1"]])
def test_what_is_set_twice_is_one_line(pytester, twice):
    options = (*TINY, "-p", "no:cacheprovider", "-W", "default")
    line = refused(pytester.runpytest_inprocess(*options, *OTHER, *twice))
    assert "--set instruction_vectors.orders=given twice, but should be given once" in line


def test_the_option_of_before_is_the_setting_and_says_so(pytester):
    cells = []
    for words in (["--orders", "1", "--max-paths", "9"], ["--set", "instruction_vectors.orders=1"]):
        options = (*TINY, "-p", "no:cacheprovider", "-W", "default", "--samples", "4")
        result = pytester.runpytest_inprocess(*options, "-k", "adj_ant-ia", *words)
        told = "OldOptionWarning: --orders is now --set instruction_vectors.orders=1; it goes with"
        assert (told in printed(result)) == ("--orders" in words)
        (cell,) = read_evidence(pytester.path / "reports" / "claims.evidence.json").cells
        cells.append(cell)
    before, now = cells
    assert before.parameters == now.parameters | {"instruction_vectors.max_paths": "9"}
    assert now.parameters["instruction_vectors.orders"] == "1"
    assert before.command.replace("max_paths=9 ", "max_paths=2000000 ") == now.command
    assert before.measurements == now.measurements


def test_a_claim_that_no_paper_made_is_one_line(pytester):
    made = CLAIM.format(line="pass").replace("CLAIM, on", "replace(CLAIM, name='it'), on")
    (pytester.path / "test_one.py").write_text("from dataclasses import replace\n" + made)
    line = refused(pytester.runpytest_inprocess(*AUDIT, "test_one.py"))
    assert "claim=it, but should be made by its paper" in line


@pytest.mark.parametrize("options", [["--collect-only"], ["--fixtures"], ["-k", "nothing"]])
def test_without_a_cell_the_files_of_an_earlier_run_stay(pytester, options):
    files = [pytester.path / name for name in ("reports/claims.html", "e.json")]
    files.append(files[0].with_name("claims.evidence.json"))
    files[0].parent.mkdir()
    for path in files:
        path.write_text("of an earlier run")
    result = pytester.runpytest_inprocess(*AUDIT, "--write-expect", "e.json", *options)
    assert [path.read_text() for path in files] == ["of an earlier run"] * 3
    assert result.ret == (pytest.ExitCode.NO_TESTS_COLLECTED if "-k" in options else 0)
    assert "html report" not in printed(result)


def test_every_page_has_evidence_of_its_own(pytester):
    for name in ("one.html", "two.html"):
        pytester.runpytest_inprocess(*AUDIT, *FEW, "--html", name)
    left = {path.name for path in pytester.path.glob("*.*")} - {"assets"}
    assert left == {"one.html", "two.html", "one.evidence.json", "two.evidence.json"}


@pytest.mark.parametrize(
    "options", [["-p", "no:xdist"], ["-o", "python_files=check_*.py"], ["-o", "python_functions=x"]]
)
def test_claims_are_collected_whatever_a_project_has_set(pytester, options):
    result = pytester.runpytest_subprocess(*AUDIT, *FEW, "--strict-markers", *options)
    result.assert_outcomes(failed=1, deselected=48)  # refuted


def test_a_copy_of_the_claims_is_one_line(pytester):
    shutil.copytree(CLAIMS_FOLDER, pytester.path / "claims")
    for named in ("claims", "claims/instruction_vectors/test_behaviour.py::test_behaviour"):
        line = refused(pytester.runpytest_inprocess(named))
        assert "but should be the claims that are installed" in line
        assert "pytest --pyargs claims" in line


@pytest.mark.parametrize(
    "text", ["PAPER = 'A4'\n", "import ivfixtures\n", "# PAPER of ivfixtures\n", None]
)
def test_other_projects_files_make_no_pack(tmp_path, text):
    """Every pytest session of an environment looks at what its command line names."""
    (tmp_path / "pack").mkdir()
    file = tmp_path / "pack" / "paper.py"
    if text is None:
        os.mkfifo(file)  # whoever opens it waits for ever
    else:
        file.write_text(text)
    assert packs_at(tmp_path) == ()
    assert packs_at(tmp_path / "x" / ("y" * 5000)) == ()


@pytest.mark.parametrize("name", ["__main__", "no_such_module.at_all", "os.path", "9", "a/b.c"])
def test_names_that_are_no_packages_have_no_folder(name):
    assert path_of_module(name) is None


def test_a_pack_is_found_from_its_folder_its_files_and_above(tmp_path):
    pack = tmp_path / "my_claims"
    pack.mkdir()
    (pack / "paper.py").write_text("from ivfixtures.suite.papers import Paper\n\nPAPER = Paper()\n")
    for path in (tmp_path, pack, pack / "test_one.py"):
        assert packs_at(path) == (pack,)
    assert packs_at(tmp_path.parent) == ()


def test_two_cells_of_one_name_are_refused(pytester):
    for name in ("one", "two"):
        path = pytester.path / f"test_{name}.py"
        path.write_text(CLAIM.format(line="pass"))
    line = refused(pytester.runpytest_inprocess(*AUDIT, "test_one.py", "test_two.py"))
    assert "test_one.py::test_it[" in line
    assert "test_two.py::test_it[" in line


def test_what_is_refused_in_one_line_prints_that_line_alone(pytester):
    raised = 'raise ValueError("chat=\\x1b[31m, but should be plain [here]; mend it")'
    (pytester.path / "test_one.py").write_text(CLAIM.format(line=raised))
    result = pytester.runpytest_inprocess(*AUDIT, "test_one.py", "-k", "test_it and published-all")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "chat=\\x1b[31m, but should be plain [here]; mend it" in result.outlines
    assert "Error" not in printed(result).replace("errors are", "")


@pytest.mark.parametrize(
    ("named", "options"),
    [
        (AUDIT[:2], ["-n", "1", "--dist", "loadgroup"]),
        ([str(CLAIMS_FOLDER / "instruction_vectors" / "test_published_audit.py")], []),
    ],
)
def test_names_of_cells_are_the_same_from_every_folder(pytester, named, options):
    pytester.runpytest_subprocess(*named, *AUDIT[2:], *FEW, *options, "--junit-xml", "j.xml")
    junit = (pytester.path / "j.xml").read_text()
    assert 'classname="claims.instruction_vectors.test_published_audit"' in junit
    assert 'name="test_published_audit[olmo2-published-all]"' in junit

"""The documentation's examples run, its links lead somewhere, its options exist."""

import re
import shlex
import sys
import textwrap
from pathlib import Path
from types import ModuleType
from unittest import mock

import numpy as np
import pytest

from benchmarks import results
from ivevidence import Store, read_evidence, write_evidence
from ivevidence.compare.command_line import main
from ivfixtures.checkpoints.resolving import resolve
from ivfixtures.data.instructed import InstructedData
from ivfixtures.data.tasks import load_tasks
from ivfixtures.measuring.measurements import Measurements
from ivfixtures.measuring.requests import Request
from ivfixtures.suite import unseen
from tests.evidence_examples import example_cells
from tests.evidence_levels import unbacked
from tests.running import OPTIONS, printed
from tests.worked_pack import worked_claim, worked_pack

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WORKFLOW = ROOT / "docs" / "github-actions.yml"


# ------------------------------------------------------------------------------- the worked claim


@pytest.fixture
def digest():
    """The claim that the documentation goes through, as a module."""
    return worked_claim()


@pytest.fixture
def judged(pytester):
    """Judge the worked pack as its readers do; gives the evidence."""
    folder = pytester.mkpydir("my_claims")
    for name, text in zip(("paper.py", "test_digest.py"), worked_pack(), strict=True):
        (folder / name).write_text(text)
    options = ("--checkpoint", "tiny-olmo2-planted-sft", "-k", "adj_ant", "--samples", "20")

    def run(*words):
        words = words or ("my_claims", *options)
        result = pytester.runpytest_inprocess(*words, "-p", "no:cacheprovider")
        assert result.ret == 0, printed(result)
        return read_evidence(pytester.path / "reports" / "claims.evidence.json")

    run.options = options
    return run


def draws(cell):
    """How many random vectors a cell's table of controls is of."""
    (table,) = cell.controls
    (count,) = (row[1] for row in table.rows if row[0] == "norm-matched random vectors")
    return count


def test_what_is_set_is_in_keys_parameters_and_the_command_that_judges_the_same(judged):
    plain, few = judged(), judged("my_claims", *judged.options, "--set", "my_claims.draws=5")
    # The controls alone are others, and those of the two metrics may be the same.
    assert 1 <= few.run["measured"] <= 2
    for one, other in zip(plain.cells, few.cells, strict=True):
        assert (draws(one), draws(other)) == (10, 5)
        draws_set = [cell.parameters["my_claims.draws"] for cell in (one, other)]
        assert draws_set == ["10", "5"]
        assert "--set my_claims.draws=10" in one.command
        assert one.decision == other.decision
    again = judged(*shlex.split(other.command)[1:])
    (cell,) = again.cells
    assert (cell.cell_id, cell.decision) == (other.cell_id, other.decision)
    assert cell.measurements == other.measurements
    assert (cell.parameters, cell.command) == (other.parameters, other.command)
    assert again.run["measured"] == 0


def test_the_worked_pack_is_judged_as_it_stands(judged):
    evidence = judged()
    assert not evidence.errors
    assert [(cell.task, cell.metric) for cell in evidence.cells] == [
        ("adj_ant", "rr"),
        ("adj_ant", "logit"),
    ]
    for cell in evidence.cells:
        assert (cell.claim.name, unbacked(cell)) == ("my_claims/digest", [])
        assert shlex.split(cell.command)[1].startswith("my_claims/test_digest.py::test_digest[")
        (share,) = cell.decision.criteria
        assert (cell.decision.verdict, share.threshold, share.n) == ("supported", 0.5, 15)
        assert [figure.title for figure in cell.figures] == [
            f"Effect on {cell.metric}",
            f"Specific effect on {cell.metric}",
        ]


def test_the_worked_claim_is_rarely_supported_without_an_effect(digest):
    generator, verdicts = np.random.default_rng(0), []
    for _ in range(500):
        specific, half = generator.normal(size=(100, 6)), generator.permutation(100) < 50
        chosen = digest["discover"](specific, is_discovery=half)
        verdicts.append(digest["decide"](specific[:, chosen], is_discovery=half).verdict)
    assert verdicts.count("supported") <= 0.05 * len(verdicts)


def test_the_worked_claim_is_supported_where_there_is_an_effect(digest):
    generator = np.random.default_rng(0)
    specific, half = generator.normal(size=(100, 6)), generator.permutation(100) < 50
    specific[:, 3] += 1
    assert digest["discover"](specific, is_discovery=half) == 3
    assert digest["decide"](specific[:, 3], is_discovery=half).verdict == "supported"


def test_the_worked_method_is_measured_once(tmp_path):
    page = (ROOT / "docs" / "adding-a-method.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    module = ModuleType("norms")
    with mock.patch.dict(sys.modules, norms=module):
        exec(compile(text, "norms.py", "exec"), vars(module))
    data = InstructedData(resolve("tiny-olmo2-sft"), load_tasks()["adj_ant"], OPTIONS)
    measurements = Measurements(Store(tmp_path), device="cpu", dtype="float32")
    one, again, twice = (
        measurements.get(Request(data, module.Norms(factor))).arrays["norms"]
        for factor in (1.0, 1.0, 2.0)
    )
    assert measurements.store.measured == 2
    assert (one > 0).all()
    np.testing.assert_array_equal(one, again)
    np.testing.assert_allclose(twice, 2 * one)


# ------------------------------------------------------------------------------- other examples


def test_the_digest_of_evidence_can_be_checked_as_the_page_says(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"((?: {4}.*\n)+)", page[page.index("    import hashlib") :])[:1]
    path = tmp_path / "reports" / "claims.evidence.json"
    path.parent.mkdir()
    write_evidence(path, example_cells()[:2])
    monkeypatch.chdir(tmp_path)
    exec(textwrap.dedent(lines), {})
    path.write_text(path.read_text().replace("tiny", "tidy", 1))
    with pytest.raises(AssertionError):
        exec(textwrap.dedent(lines), {})


# ------------------------------------------------------------------------------- links and options


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", link):
            continue
        path, _, heading = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if heading:
            found = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in found}


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    lacking = {page.name for page in PAGES[1:]} - set(re.findall(r"\]\(([\w.-]+)\)", index))
    assert lacking == {"README.md"}


@pytest.mark.parametrize("family", results.FAMILIES)
def test_the_results_page_shows_what_is_tracked(family):
    cells = results.read_cells(ROOT / "reports" / "baselines" / f"{family}.json")
    tables = "\n".join([results.counts(cells), *results.tables_of(cells)])
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert f"<!-- {family} -->\n\n{tables}\n<!-- end of {family} -->\n" in page


def test_options_in_commands_exist(pytester, capsys):
    known = {"pytest": options_in("\n".join(pytester.runpytest_inprocess("--help").outlines))}
    for name in ("diff", "history", "report"):
        with pytest.raises(SystemExit):
            main([name, "--help"])
        known[name] = options_in(capsys.readouterr().out)
    used = {name: set() for name in known}
    for page in [*PAGES, WORKFLOW]:
        for name, options in commands(page.read_text(encoding="utf-8")):
            assert options <= known[name], (page, name)
            used[name] |= options
    assert {"--html"} <= used["diff"] & used["history"] & used["report"]
    assert used["pytest"] >= {
        "--expect",
        "--write-expect",
        "--shard",
        "--junit-xml",
        "-n",
        "--dist",
    }


def test_the_workflow_is_yaml_with_shards_that_fit():
    yaml = pytest.importorskip("yaml")
    workflow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    assert WORKFLOW.read_text(encoding="utf-8").count("\n  compare:") == 1  # YAML keeps the last
    jobs = workflow["jobs"]
    parts = jobs["judge"]["strategy"]["matrix"]["part"]
    assert parts == list(range(1, len(parts) + 1))
    assert len(parts) <= workflow["env"]["CHECKPOINTS"].count("--checkpoint")
    assert jobs["compare"]["needs"] == "judge"
    compared = re.findall(r"evidence-(\d)", WORKFLOW.read_text(encoding="utf-8"))
    assert sorted(compared) == [str(part) for part in parts]
    for job in jobs.values():
        assert all(("uses" in step) != ("run" in step) for step in job["steps"])


def options_in(text):
    """Options that a text names, with one dash or two."""
    return set(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", text))


def commands(text):
    """Commands of pytest and of ours in blocks of code: which, and the options it is given."""
    joined = re.sub(r"\\\n\s*", " ", text)
    for line in joined.splitlines():
        match = re.match(r" +(?:OMP_NUM_THREADS=\d )?(?:python -m ivevidence (\w+)|pytest) ", line)
        if match:
            words = shlex.split(line[match.end() :])
            yield match[1] or "pytest", {w.partition("=")[0] for w in words if options_in(w)}


def test_the_falls_that_go_unseen_are_those_that_the_command_prints():
    assert unseen.table() in (ROOT / "docs" / "expectations.md").read_text(encoding="utf-8")

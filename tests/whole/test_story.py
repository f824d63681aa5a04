"""A lab's week, through the command line: baseline, new checkpoint, difference, history, shards."""

import subprocess
import sys

import pytest

from ivevidence import read_evidence
from tests.running import SINGLES, shown

STAGES = ("base", "sft", "dpo")
CHECKPOINTS = [f"tiny-olmo2-{stage}" for stage in STAGES]
CLAIMS = (
    "claims.instruction_vectors.test_behaviour",
    "claims.instruction_vectors.test_localization",
)
OPTIONS = ("--samples", "12", *SINGLES, "-p", "no:cacheprovider", "-o", "addopts=")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="module")
def run(folder):
    """Run `python -m MODULE ...` in the lab's folder."""

    def run(module, *arguments):
        command = [sys.executable, "-m", module, *map(str, arguments)]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="module")
def judge(run):
    def judge(name, *options):
        return run(
            *("pytest", "--pyargs", *CLAIMS, *OPTIONS, "--html", f"{name}/claims.html", *options)
        )

    return judge


@pytest.fixture(scope="module")
def stages(judge, folder):
    """Base, judged and written down; sft and dpo, held to it."""
    found = {"base": judge("base", "--checkpoint", CHECKPOINTS[0], "--write-expect", "base.json")}
    for stage, checkpoint in zip(STAGES[1:], CHECKPOINTS[1:], strict=True):
        found[stage] = judge(stage, "--checkpoint", checkpoint, "--expect", "base.json")
    return found


@pytest.fixture(scope="module")
def verdicts(folder, stages):
    def read(stage):
        cells = read_evidence(folder / stage / "claims.evidence.json").cells
        return {cell.name[1]: cell.decision.verdict for cell in cells}

    return {stage: read(stage) for stage in STAGES}


def test_the_new_checkpoint_fails_with_the_right_cells(stages, verdicts):
    base, sft = verdicts["base"], verdicts["sft"]
    changed = {question for question in base if base[question] != sft[question]}
    # The base model does not follow it, sft does.
    assert "instruction_vectors/behaviour[adj_comp-ia]" in changed
    assert changed != base.keys()
    result = stages["sft"]
    assert result.returncode == 1
    lines = result.stdout.splitlines()
    told = [line for line in lines if line.startswith("  changed: ")]
    # Whether the instruction is followed is behaviour's question: the other claim follows it.
    gated = {
        question.replace("/behaviour[", "/localization[").replace("-ia", "-rr")
        for question in changed
        if question.startswith("instruction_vectors/behaviour[")
    }
    own = changed - gated
    assert len(told) == len(own)
    for question in own:
        claim, inside = question.removesuffix("]").split("[")
        said = f"  changed: {claim}[tiny-olmo2-sft-{inside}]: {base[question]} -> {sft[question]}"
        assert said in told
    assert f"{len(own)} failed" in lines[-1]
    assert "(tiny-olmo2-sft in the place of tiny-olmo2-base)" in result.stdout


def test_a_run_of_the_same_checkpoint_is_as_expected(judge):
    result = judge("again", "--checkpoint", CHECKPOINTS[0], "--expect", "base.json")
    assert result.returncode == 0, result.stdout
    assert "8 as expected" in result.stdout
    assert "nothing measured again" in result.stdout


def test_diff_says_what_changed_and_fails(run, folder, verdicts):
    result = run("ivevidence", "diff", "base", "sft", "--html", "diff.html")
    assert result.returncode == 1, result.stderr
    base, sft = verdicts["base"], verdicts["sft"]
    page = (folder / "diff.html").read_text()
    for question, before in base.items():
        if before != sft[question]:
            assert question.split("[")[0] in result.stdout
    assert "behaviour" in page
    same = run("ivevidence", "diff", "base", "again/claims.evidence.json", "--html", "same.html")
    assert same.returncode == 0, same.stdout


def test_history_follows_the_stages_in_order(run, folder, verdicts):
    result = run("ivevidence", "history", *STAGES, "--html", "history.html")
    assert result.returncode == 0, result.stderr
    places = [result.stdout.index(checkpoint) for checkpoint in CHECKPOINTS]
    assert places == sorted(places)
    page = (folder / "history.html").read_text()
    assert page.count("<svg") >= len(verdicts["base"])


def test_the_report_is_rebuilt_from_shards(judge, run, folder):
    family = ["--family", "tiny-olmo2", "--store", ".ivclaims"]
    whole = judge("whole", *family, "--xfail-refuted")
    assert whole.returncode == 0, whole.stdout
    for part in (1, 2, 3):
        judge(f"shard{part}", *family, "--shard", f"{part}/3")
    result = run("ivevidence", "report", "shard1", "shard2", "shard3", "--html", "merged/c.html")
    assert result.returncode == 0, result.stderr
    evidence = read_evidence(folder / "whole" / "claims.evidence.json")
    same = run("ivevidence", "diff", "whole", "merged", "--html", "shards.html")
    assert same.returncode == 0, same.stdout
    page = shown(folder / "merged" / "c.html")
    for cell in evidence.cells:
        anchor = cell.cell_id.replace("[", "--").rstrip("]")
        assert f'id="cell-{anchor}"' in page
        assert cell.decision.reason.replace(">", "&gt;") in page
    assert len(evidence.cells) == 24

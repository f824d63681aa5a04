"""The embedded checkpoints, judged in processes of their own: slow, but what users run."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ivevidence import read_evidence

pytestmark = pytest.mark.slow
FAST = ["--samples", "40", "--set", "instruction_vectors.orders=1,2"]


def command(folder, *options):
    words = [sys.executable, "-m", "pytest", "--pyargs", "claims", "-p", "no:cacheprovider"]
    return [*words, "--xfail-refuted", "--store", str(folder / "store"), *options]


def judged(folder, *options):
    """Verdict and evidence of every cell, from one run in `folder`."""
    folder.mkdir(exist_ok=True)
    result = subprocess.run(command(folder, *options), cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return read_evidence(folder / "reports" / "claims.evidence.json")


def content(evidence):
    """Everything that must not depend on how a run was cut up: all but the seconds it took."""
    cells = [cell.to_json() for cell in evidence.cells]
    for cell in cells:
        cell["provenance"].pop("seconds")
    return cells


def test_localization_is_found_where_it_is_true_by_construction_and_not_on_base(tmp_path):
    options = ["--family", "tiny-olmo2-planted", "-k", "localization"]
    verdicts = {
        (cell.stage, cell.task): cell.decision for cell in judged(tmp_path / "run", *options).cells
    }
    assert len(verdicts) == 12
    for (stage, _), decision in verdicts.items():
        if stage == "base":
            assert decision.verdict != "supported"
        elif "no headroom" not in decision.reason:
            assert decision.verdict == "supported", decision


def test_two_workers_give_the_evidence_of_one_process_bit_for_bit(tmp_path):
    options = ["--checkpoint", "tiny-olmo2-sft", "--checkpoint", "tiny-olmo2-planted-sft", *FAST]
    one = judged(tmp_path / "one", *options)
    two = judged(tmp_path / "two", *options, "-n", "2", "--dist", "loadgroup")
    assert content(one) == content(two)
    assert one.run["measured"] == two.run["measured"]


def test_a_killed_run_loses_only_what_it_was_measuring(tmp_path):
    folder = tmp_path / "killed"
    folder.mkdir()
    options = ["--checkpoint", "tiny-olmo2-planted-dpo", *FAST]
    process = subprocess.Popen(command(folder, *options), cwd=folder, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while kept(folder) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    survived = kept(folder)
    assert survived >= 5
    again, clean = judged(folder, *options), judged(tmp_path / "clean", *options)
    assert content(again) == content(clean)
    assert again.run["measured"] == clean.run["measured"] - survived


def kept(folder):
    return len(list((folder / "store").glob("*.json")))


def test_the_authors_own_task_files_run(tmp_path):
    tasks = Path(__file__).parents[1].parent.parent / "shared" / "paper" / "tasks"
    if not tasks.is_dir():
        pytest.skip("the authors' task files are not here")
    options = ["--checkpoint", "tiny-olmo2-planted-sft", "--tasks", str(tasks), *FAST]
    evidence = judged(tmp_path / "run", *options)
    assert not evidence.errors
    localized = [
        cell for cell in evidence.cells if cell.claim.name == "instruction_vectors/localization"
    ]
    assert {cell.task for cell in localized} == {"adj_comp", "adj_ant", "anim_color", "can_fly"}
    notes = [note for cell in evidence.cells for note in cell.notes if cell.task == "adj_ant"]
    assert any("quiet" in note for note in notes)

"""A training run: a folder of checkpoints that are judged in the order of their steps."""

import shutil

import pytest

from ivevidence import read_evidence
from ivevidence.history import histories
from ivfixtures.checkpoints import CheckpointError, expand, resolve
from ivfixtures.options import _chosen


@pytest.fixture
def run(checkpoint, tmp_path):
    """Steps 2, 10 and 9, under the names that trainers give, and a folder that is none."""
    folder = tmp_path / "my-run"
    for name in ("step-2", "step-10", "step9"):
        shutil.copytree(checkpoint, folder / name)
    (folder / "logs").mkdir()
    (folder / "step-11").write_text("not a folder")
    return folder


def test_a_run_is_its_checkpoints_in_the_order_of_steps(run):
    found = expand(str(run))
    assert [checkpoint.name for checkpoint in found] == [
        str(run / name) for name in ("step-2", "step9", "step-10")
    ]
    assert {checkpoint.family for checkpoint in found} == {str(run)}
    assert len({checkpoint.label for checkpoint in found}) == 3


def test_a_checkpoint_is_itself_whatever_lies_beside_it(run, checkpoint):
    assert expand("tiny-olmo2-sft") == (resolve("tiny-olmo2-sft"),)
    assert expand(str(run / "step-2")) == (resolve(str(run / "step-2")),)
    shutil.copytree(checkpoint, run, dirs_exist_ok=True)
    assert expand(str(run)) == (resolve(str(run)),)


def test_a_run_makes_one_family(run):
    checkpoints, families = _chosen([str(run), "tiny-olmo2-sft"], [])
    assert families[str(run)] == expand(str(run))
    assert set(families) == {str(run), "tiny-olmo2-sft"}
    assert len(checkpoints) == 4


@pytest.mark.parametrize("name", ["", "no/such/folder", "~nobody-here/x", "a\0b", "tiny-olmo3"])
def test_what_is_no_run_is_refused_as_a_checkpoint_is(name, tmp_path, monkeypatch):
    (tmp_path / "step-1").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError) as whole:
        expand(name)
    with pytest.raises(CheckpointError) as single:
        resolve(name)
    assert str(whole.value) == str(single.value)


def test_two_folders_of_one_step_are_one_line(run):
    shutil.copytree(run / "step9", run / "checkpoint-9")
    with pytest.raises(CheckpointError, match="step 9=checkpoint-9 and step9, but should be one"):
        expand(str(run))


def test_a_damaged_step_is_named(run):
    (run / "step-10" / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="step-10"):
        expand(str(run))


def test_a_run_is_judged_and_becomes_a_history(run, tasks, pytester):
    pytester.runpytest_inprocess(
        *("--pyargs", "claims.test_behaviour", "--checkpoint", str(run), "--tasks", str(tasks)),
        *("--samples", "8", "-p", "no:cacheprovider"),
    )
    evidence = read_evidence(pytester.path / "reports" / "evidence.json")
    (history,) = histories({"now": evidence})
    steps = [str(run / name) for name in ("step-2", "step9", "step-10")]
    assert [checkpoint for _, checkpoint in history.places] == steps
    assert len(history.traces) == 2

"""A training run: a folder of checkpoints that are judged in the order of their steps."""

import shutil
from types import SimpleNamespace

import pytest

from ivevidence import read_evidence
from ivevidence.compare.history import histories
from ivfixtures.checkpoints.resolving import CheckpointError, digests, expand, resolve
from ivfixtures.suite.options import _chosen


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
        *(
            "--pyargs",
            "claims.instruction_vectors.test_behaviour",
            "--checkpoint",
            str(run),
            "--tasks",
            str(tasks),
        ),
        *("--samples", "8", "-p", "no:cacheprovider"),
    )
    evidence = read_evidence(pytester.path / "reports" / "claims.evidence.json")
    (history,) = histories({"now": evidence})
    steps = [str(run / name) for name in ("step-2", "step9", "step-10")]
    assert [checkpoint for _, checkpoint in history.places] == steps
    assert len(history.traces) == 2


def test_a_run_has_no_stages_to_compare(run, tasks, pytester):
    pytester.runpytest_inprocess(
        *(
            "--pyargs",
            "claims.instruction_vectors.test_stages",
            "--checkpoint",
            str(run),
            "--tasks",
            str(tasks),
        ),
        *("--samples", "8", "-p", "no:cacheprovider", "-k", "adj_ant"),
    )
    evidence = read_evidence(pytester.path / "reports" / "claims.evidence.json")
    assert not evidence.errors
    assert {cell.decision.verdict for cell in evidence.cells} == {"not_applicable"}
    for cell in evidence.cells:
        assert cell.decision.reason.startswith("stages=unknown, but base")


@pytest.fixture
def hub(monkeypatch):
    """A hub whose one checkpoint has these branches and tags; what was asked for is kept."""
    asked = []

    def list_repo_refs(_self, hub_id):
        if hub_id != "org/model":
            raise OSError(f"{hub_id} is not there\nand more lines")
        branches = ["main", "stage1-step1000-tokens3B", "stage1-step90-tokens1B"]
        return SimpleNamespace(
            branches=[SimpleNamespace(name=name) for name in branches],
            tags=[SimpleNamespace(name="stage1-step200-tokens2B")],
        )

    def snapshot_download(hub_id, *, revision, **_):
        asked.append((hub_id, revision))
        raise OSError("offline\nand more lines")

    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_refs", list_repo_refs)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    return asked


def test_revisions_that_fit_a_pattern_are_a_run_in_the_order_of_their_numbers(hub):
    found = expand("org/model@stage1-step*")
    assert [checkpoint.revision for checkpoint in found] == [
        *("stage1-step90-tokens1B", "stage1-step200-tokens2B", "stage1-step1000-tokens3B")
    ]
    assert {checkpoint.source for checkpoint in found} == {"org/model"}
    assert {checkpoint.family for checkpoint in found} == {"org/model@stage1-step*"}
    assert found[0].label == "org--model--stage1-step90-tokens1B"
    assert not hub


def test_a_revision_is_what_is_downloaded(hub):
    one = resolve("org/model@v1.0/a")
    assert (one.name, one.source, one.revision) == ("org/model@v1.0/a", "org/model", "v1.0/a")
    with pytest.raises(CheckpointError, match=r"checkpoint=offline, but .* \[org/model@v1\.0/a\]"):
        digests(one)
    with pytest.raises(CheckpointError, match=r"\[org/model\]"):
        digests(resolve("org/model"))
    assert hub == [("org/model", "v1.0/a"), ("org/model", None)]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("org/model@nothing*", r"revisions=none, but should be some that fit nothing\*"),
        ("org/other@step*", "checkpoint=org/other is not there, but should be a public or cached"),
        ("org/model@", "checkpoint='org/model@'"),
        ("org/model@../x", "checkpoint='org/model@../x'"),
        ("org/model@a b", "checkpoint='org/model@a b'"),
    ],
)
def test_a_wrong_revision_is_one_line(hub, name, line):
    with pytest.raises(CheckpointError, match=line) as refusal:
        expand(name)
    assert "\n" not in str(refusal.value)

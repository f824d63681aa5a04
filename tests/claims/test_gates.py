"""Gates of our claims: each opens and closes where it should, and says why."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from claims.instruction_vectors import gates
from claims.instruction_vectors import test_tinst_path_dominance as dominance
from claims.instruction_vectors.settings import Settings
from ivevidence import read_evidence
from ivfixtures.checkpoints.resolving import load
from ivfixtures.data.instructed import InstructedData
from ivfixtures.data.tasks import load_tasks
from ivfixtures.measuring import measurements
from ivfixtures.measuring.inquiry import Declared, Inquiry
from ivmethods.model.metrics import METRICS
from tests.measured import data_of
from tests.running import OPTIONS, PACK, saved

PAPER = Settings()


def answers(data, valid):
    """Greedy answers, the first of which are valid."""
    return [f" {label}." if i < valid else " ?" for i, label in enumerate(data.labels)]


# Exact lower bounds of 5 % of 8 samples: 0.53 at 7 valid answers, 0.40 at 6.
@pytest.mark.parametrize(("valid", "opens"), [(8, True), (7, True), (6, False), (0, False)])
def test_competence_opens_above_one_half_with_its_lower_bound(valid, opens):
    data = data_of(samples=8)
    closed = gates.COMPETENCE.closed(data, PAPER, answers=answers(data, valid))
    assert gates.COMPETENCE.passable
    if opens:
        assert closed is None
        return
    assert closed.decision.verdict == "not_applicable"
    said = f"tiny-olmo2-sft does not follow the instruction of adj_ant: IA={valid / 8:.2f} (lower"
    assert closed.decision.reason.startswith(said)
    assert closed.decision.reason.endswith("n=8), but should be above 0.5")
    assert closed.decision.gate == "instruction_vectors/behaviour[tiny-olmo2-sft-adj_ant-ia]"
    assert closed.advice == "--measure-anyway measures all the same"


@pytest.mark.parametrize("finds", [True, False])
def test_where_there_is_a_judge_it_says_who_is_competent(finds):
    data = data_of(samples=8)
    found = SimpleNamespace(valid=np.full(8, finds), measurements={})
    data.judge = lambda *_: found
    closed = gates.COMPETENCE.closed(data, PAPER, answers=answers(data, 0 if finds else 8))
    assert (closed is None) == finds


@pytest.mark.parametrize(("gap", "opens"), [(0.1, True), (0.9, True), (0.0999, False), (-1, False)])
def test_headroom_is_the_gap_in_reciprocal_ranks(gap, opens):
    target = np.zeros((len(METRICS), 4))
    instructed = target + np.where(np.array(METRICS) == "rr", gap, 1 - gap)[:, None]
    gate = gates.headroom(0.1)
    runs = {"instructed": instructed, "target": target}
    closed = gate.closed(data_of(), PAPER, runs=runs)
    assert gate.passable
    assert (closed is None) == opens
    if not opens:
        assert closed.decision.verdict == "inconclusive"
        assert closed.decision.reason.startswith(f"no headroom: mean rr gap {gap:.3g}")
        assert closed.per_sample["gap"].tolist() == [gap] * 4
        assert closed.tables


@pytest.mark.parametrize(
    ("orders", "least", "missing"),
    [((1,), 2, "1,2"), ((1, 2), 2, None), ((1, 2, 3), 2, None), ((1, 2), 3, "1,2,3")],
)
def test_orders_that_were_not_patched_are_asked_for(orders, least, missing):
    gate = gates.order(least)
    closed = gate.closed(data_of(), Settings(orders=orders))
    assert not gate.passable
    assert (closed and closed.decision.reason) == (
        missing
        and f"tuples of {least} layers were not patched: --set instruction_vectors.orders={missing}"
    )


def without(task, *names):
    """Data of a task that lacks a contrast or rephrasings, and so do the others named."""
    lacking = {"contrast": None, "contrast_instruction": None, "rephrasings": ()}
    tasks = {n: replace(t, **lacking) if n in names else t for n, t in load_tasks().items()}
    return InstructedData(data_of().checkpoint, tasks[task], replace(OPTIONS, tasks=tasks))


EVERY = (*load_tasks(),)


@pytest.mark.parametrize(
    ("gate", "data", "reason"),
    [
        (gates.CONTRAST, data_of(), None),
        (gates.CONTRAST, without("adj_ant", "adj_ant"), "adj_ant has no contrast instruction to"),
        (gates.REPHRASINGS, data_of(), None),
        (
            gates.REPHRASINGS,
            without("adj_ant", "adj_ant"),
            "adj_ant has no rephrasings: add varied_instructions/adj_ant_rephrased.csv",
        ),
        (
            gates.REPHRASINGS,
            without("adj_ant", *(name for name in EVERY if name != "adj_ant")),
            "no other task has rephrasings that those of adj_ant could be told from",
        ),
        (gates.WEIGHTS_HERE, data_of(), None),
    ],
)
def test_what_a_task_lacks_is_said(gate, data, reason):
    closed = gate.closed(data, PAPER)
    assert not gate.passable
    if reason is None:
        assert closed is None
    else:
        assert closed.decision.verdict == "not_applicable"
        assert closed.decision.reason.startswith(reason)


def elsewhere():
    """Data of a checkpoint that runs on NDIF."""
    data = data_of()
    data.checkpoint = replace(data.checkpoint, remote=True)
    return data


def test_no_copy_with_random_weights_runs_elsewhere():
    closed = gates.WEIGHTS_HERE.closed(elsewhere(), PAPER)
    assert closed.decision.verdict == "not_applicable"
    assert closed.decision.reason.endswith("judge the lead without --remote")


# ------------------------------------------------------- methods that cannot be run on a checkpoint


def test_paths_of_weights_elsewhere_are_not_asked_for():
    asked = []

    def read(request):
        asked.append(request.method.name)
        return answers(request.data, request.data.count)

    (marker,) = dominance.test_tinst_path_dominance.pytestmark
    declared = Declared(marker.kwargs["gates"], marker.kwargs["needs"])
    answer = Inquiry(declared, [elsewhere()], PAPER).ask(read)
    assert answer.closed.decision.verdict == "not_applicable"
    assert answer.closed.decision.reason.startswith("weights=on NDIF, but should be in one place")
    assert asked == ["behaviour"]


@pytest.fixture
def traced(judge, pytester):
    """Judge the claim on paths; its cells."""

    def run(*options):
        only = [f"{PACK}.test_tinst_path_dominance"]
        judge("-k", "adj_ant", "--measure-anyway", *options, only=only)
        found = read_evidence(pytester.path / "reports" / "claims.evidence.json")
        assert not found.errors
        assert len(found.cells) == 2
        return found.cells

    return run


def assert_only_answers_were_measured(cell, said):
    assert cell.decision.verdict == "not_applicable"
    assert cell.decision.reason.startswith(said)
    assert {*cell.measurements} == {"behaviour"}
    assert cell.prompts
    assert [table.title for table in cell.tables] == ["Behaviour"]


def test_paths_through_blocks_of_an_unknown_layout_are_not_applicable(traced, pytester, tmp_path):
    folder = saved("bloom", tmp_path / "bloom")
    for cell in traced("--checkpoint", folder, "-k", "bloom and adj_ant"):
        assert_only_answers_were_measured(cell, "model_type=bloom, but should be one of")
    assert len([*pytester.path.glob(".ivclaims/*.json")]) == 1


def test_paths_of_weights_on_several_devices_are_not_applicable(traced, monkeypatch, tmp_path):
    accelerate = pytest.importorskip("accelerate")

    def spread(checkpoint, **options):
        loaded = load(checkpoint, **options)
        parts = [name for name, _ in loaded.model.model.named_children() if name != "layers"]
        places = dict.fromkeys(["lm_head", *(f"model.{name}" for name in parts)], "cpu")
        places |= {f"model.layers.{i}": "cpu" for i in range(3)} | {"model.layers.1": "disk"}
        model = accelerate.dispatch_model(
            loaded.model, places, main_device="cpu", offload_dir=tmp_path / "disk"
        )
        return replace(loaded, model=model)

    monkeypatch.setattr(measurements, "load", spread)
    for cell in traced():
        assert_only_answers_were_measured(cell, "weights=on several devices or on disk, but should")
        assert any("gate of competence" in note for note in cell.notes)

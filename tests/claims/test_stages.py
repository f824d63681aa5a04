"""The claims on stages and behaviour as their users run them, on small checkpoints."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import ivfixtures
from claims.instruction_vectors.stages import comparable, lacking, stages
from ivevidence import read_evidence
from ivfixtures.data import instructed
from ivfixtures.measuring import measurements
from ivfixtures.measuring.measurements import model_of
from ivmethods.errors import PromptError
from tests.running import PACK

DATA = Path(ivfixtures.__file__).parent / "data"
FAMILY = ("--checkpoint", "tiny-olmo2-base", "--checkpoint", "tiny-olmo2-sft")
WHOLE = (*FAMILY, "--checkpoint", "tiny-olmo2-dpo")


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """The two packaged tasks on adjectives, with 12 rephrasings each: probes are fast."""
    folder = tmp_path_factory.mktemp("tasks")
    varied = folder / "varied_instructions"
    varied.mkdir()
    shutil.copy(DATA / "adjectives.csv", folder)
    for name in ("adj_comp", "adj_ant"):
        file = f"{name}_rephrased.csv"
        lines = (DATA / varied.name / file).read_text(encoding="utf-8").splitlines()
        (varied / file).write_text("\n".join(lines[:13]) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def judge(pytester, tasks, tmp_path_factory):
    """Judge one claim on 8 samples of one task; the store is shared by the tests of this file."""
    store = tmp_path_factory.getbasetemp() / "store"

    def run(claim, *options, cells="adj_comp"):
        pytester.runpytest_inprocess(
            *("--pyargs", f"{PACK}.test_{claim}", "--samples", "8"),
            *("--set", "instruction_vectors.orders=1,2", "-k", cells),
            *("--store", str(store), "--xfail-refuted", "-p", "no:cacheprovider"),
            *("--tasks", str(tasks), *options),
        )
        return read_evidence(pytester.path / "reports" / "claims.evidence.json").cells

    return run


@pytest.fixture
def loads(monkeypatch):
    """Names of the checkpoints whose models were used, in turn: one is in memory at a time."""
    found = []

    def using(checkpoint, *how):
        found.extend([checkpoint.name] if found[-1:] != [checkpoint.name] else [])
        return model_of(checkpoint, *how)

    monkeypatch.setattr(measurements, "model_of", using)
    return found


def by_metric(cells):
    return {cell.metric: cell for cell in cells}


def test_a_family_is_compared_stage_by_stage_and_each_model_is_loaded_once(judge, loads):
    cells = judge("stages", *WHOLE, "--measure-anyway", cells="adj_comp-resemblance")
    (cell,) = cells
    assert loads == ["tiny-olmo2-base", "tiny-olmo2-sft", "tiny-olmo2-dpo"]
    assert (cell.checkpoint, cell.stage) == ("tiny-olmo2", "base, sft, dpo")
    maps, bars = cell.figures
    assert [panel["title"] for panel in maps.data["panels"]] == ["base", "sft", "dpo"]
    assert list(bars.data["categories"]) == ["base", "sft", "dpo"]
    table = cell.tables[0]
    assert [row[:3] for row in table.rows[:3]] == [
        ("effect", "base", "sft"),
        ("effect", "base", "dpo"),
        ("effect", "sft", "dpo"),
    ]
    assert "15 non-degenerate" in table.caption
    assert {row[1] for row in cell.tables[1].rows} == {"base", "sft", "dpo"}


def test_presence_is_judged_at_every_stage_by_the_claims_own_rule(judge):
    cells = judge("stages", *WHOLE, "--measure-anyway", cells="adj_comp and not resemblance")
    found = by_metric(cells)
    for metric in ("superadditivity", "separability"):
        rows = found[metric].tables[0].rows
        assert [row[0] for row in rows] == ["base", "sft", "dpo"]
        verdicts = {row[1] for row in rows}
        expected = next((v for v in ("refuted", "inconclusive") if v in verdicts), "supported")
        assert found[metric].decision.verdict == expected
    lines = found["separability"].figures[0]
    assert [series["name"] for series in lines.data["series"]] == ["base", "sft", "dpo"]
    assert {c.name.split(":")[0] for c in found["separability"].decision.criteria} == {
        *("base", "sft", "dpo")
    }


def test_a_stage_that_does_not_follow_the_instruction_is_named_before_any_sweep(judge, loads):
    cells = judge("stages", *WHOLE, cells="adj_comp-resemblance")
    (cell,) = cells
    assert cell.decision.verdict == "not_applicable"
    assert cell.decision.reason.startswith("tiny-olmo2-base does not follow the instruction")
    assert not any("sweep" in role for role in cell.measurements)


def test_a_single_checkpoint_is_not_applicable(judge, loads):
    cells = judge("stages", "--checkpoint", "tiny-olmo2-sft")
    assert {cell.decision.verdict for cell in cells} == {"not_applicable"}
    reasons = {cell.metric: cell.decision.reason for cell in cells}
    assert reasons["resemblance"].startswith("stages=sft, but base, sft, dpo are compared")
    assert reasons["separability"].startswith("stages=sft, but base is compared with sft, dpo")
    assert "name a family" in reasons["superadditivity"]


def test_base_and_one_post_trained_stage_are_enough_for_presence(judge):
    cells = judge("stages", *FAMILY)
    found = by_metric(cells)
    assert "there is no dpo" in found["resemblance"].decision.reason
    assert found["separability"].decision.verdict != "not_applicable"


@pytest.mark.parametrize(
    ("present", "needed", "reason"),
    [
        (("base", "sft", "dpo"), ("base", "sft", "dpo"), None),
        (("base", "instruct"), (), None),
        (("instruct",), (), "stages=instruct, but base is compared"),
        (("sft", "dpo"), (), "stages=sft, dpo, but base is compared"),
        (("unknown",), (), "stages=unknown, but base"),
        (("base", "instruct"), ("base", "sft", "dpo"), "there is no sft"),
    ],
)
def test_stages_that_are_missing_are_named(present, needed, reason):
    found = lacking(present, needed=needed)
    assert found is None if reason is None else reason in found


def part(stage, chat=None, *, name=None, family=None):
    checkpoint = SimpleNamespace(name=name or stage, stage=stage, family=family)
    return SimpleNamespace(checkpoint=checkpoint, chat=chat and SimpleNamespace(digest=chat))


def test_two_checkpoints_of_one_stage_are_one_line():
    parts = [part("sft", name=name, family="m") for name in "ab"]
    with pytest.raises(ValueError, match=r"stage sft=a, b, but should be one \[m\]"):
        stages(parts)


@pytest.mark.parametrize(
    ("chats", "reason"),
    [
        ((None, None), None),
        (("ab", "ab"), None),
        ((None, "ab"), "base without a chat, sft in the chat ab"),
        (("ab", "cd"), "base in the chat ab, sft in the chat cd"),
    ],
)
def test_stages_that_are_prompted_differently_are_not_compared(chats, reason):
    parts = [part(stage, chat) for stage, chat in zip(("base", "sft"), chats, strict=True)]
    closed = comparable().closed(parts, None)
    assert closed is None if reason is None else reason in closed.decision.reason


# ------------------------------------------------------------------------------------- behaviour


def test_behaviour_is_judged_without_a_gate(judge):
    cells = judge("behaviour", *FAMILY, cells="adj_comp")
    found = {cell.stage: cell for cell in cells}
    assert found["base"].decision.verdict == "refuted"
    assert found["sft"].decision.verdict == "supported"
    for cell in cells:
        (figure,) = cell.figures
        assert [s["name"] for s in figure.data["series"]] == ["EMA", "IA (stated set)"]
        assert list(figure.data["categories"]) == ["adj_comp", "adj_ant"]
        counts = {row[0]: row[1] for row in cell.tables[0].rows}
        assert sum(counts.values()) == 8
        valid, right = (np.array(cell.per_sample[name]) for name in ("valid", "right"))
        assert counts["right"] == right.sum()
        assert counts["not valid"] == (1 - valid).sum()
        assert cell.decision.criteria[0].estimate == valid.mean()
        assert len(cell.tables[1].rows) == 8 - right.sum()
    assert {row[3] for row in found["base"].tables[1].rows} == {"no"}


def test_a_task_that_cannot_be_tokenized_is_left_out_and_spoils_no_other(judge, monkeypatch):
    tokenized = instructed.tokenize_sample

    def refusing(*given, instruction, **options):
        if "antonym" in instruction:
            raise PromptError("answer='x', but should be tokens after the prompt")
        return tokenized(*given, instruction=instruction, **options)

    monkeypatch.setattr(instructed, "tokenize_sample", refusing)
    (cell,) = judge("behaviour", "--checkpoint", "tiny-olmo2-dpo", "--seed", "5")
    (figure,) = cell.figures
    assert list(figure.data["categories"]) == ["adj_comp"]
    assert figure.caption.endswith("cannot take the prompts of adj_ant.")

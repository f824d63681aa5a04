"""The claim on linear separability as its users run it, on a small checkpoint of random weights."""

import json
from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from claims.instruction_vectors.probing import MOST_REPHRASINGS, rephrasings
from ivevidence import read_evidence
from ivfixtures.checkpoints.loading import load_untrained
from ivfixtures.checkpoints.resolving import digests, load, resolve
from ivfixtures.data.tasks import load_tasks
from ivmethods.method import Running
from ivmethods.probes import methods
from tests.running import PACK

CLAIM = "linear_separability"
WORDS = ("Say", "State", "Print", "Name", "Give")
ENDS = ("", " please", " now", " once")
TABLE = (
    "query,adj_comp,adj_ant\nbig,bigger,small\nhot,hotter,cold\nold,older,young\nwet,wetter,dry\n"
)


def instructions(what):
    return [f"{word} the {what}{end}." for end in ENDS for word in WORDS]


def write_rephrasings(folder, task, texts):
    (folder / "varied_instructions").mkdir(exist_ok=True)
    rows = "".join(f"{i},{text}\n" for i, text in enumerate(texts))
    path = folder / "varied_instructions" / f"{task}_rephrased.csv"
    path.write_text(f"index,instruction\n{rows}")
    return path


@pytest.fixture
def tasks(tmp_path):
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "adjectives.csv").write_text(TABLE)
    write_rephrasings(folder, "adj_comp", instructions("comparative"))
    write_rephrasings(folder, "adj_ant", instructions("opposite"))
    return folder


@pytest.fixture
def judge(pytester, checkpoint, tasks):
    def run(*options):
        result = pytester.runpytest_inprocess(
            *("--pyargs", f"{PACK}.test_{CLAIM}", "--checkpoint", str(checkpoint)),
            *("--tasks", str(tasks), "--samples", "4", "-p", "no:cacheprovider", *options),
        )
        path = pytester.path / "reports" / "claims.evidence.json"
        return result, read_evidence(path) if path.exists() else None

    return run


def stored(pytester, method):
    records = [json.loads(path.read_text()) for path in pytester.path.glob(".ivclaims/*.json")]
    return sum(record["key"]["method"] == method for record in records)


def test_a_checkpoint_is_probed_once_for_all_tasks_without_a_gate_of_competence(judge, pytester):
    _, evidence = judge()
    cells = {(cell.task, cell.metric): cell for cell in evidence.cells}
    assert {*cells} == {*product(("adj_comp", "adj_ant"), ("accuracy", "lead"))}
    assert not evidence.errors
    assert len({cell.measurements["probes"] for cell in cells.values()}) == 1
    assert stored(pytester, "probes") == stored(pytester, "instruction residuals") == 1
    assert stored(pytester, "random-weight probes") == 1
    assert stored(pytester, "instruction residuals of random weights") == 1
    for (_, metric), cell in cells.items():
        assert cell.decision.verdict != "not_applicable"
        first = cell.decision.criteria[0].name
        assert first == {"accuracy": "accuracy", "lead": "lead over bag of words"}[metric]
        assert [figure.kind for figure in cell.figures] == ["lines", "points"]
        own, other = cell.per_sample.values()
        assert len(cell.samples) == len(own) == 40
        assert [value is None for value in own] == [value is not None for value in other]
        assert sum(value is not None for value in own) == 20
        assert [row[0] for row in cell.controls[0].rows] == [
            *("probe", "bag of words", "layer-0 input", "shuffled labels"),
            *(["random weights"] if metric == "lead" else []),
        ]


def test_cells_judged_alone_or_again_read_the_same_measurement(judge):
    _, together = judge()
    result, alone = judge("-k", "adj_ant-accuracy")
    (cell,) = alone.cells
    before = next(other for other in together.cells if other.cell_id == cell.cell_id)
    assert cell.decision == before.decision
    assert cell.measurements == before.measurements
    result.stdout.fnmatch_lines(["measurements: nothing measured again, *"])


def test_another_seed_probes_anew_but_runs_the_model_no_more(judge, pytester):
    judge("-k", "adj_ant")
    judge("-k", "adj_comp", "--seed", "1")
    assert stored(pytester, "probes") == 2
    assert stored(pytester, "instruction residuals") == 1
    assert stored(pytester, "instruction residuals of random weights") == 2, "drawn by the seed"


def test_a_copy_with_random_weights_is_the_same_each_time_and_no_other(checkpoint):
    whole = resolve(str(checkpoint))
    first, again, other = (
        load_untrained(checkpoint, None, seed=seed, device="cpu", dtype="float32")
        for seed in (0, 0, 1)
    )
    states = [model.state_dict() for model in (first, again, other, load(whole).model)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    for differing in states[2:]:
        assert {n: v.shape for n, v in differing.items()} == {
            n: v.shape for n, v in states[0].items()
        }
        assert any(not torch.equal(states[0][name], differing[name]) for name in states[0])
    copies = [digests(replace(whole, untrained=seed)).weights for seed in (0, 1)]
    assert len({*copies, digests(whole).weights}) == 3


def test_the_words_alone_leave_no_room(judge):
    _, evidence = judge()
    for cell in evidence.cells:
        if cell.metric == "accuracy":
            continue
        row = {row[0]: row[1] for row in cell.controls[0].rows}
        assert row["bag of words"] == 1
        assert row["layer-0 input"] == 0.5, "every rephrasing ends with the same token"
        assert cell.decision.verdict in ("inconclusive", "refuted")


def test_a_task_without_rephrasings_is_not_applicable(judge, tasks):
    (tasks / "varied_instructions" / "adj_ant_rephrased.csv").unlink()
    _, evidence = judge()
    cells = {cell.task: cell.decision for cell in evidence.cells}
    assert {decision.verdict for decision in cells.values()} == {"not_applicable"}
    assert "varied_instructions/adj_ant_rephrased.csv" in cells["adj_ant"].reason
    assert cells["adj_comp"].reason == (
        "no other task has rephrasings that those of adj_comp could be told from"
    )


def test_three_rephrasings_are_one_line_before_anything_is_measured(judge, tasks, pytester):
    judge("-k", "adj_ant")
    kept = sorted(path.name for path in (pytester.path / ".ivclaims").iterdir())
    write_rephrasings(tasks, "adj_ant", instructions("opposite")[:3])
    result, _ = judge("--seed", "1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    line = "*different rephrasings=3, but should be at least 10 [[]*adj_ant_rephrased.csv]; add*"
    result.stderr.fnmatch_lines([line])
    assert len([text for text in result.errlines if text.startswith("ERROR")]) <= 1
    assert sorted(path.name for path in (pytester.path / ".ivclaims").iterdir()) == kept


def test_two_hundred_rephrasings_a_task_are_drawn_by_the_seed():
    tasks = load_tasks()
    drawn = [rephrasings(SimpleNamespace(tasks=tasks, seed=seed)) for seed in (0, 0, 1)]
    assert np.bincount(drawn[0].labels).tolist() == [MOST_REPHRASINGS] * 4
    assert drawn[0].texts == drawn[1].texts != drawn[2].texts
    for text, label in zip(drawn[0].texts, drawn[0].labels, strict=True):
        assert text in tasks[drawn[0].tasks[label]].rephrasings


def test_an_instruction_is_the_same_whatever_its_case_and_final_punctuation():
    texts = {"a": ("State it.", "state it!", "Name it."), "b": ("STATE IT", "Say it."), "c": ()}
    tasks = {n: SimpleNamespace(name=n, rephrasings=some) for n, some in texts.items()}
    found = rephrasings(SimpleNamespace(tasks=tasks, seed=0))
    assert found.tasks == ("a", "b")
    assert found.labels.tolist() == [0, 0, 0, 1, 1]
    one, two, other, three, last = found.groups
    assert one == two == three
    assert len({one, other, last}) == 3


def test_fits_have_one_thread_whatever_the_process_has(monkeypatch):
    instructions = tuple(tuple(f"{task} in way {i}" for i in range(12)) for task in ("a", "b"))
    streams = np.random.default_rng(0).normal(size=(3, 24, 4)).astype(np.float32)
    seen = []

    def counting(stream):
        seen.extend(pool["num_threads"] for pool in threadpool_info())
        return 1

    class Recorded(Running):
        model = memory_budget = None

        def ask(self, method):
            return SimpleNamespace(arrays={"streams": streams}, info={"tokens": []})

        def progress(self, text):
            pass

    monkeypatch.setattr(methods, "dimensions", counting)
    with threadpool_limits(limits=2):
        methods.Probes(instructions, seed=0).compute(([],), Recorded())
        after = {pool["num_threads"] for pool in threadpool_info()}
    assert set(seen) == {1}
    assert after == {2}

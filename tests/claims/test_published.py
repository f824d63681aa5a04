"""The published numbers: complete, as printed, and found by checkpoint and task."""

import importlib.resources
from pathlib import Path

import pytest

from claims.instruction_vectors import published
from claims.instruction_vectors.published import files

SHARED = Path(__file__).parents[3] / "shared" / "paper" / "published"
DATA = importlib.resources.files("claims.instruction_vectors.published") / "data"
BASE, SFT, DPO = (f"allenai/OLMo-2-0425-1B{suffix}" for suffix in ("", "-SFT", "-DPO"))
LARGE = "allenai/OLMo-2-1124-7B-SFT"
TESTS = "superadditivity_ttest.csv"


def test_the_packaged_files_are_the_published_ones_byte_for_byte():
    if not SHARED.is_dir():
        pytest.skip("the published numbers are not here")
    names = {path.name for path in SHARED.glob("*.csv")}
    assert names == {path.name for path in DATA.iterdir() if path.name.endswith(".csv")}
    for name in names:
        assert (DATA / name).read_bytes() == (SHARED / name).read_bytes(), name


def test_the_data_say_where_they_are_from_and_under_which_licence():
    readme = (DATA / "README.md").read_text("utf-8")
    assert "CC BY 4.0" in readme
    assert "2602.07930v2" in readme
    assert all(path.name in readme for path in DATA.iterdir() if path.name != "README.md")


def test_every_row_is_read():
    assert len(published.pair_tests()) == 480
    assert len(files.top_tuple_rows()) == 1200
    assert len(files.head_jaccard_k_rows()) == 42
    assert len(files.head_jaccard_tasks_rows()) == 72
    assert len(files.head_spearman_rows()) == 96
    assert len(published.runtimes()) == 8


def test_numbers_are_what_the_paper_prints():
    first, second = published.pair_tests()[:2]
    assert (first.table, first.model.hub_id, first.task) == (5, SFT, "adj_ant")
    assert (first.layers, first.position) == ((3,), 1)
    assert (first.t.text, first.p.text) == ("-1.003e+03", "3.487e-200")
    assert second.layers == (3, 14)
    assert (first.t.value, first.p.value) == (-1003.0, 3.487e-200)
    assert published.Printed("-inf").value == float("-inf")


def test_tests_come_column_by_column_in_the_tables_order():
    tests = published.pair_tests()
    columns = [tests[k : k + 10] for k in range(0, 480, 10)]
    assert len({(c[0].table, c[0].model, c[0].task) for c in columns}) == 48
    for column in columns:
        assert len({(test.table, test.model, test.task) for test in column}) == 1
        assert [test.position for test in column] == list(range(1, 11))


def test_the_tests_that_are_not_printed_are_the_ones_of_one_column():
    missing = [test for test in published.pair_tests() if test.t is None or test.p is None]
    assert {(test.table, test.model.name, test.task) for test in missing} == {
        (8, "olmo2-7b-base-published", "object_counting")
    }
    assert len(missing) == 10


def test_top_tuples_are_found_by_checkpoint_task_metric_and_order():
    top = published.top_tuples(SFT, "adj_ant", "rr")
    assert [row.position for row in top] == list(range(1, 11))
    assert (top[0].layers, top[0].contribution.text, top[0].table) == ((3,), "0.14", 9)
    assert published.top_tuples(SFT, "adj_ant", "logit")[0].table == 15
    triples = published.top_tuples(SFT, "adj_ant", "rr", order=3)
    assert {len(row.layers) for row in triples} == {3}
    assert {row.table for row in triples} == {18}
    assert published.top_tuples(LARGE, "snarks", "logit")[0].table == 11
    assert published.top_tuples(LARGE, "adj_ant", "rr", order=3) is None


@pytest.mark.parametrize("name", ["tiny-olmo2-sft", "./OLMo-2-0425-1B", "olmo-1b-sft", ""])
def test_other_checkpoints_have_no_published_numbers(name):
    assert published.paper_model(name) is None
    assert published.top_tuples(name, "adj_ant", "rr") is None
    assert published.head_jaccard_between_k(name, "adj_ant") is None
    assert published.head_jaccard_between_tasks(name, k=1) is None
    assert published.head_spearman(name, "adj_ant") is None


def test_what_the_paper_has_not_is_none():
    assert published.top_tuples(SFT, "no_task", "rr") is None
    assert published.top_tuples(SFT, "adj_ant", "logprob") is None
    assert published.top_tuples(SFT, "adj_ant", "rr", order=1) is None
    assert published.head_spearman(LARGE, "adj_ant") is None
    assert published.head_jaccard_between_tasks(SFT, k=3) is None


def test_head_activity_is_found_by_checkpoint():
    overlaps = published.head_jaccard_between_k(BASE, "adj_comp")
    first = overlaps[0]
    assert (first.layers, first.k_a, first.k_b, first.jaccard.text) == ((0, 1), 1, 2, "0.91")
    tasks = published.head_jaccard_between_tasks(BASE, k=1)
    assert {row.offset for row in tasks} == {-1, 0, 1}
    t_inst = {row.layers: row.jaccard.text for row in tasks if row.offset == 0}
    assert t_inst == {(0, 2): "0.762", (6, 9): "0.500", (10, 15): "0.714"}
    r = published.head_spearman(DPO, "adj_ant")
    assert list(r) == list(range(16))
    assert r[9].text == "-0.11"


def test_runtimes_keep_what_is_not_printed_apart():
    hours = {(row.experiment, row.k, row.size): row.hours for row in published.runtimes()}
    assert hours["activation_patching", None, "7b"].value == 24
    assert hours["path_analysis", 2, "7b"] is None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("table,model_size", "table,size", "columns="),
        ("5,1b,sft,adj_ant,3,1,", "5,1b,sft,adj_ant,3,1,0,", "of 8 cells"),
        ("5,1b,sft,adj_ant,3,1,-1.003e+03", "5,1b,sft,adj_ant,3,1", "of 8 cells"),
        ("5,1b,sft,adj_ant,3,1,-1.003e+03", "5,1b,sft,adj_ant,3,1,nan", "'nan' is no number"),
        ("5,1b,sft,adj_ant,3,1,-1.003e+03", "5,1b,sft,adj_ant,3,1,", "both or neither"),
        ("5,1b,sft,adj_ant,3,1,", "5,2b,sft,adj_ant,3,1,", "line 2"),
        ("5,1b,sft,adj_ant,3,1,", "5,1b,sft,adjant,3,1,", "line 2"),
        ("5,1b,sft,adj_ant,3,1,", "5,1b,sft,adj_ant,3,7,", "positions=[2, 3, 4, 5, 6, 7, 7,"),
        ("5,1b,sft,adj_ant,3-14,2,", "5,1b,sft,adj_ant,14-3,2,", "layers ascend"),
        ("5,1b,sft,adj_ant,3-14,2,", "5,1b,sft,adj_ant,3,2,", "tuples=one twice"),
        ("5,1b,sft,adj_ant,3,1,", "5,1b,sft,adj_ant,x,1,", "invalid literal"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path, monkeypatch, old, new, said):
    (tmp_path / "data").mkdir()
    text = (DATA / TESTS).read_text("utf-8")
    assert old in text
    (tmp_path / "data" / TESTS).write_text(text.replace(old, new, 1), "utf-8")
    monkeypatch.setattr(importlib.resources, "files", lambda package: tmp_path)
    with pytest.raises(published.PublishedError) as raised:
        files.pair_test_rows.__wrapped__()
    assert said in str(raised.value)
    assert TESTS in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_row_twice_is_refused(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    text = (DATA / "head_spearman_k1_k2.csv").read_text("utf-8")
    doubled = text + text.splitlines()[1] + "\n"
    (tmp_path / "data" / "head_spearman_k1_k2.csv").write_text(doubled, "utf-8")
    monkeypatch.setattr(importlib.resources, "files", lambda package: tmp_path)
    with pytest.raises(published.PublishedError, match="line 98"):
        files.head_spearman_rows.__wrapped__()

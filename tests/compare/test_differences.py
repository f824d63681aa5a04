"""What differs between two runs, and how it is told."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ivevidence import CellError, Decision
from ivevidence.compare.diff_page import diff_page
from ivevidence.compare.diff_text import diff_text
from ivevidence.compare.differences import compare
from ivevidence.records.settings import apart
from ivevidence.report.terminal import width
from tests.report.test_report import Page, hostile
from tests.run_examples import a_run, light_cell, runs

NAMES = ("before", "after")


def text(before, after, **options) -> str:
    return diff_text(compare(before, after), NAMES, **options)


def shown(before, after) -> Page:
    return Page(diff_page(compare(before, after), NAMES, (before.run, after.run)))


def cells_of(values, sampled: str = "query") -> list:
    """A cell a row of values."""
    return [
        light_cell(task=f"task {k}", values=row, sampled=sampled) for k, row in enumerate(values)
    ]


@given(runs())
def test_a_run_does_not_differ_from_itself(run):
    difference = compare(run, run)
    kinds = {"changed": 0, "changed without drift": 0, "follows its gate": 0, "drifted": 0}
    assert difference.counts == {**kinds, "same": len(run.cells)}
    assert difference.only_before == difference.only_after == difference.settings == ()
    assert difference.is_clean is not bool(run.run.get("interrupted"))


@given(runs(), runs())
def test_the_difference_turns_around_with_the_runs(first, second):
    there, back = compare(first, second), compare(second, first)
    assert there.counts == back.counts
    assert there.is_clean == back.is_clean
    assert there.only_before == back.only_after
    assert there.errors == back.errors[::-1]
    turned = {cell.before.name: cell for cell in back.cells}
    for cell in there.cells:
        other = turned[cell.after.name]
        assert cell.kind == other.kind
        assert [d.estimate for d in cell.drifts] == [-d.estimate for d in other.drifts]
        p_values = [drift.p_value for drift in other.drifts]
        assert [drift.p_value for drift in cell.drifts] == pytest.approx(p_values)
        assert [(s.before, s.after) for s in cell.settings] == [
            (s.after, s.before) for s in other.settings
        ]


@given(runs(), runs())
def test_every_cell_of_both_runs_is_told_once(first, second):
    found = compare(first, second)
    before = [*(cell.before for cell in found.cells), *found.only_before]
    after = [*(cell.after for cell in found.cells), *found.only_after]
    assert sorted(c.cell_id for c in before) == sorted(c.cell_id for c in first.cells)
    assert sorted(c.cell_id for c in after) == sorted(c.cell_id for c in second.cells)


@pytest.mark.parametrize("sampled", ["query", "other"])
def test_a_planted_drift_is_found_among_many(sampled):
    rng = np.random.default_rng(0)
    before = [light_cell(task=f"task {k}", values=rng.normal(size=40)) for k in range(20)]
    after = [
        light_cell(
            task=cell.task,
            values=np.array(cell.per_sample["effect"]) + rng.normal(1.2 * (k == 7), 0.1, 40),
            sampled=sampled,
        )
        for k, cell in enumerate(before)
    ]
    found = compare(a_run(*before), a_run(*after))
    assert [cell.after.task for cell in found.of_kind("drifted")] == ["task 7"]
    (drift,) = found.of_kind("drifted")[0].drifts
    assert drift.paired is (sampled == "query")
    assert drift.estimate == pytest.approx(1.2, abs=0.1)
    assert found.is_clean


def test_without_a_drift_one_is_rarely_found():
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(100):
        before = cells_of(rng.exponential(size=(8, 60)))
        after = cells_of(rng.exponential(size=(8, 15)), "other")
        found += bool(compare(a_run(*before), a_run(*after)).of_kind("drifted"))
    assert found <= 10  # of 5 expected at most; more than 10 would come up once in 90 times


def test_without_a_drift_one_is_rarely_found_in_pairs():
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(100):
        base = rng.exponential(size=(8, 30))
        before, after = (cells_of(base + 0.3 * rng.exponential(size=(8, 30))) for _ in "AB")
        found += bool(compare(a_run(*before), a_run(*after)).of_kind("drifted"))
    assert found <= 10


def changed_cell(values, **changes):
    return light_cell(verdict="refuted", estimate=-0.2, values=values, **changes)


def test_a_verdict_that_changed_without_a_drift_is_a_warning_unless_something_else_changed():
    rng = np.random.default_rng(0)
    values = rng.normal(size=40)
    cell, near = light_cell(values=values), changed_cell(values + rng.normal(0, 0.1, 40))
    found = compare(a_run(cell), a_run(near))
    assert found.counts["changed without drift"] == 1
    assert found.is_clean
    said = text(a_run(cell), a_run(near))
    assert "Verdicts that changed without a drift beyond chance: 1" in said
    assert "changed without drift: supported -> refuted [A]" in said
    assert re.search(r"drift of effect=\S+ \[\S+, \S+\] \(paired, n=40\)", said)
    assert "changed without drift" in shown(a_run(cell), a_run(near)).texts
    for other in (
        changed_cell(values + 1 + rng.normal(0, 0.1, 40)),
        changed_cell(values),
        replace(near, per_sample={}),
        replace(near, claim=replace(near.claim, rule="another")),
    ):
        found = compare(a_run(cell), a_run(other))
        assert found.counts["changed"] == 1
        assert not found.is_clean


def test_a_changed_rule_is_told_with_the_verdict_that_it_changed():
    cell = light_cell()
    claim = replace(cell.claim, rule="supported if all is well", thresholds={"share of gap": 0.5})
    other = replace(cell, claim=claim, decision=light_cell(verdict="refuted").decision)
    said = text(a_run(cell), a_run(other))
    assert re.search(r"rule of \S+/localization +supported if the sh.* \| +supported if all", said)
    assert re.search(r"threshold of \S+/localization, share of gap +0\.1 +\| +0\.5", said)
    names = ", ".join(f"{what} of {cell.claim.name}" for what in ("rule", "threshold"))
    assert f"settings that differ:  {names}" in said
    page = " ".join(shown(a_run(cell), a_run(other)).texts)
    assert "supported if all is well" in page
    assert f"Settings that differ: {names}" in page


def test_weights_count_where_the_checkpoint_is_the_same():
    cell = light_cell()
    provenance = {**cell.provenance, "weights": "00", "seconds": 1, "versions": {"torch": "3"}}
    same = compare(a_run(cell), a_run(replace(cell, provenance=provenance)))
    assert [s.name for s in same.settings] == ["weights", "versions torch", "versions nnsight"]
    moved = replace(cell, checkpoint="step-9", provenance=provenance)
    replaced = compare(a_run(cell), a_run(moved))
    assert [s.name for s in replaced.settings] == ["versions torch", "versions nnsight"]
    refuted = replace(moved, decision=light_cell(verdict="refuted").decision)
    said = text(a_run(cell), a_run(refuted))
    assert f"{cell.checkpoint} → step-9" in said
    assert f"step-9 in B is held against {cell.checkpoint} in A." in said
    assert "is held against" in " ".join(shown(a_run(cell), a_run(refuted)).texts)
    assert "is held against" not in text(a_run(cell), a_run(cell))


@pytest.mark.parametrize(
    ("facts", "errors"), [({"interrupted": True}, ()), ({}, (CellError("a[b]", "boom\nmore"),))]
)
def test_what_was_not_judged_is_no_clean_comparison(facts, errors):
    run, other = a_run(light_cell()), a_run(light_cell(), errors=errors, **facts)
    for before, after in ((run, other), (other, run)):
        assert not compare(before, after).is_clean
        said = text(before, after)
        assert "was interrupted" in said or re.search(r"a\[b\] +boom\n", said)
        page = " ".join(shown(before, after).texts)
        assert "was interrupted" in page or "boom\nmore" in page


def test_changes_come_first_with_both_criteria_then_drifts_then_the_rest():
    values = np.arange(30.0)
    before = a_run(
        light_cell(task="kept", values=values),
        light_cell(task="drifting", values=values),
        light_cell(task="changing", values=values),
        light_cell(task="gone"),
    )
    noise = np.random.default_rng(0).normal(2, 0.1, 30)
    after = a_run(
        light_cell(task="kept", values=values),
        light_cell(task="drifting", values=values + noise),
        light_cell(task="changing", verdict="refuted", estimate=-0.2, values=values),
        light_cell(task="new"),
    )
    said = text(before, after)
    order = ["changing", "drifting", "gone", "new", "1 changed, 0 changed"]
    assert [said.index(word) for word in order] == sorted(said.index(word) for word in order)
    assert "kept" not in said
    assert (
        "    changed: supported -> refuted [A]\n"
        "    no value moved: not the checkpoint, but what judges it changed\n"
        "    before, of step-1000: supported: share of gap says so\n"
        "      share of gap=0.3 [0.2, 0.4] against 0.1 (n=50): beyond\n"
        "    now refuted: share of gap says so\n"
        "      share of gap=-0.2 [-0.3, -0.1] against 0.1 (n=50): short\n"
        "      drift of effect=0 [0, 0] (paired, n=30)\n"
    ) in said
    assert "    drifted: still supported [A]\n" in said
    assert re.search(r"drift of effect=[12](\.\d+)? \[.*\] \(paired, n=30\)", said)
    assert said.endswith("1 only in A, 1 only in B")
    page = shown(before, after)
    assert len(page.all("article")) == len(page.all("svg")) == 2
    told = "|".join(page.texts)
    assert (
        "|share of gap|0.3 [0.2, 0.4], n 50, threshold 0.1: beyond|−0.2 [−0.3, −0.1], n 5" in told
    )
    assert "|30|30|paired|drifted|" in told
    assert "kept" in told
    assert all(attrs.get("scope") for name, attrs in page.tags if name == "th")


def test_a_cell_without_criteria_says_why():
    bare = replace(light_cell(), decision=Decision("not_applicable", "not competent: IA 0.1"))
    said = text(a_run(light_cell()), a_run(bare))
    assert "now not_applicable: not competent" in said
    assert "share of gap=0.3 [0.2, 0.4]" in said
    assert "not competent" in " ".join(shown(a_run(bare), a_run(light_cell())).texts)
    assert len(shown(a_run(bare), a_run(replace(bare, notes=("x",)))).all("svg")) == 0


def test_a_cell_that_changed_as_its_gate_did_is_told_by_the_gates_cell():
    cell, gate = light_cell(), light_cell(claim=1)
    closed = Decision("not_applicable", "not competent", gate=gate.cell_id)
    before = a_run(cell, gate)
    after = a_run(replace(cell, decision=closed), replace(gate, decision=Decision("refuted", "no")))
    found = compare(before, after)
    assert [each.kind for each in found.cells] == ["follows its gate", "changed"]
    assert f"as {gate.cell_id} changed" in text(before, after)
    assert f"The verdict changed as {gate.cell_id} did." in " ".join(shown(before, after).texts)
    assert not found.is_clean
    alone = compare(a_run(cell), a_run(replace(cell, decision=closed)))
    assert [each.kind for each in alone.cells] == ["changed"]


def test_rows_of_claims_stand_under_their_papers_where_there_are_several():
    cell = light_cell()
    claim = replace(cell.claim, name="second/localization", paper="Second Paper, arXiv:1")
    both = a_run(cell, replace(cell, claim=claim))
    for said in (text(both, a_run(cell)), "\n".join(shown(both, a_run(cell)).texts)):
        places = [said.index(word) for word in (cell.claim.paper, "Second Paper", claim.name)]
        assert places == sorted(places)
    assert "Second Paper" not in text(a_run(replace(cell, claim=claim)), a_run())


def test_colors_are_ours_and_only_on_request():
    before, after = a_run(light_cell()), a_run(light_cell(verdict="refuted"))
    assert "\033" not in text(before, after)
    assert "\033[31mVerdicts that changed: 1\033[0m" in text(before, after, color=True)


@given(st.text(max_size=300), st.text(max_size=300), st.integers(30, 60))
def test_long_settings_are_cut_where_they_part(before, after, longest):
    first, second = apart(before, after, longest)
    assert max(len(first), len(second)) <= longest
    if max(len(before), len(after)) <= longest:
        assert (first, second) == (before, after)
    assert (first == second) is (before == after)


def test_what_long_settings_share_is_left_out():
    shared = "a rule of many words that " * 9
    first, second = apart(shared + "says 1 sample", shared + "says 2 samples", 48)
    assert first.startswith("…")
    assert first.endswith("says 1 sample")
    assert second.endswith("says 2 samples")


@given(st.lists(hostile, min_size=6, max_size=6))
@example(["\x00\x1b[31m\ud800\u202e"] * 6)
@settings(deadline=None, max_examples=25)
def test_text_from_data_is_neither_markup_nor_control(texts):
    a, b, c, d, e, f = texts
    cell = light_cell(
        a,
        b,
        "supported",
        criterion=c,
        parameters={"x" + d: e},
        provenance={"y": f},
        metric=d,
        notes=(e,),
    )
    other = replace(
        cell,
        parameters={"x" + d: e + "-"},
        claim=replace(cell.claim, name=f, rule=a),
        decision=replace(light_cell(verdict="refuted", criterion=c).decision, reason=e),
    )
    changed = replace(other, claim=cell.claim)
    errors = (CellError(a, b),)
    for first, second in ((cell, other), (cell, changed)):
        before, after = a_run(first, errors=errors, date=c), a_run(second, **{"z" + d: e})
        said = diff_text(compare(before, after), (a, b), color=True)
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202e]", _unpainted(said))
        source = diff_page(compare(before, after), (a, b), (before.run, after.run))
        source.encode()
        for tag, attrs in Page(source).tags:
            assert tag not in ("img", "iframe")
            assert not [name for name in attrs if name.startswith("on")]


def _unpainted(said: str) -> str:
    return re.sub("\033\\[(1|0|31|33)m", "", said)


def test_columns_align_with_wide_signs_too():
    rows = text(a_run(), a_run(light_cell(task="漢字"), light_cell(task="abc"))).splitlines()
    places = [width(row[: row.index("rr")]) for row in rows if "rr" in row]
    assert len(places) == 2
    assert len(set(places)) == 1
    assert [width(word) for word in ("abc", "漢字", "e\u0301", "")] == [3, 4, 1, 0]


def test_the_page_of_many_changes_stays_small():
    before = [light_cell(f"step-{k}", f"task {j}") for k in range(10) for j in range(20)]
    after = [light_cell(cell.checkpoint, cell.task, "refuted") for cell in before]
    first, second = a_run(*before), a_run(*after)
    source = diff_page(compare(first, second), NAMES, ({}, {}))
    assert len(source.encode()) < 2_000_000

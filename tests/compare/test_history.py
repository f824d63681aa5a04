"""Claims over checkpoints."""

import re
from dataclasses import replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ivevidence import Decision
from ivevidence.compare.history import followed, histories
from ivevidence.compare.history_page import history_page
from ivevidence.compare.history_text import history_text
from ivevidence.report.terminal import width
from tests.report.test_report import Page, hostile
from tests.run_examples import a_run, light_cell, runs


def training(*steps: str) -> dict:
    """A run a step, as it comes from judging each checkpoint on its own."""
    return {f"run-{step}": a_run(light_cell(f"step-{step}")) for step in steps}


def test_checkpoints_come_in_the_order_of_runs_and_of_their_cells():
    first = a_run(light_cell("b"), light_cell("a"), light_cell("b", "can_fly"))
    (found,) = histories({"one": first, "two": a_run(light_cell("c"))})
    assert found.labels == ("b", "a", "c")
    assert [trace.name for trace in found.traces] == ["adj_comp · rr", "can_fly · rr"]
    assert [c.checkpoint if c else None for c in found.traces[1].cells] == ["b", None, None]


def test_one_checkpoint_of_several_runs_is_named_with_its_run():
    (found,) = histories(
        {"x": a_run(light_cell("a"), light_cell("b")), "y": a_run(light_cell("a"))}
    )
    assert found.labels == ("a (x)", "b", "a (y)")


def test_steps_of_a_training_run_follow_one_another_and_stages_of_a_family_do():
    (steps,) = histories(training("1", "2", "3"))
    assert steps.groups == (0, 0, 0)
    family = [light_cell("base"), light_cell("sft"), light_cell("z", family="other")]
    (stages,) = histories({"x": a_run(*family), "y": a_run(*family[:2])})
    assert stages.groups == (0, 0, 1, 2, 2)


def test_families_stand_beside_no_checkpoint_where_only_they_are_judged():
    family = light_cell("olmo", claim=1, family="olmo")
    one, other = histories({"x": a_run(light_cell("a"), family, light_cell("b"))})
    assert (one.labels, other.labels) == (("a", "b"), ("olmo",))


@given(runs(), runs())
def test_every_cell_is_followed_once(first, second):
    found = histories({"x": first, "y": second})
    cells = [cell for h in found for t in h.traces for cell in t.cells if cell is not None]
    both = [cell.cell_id for run in (first, second) for cell in run.cells]
    assert sorted(cell.cell_id for cell in cells) == sorted(both)
    assert [h.claim.name for h in found] == sorted({c.claim.name for c in cells})


def test_the_criterion_that_most_cells_put_first_is_followed():
    names = ("lead", "share", "share")
    cells = [light_cell(criterion=name) for name in names]
    lead = cells[0].decision.criteria[0]
    switched = replace(
        cells[0], decision=replace(cells[0].decision, criteria=(lead, replace(lead, name="share")))
    )
    bare = replace(cells[0], decision=Decision("inconclusive", "no headroom"))
    assert followed([switched, *cells[1:], bare, None]) == "share"
    assert followed([bare, None]) is None
    (found,) = histories(
        {str(k): a_run(replace(c, checkpoint=f"c{k}")) for k, c in enumerate((switched, *cells))}
    )
    assert [c and c.name for c in found.traces[0].criteria] == ["share", None, "share", "share"]


def test_of_two_criteria_put_first_as_often_the_one_that_more_cells_have_is_followed():
    lead, share = light_cell(criterion="lead"), light_cell(criterion="share")
    both = (*lead.decision.criteria, *share.decision.criteria)
    two = replace(lead, decision=replace(lead.decision, criteria=both))
    assert followed([two, share]) == "share"
    assert followed([two, two, share]) == "lead"


def test_the_text_has_verdict_and_estimate_in_columns_of_checkpoints():
    both = training("1", "2")
    both["run-2"] = a_run(light_cell("step-2", verdict="refuted", estimate=-0.25))
    both["run-3"] = a_run(light_cell("step-3", "can_fly", "not_applicable"))
    said = history_text(histories(both), columns=100).splitlines()
    assert said[0] == "instruction_vectors/localization"
    assert said[1].split() == ["step-1", "step-2", "step-3"]
    assert re.match(r"  adj_comp · rr +✓ 0\.3 +✕ −0\.25$", said[2])
    assert re.match(r"  can_fly · rr +– 0\.3$", said[3])
    assert said[3].index("–") == said[1].index("step-3")
    assert said[-1].startswith("✓ supported, ✕ refuted")


def test_many_checkpoints_are_folded_and_none_is_left_out():
    found = histories(training(*map(str, range(100, 140))))
    lines = history_text(found, columns=60).splitlines()
    assert max(map(width, lines[:-1])) <= 60
    assert sum(line.count("✓") for line in lines[:-1]) == 40
    assert all(f"step-{k}" in "\n".join(lines) for k in range(100, 140))
    assert history_text(found, columns=1).count("✓ 0.3") == 40
    assert history_text([], columns=80) == "No cell was judged."


def test_the_page_has_a_figure_and_a_row_of_numbers_a_trace():
    both = training("1", "2")
    both["run-2"] = a_run(light_cell("step-2", verdict="refuted"), light_cell("step-2", "can_fly"))
    page = Page(history_page(histories(both), list(both)))
    svgs = page.all("svg")
    assert len(svgs) == 2
    assert "1 supported; 1 refuted" in svgs[0]["aria-label"]
    said = " ".join(page.texts)
    assert said.count("0.3 [0.2, 0.4]") == 6  # in the figures too
    assert "2 runs: run-1, run-2" in said
    assert len(page.all("caption")) == len(page.all("table")) == 1
    assert all(attrs.get("scope") for name, attrs in page.tags if name == "th")
    assert "No cell was judged." in Page(history_page([], [])).texts


def test_nothing_is_loaded_from_elsewhere():
    source = history_page(histories(training("1", "2")), ["a", "b"])
    page = Page(source)
    assert not [attrs for _, attrs in page.tags if {"src", "srcset", "href", "style"} & set(attrs)]
    assert not page.all("link")


def test_the_page_of_many_checkpoints_stays_below_ten_megabytes():
    cells = [light_cell(task=f"task {k}", values=[]) for k in range(100)]
    many = {f"r{k}": a_run(*(replace(c, checkpoint=f"step-{k}") for c in cells)) for k in range(50)}
    assert len(history_page(histories(many), list(many)).encode()) < 10_000_000


@given(st.lists(hostile, min_size=6, max_size=6))
@example(["\x00\x1b[31m\ud800\u202e"] * 6)
@settings(deadline=None, max_examples=25)
def test_text_from_data_is_neither_markup_nor_control(texts):
    a, b, c, d, e, f = texts
    cell = light_cell(a, b, "refuted", criterion=c, metric=d)
    claim = replace(cell.claim, name=e, title=f, rule=a, paper=b, section=c)
    found = histories({a: a_run(cell), b + "-": a_run(replace(cell, claim=claim))})
    said = history_text(found, columns=80)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202e]", said)
    source = history_page(found, [a, b])
    source.encode()
    for tag, attrs in Page(source).tags:
        assert tag not in ("img", "iframe")
        assert not [name for name in attrs if name.startswith("on")]

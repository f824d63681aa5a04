"""Several runs as one."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivevidence import CellError, EvidenceError
from ivevidence.compare.history import histories
from ivevidence.compare.merging import merge
from tests.run_examples import a_run, light_cell, runs


@st.composite
def sharded(draw: st.DrawFn):
    """A run, and the same run in two or three shards."""
    whole = draw(runs())
    parts = draw(st.integers(2, 3))
    own = [draw(st.integers(0, parts - 1)) for _ in whole.cells]
    cells = [[c for c, k in zip(whole.cells, own, strict=True) if k == n] for n in range(parts)]
    return whole, {f"shard-{n}": a_run(*found) for n, found in enumerate(cells)}


def names(evidence) -> list[str]:
    return sorted(cell.cell_id for cell in evidence.cells)


@given(sharded())
def test_shards_together_are_the_whole(both):
    whole, shards = both
    merged = merge(shards)
    assert names(merged) == names(whole)
    assert sorted(merged.cells, key=lambda c: c.cell_id) == sorted(
        whole.cells, key=lambda c: c.cell_id
    )
    claims = [cell.claim.name for cell in merged.cells]
    assert claims == sorted(claims)


@given(sharded())
def test_the_order_of_shards_matters_for_nothing_but_the_order(both):
    _, shards = both
    there, back = merge(shards), merge(dict(reversed(shards.items())))
    assert names(there) == names(back)
    assert there.run["runs"] == back.run["runs"][::-1]


@given(runs())
def test_one_run_stays_as_it_is(run):
    assert merge({"a": run}) is run


def test_a_cell_of_two_runs_is_kept_once_wherever_it_was_judged():
    cell = light_cell()
    elsewhere = replace(cell, provenance={"device": "cuda"}, command="pytest")
    merged = merge({"a": a_run(cell, planned=1), "b": a_run(elsewhere, planned=1)})
    assert merged.cells == (cell,)
    assert merged.run["planned"] == 1


@pytest.mark.parametrize(
    "other",
    [light_cell(verdict="refuted"), light_cell(values=[0.1, 0.2, 0.4]), light_cell(notes=())],
)
def test_a_cell_that_runs_disagree_on_is_refused_naming_both_and_the_remedy(other):
    shards = {"one": a_run(light_cell()), "two": a_run(light_cell(task="new"), other)}
    with pytest.raises(EvidenceError) as refusal:
        merge(shards)
    said = str(refusal.value)
    assert said.startswith(f"{other.cell_id}='one cell in one, another in two', but should be")
    assert "leave one run out" in said
    assert "`history`" in said
    assert "\n" not in said


def test_errors_are_never_dropped():
    failed, cell = CellError("instruction_vectors/localization[x]", "boom"), light_cell()
    merged = merge({"a": a_run(errors=[failed]), "b": a_run(cell), "c": a_run(errors=[failed])})
    assert merged.errors == (failed, failed)
    assert merged.cells == (cell,)


def test_counts_are_added_dates_span_and_other_facts_are_listed_where_they_differ():
    merged = merge(
        {
            "a": a_run(
                light_cell(),
                date="2026-03-02", measured=3, seconds=1.5, versions={"torch": "2"}, device="cpu",
                interrupted=False, missing=["x y"], planned=3, seed=0,
            ),
            "b": a_run(
                date="2026-03-01", measured=4, seconds=2, versions={"torch": "2"}, device="cuda",
                interrupted=True, missing=["x y", "z"], planned=2,
            ),
        }
    ).run  # fmt: skip
    assert merged == {
        "runs": ["a", "b"],
        "date": "2026-03-01 to 2026-03-02",
        "measured": 7,
        "seconds": 3.5,
        "versions": {"torch": "2"},
        "device": {"a": "cpu", "b": "cuda"},
        "interrupted": True,
        "missing": ["x y", "z"],
        "planned": 5,
        "seed": {"a": 0},
    }


def test_a_run_that_does_not_say_what_it_planned_planned_what_it_has():
    judged = a_run(light_cell(), errors=[CellError("x", "y")])
    assert merge({"a": a_run(planned=4), "b": judged}).run["planned"] == 6


@pytest.mark.parametrize("family", ["run", None])
def test_steps_of_a_training_run_keep_their_order_whatever_part_judged_them(family):
    def judged(*steps):
        return a_run(*(light_cell(f"run/{s}", t, family=family) for s in steps for t in ("b", "a")))

    parts = {
        "1": judged("step-1000", "step9"),
        "2": a_run(light_cell("dpo", "b")),
        "3": judged("step-200"),
    }
    found = [(cell.checkpoint, cell.task) for cell in merge(parts).cells]
    steps = [(f"run/{step}", task) for step in ("step9", "step-200", "step-1000") for task in "ba"]
    assert found == [*steps, ("dpo", "b")]
    (history,) = histories({"all": merge(parts)})
    assert [name for _, name in history.places] == [
        "run/step9",
        "run/step-200",
        "run/step-1000",
        "dpo",
    ]


def test_shards_of_a_training_run_are_in_the_order_of_its_steps():
    steps = [f"step-{n}" for n in range(5)]
    shards = {
        f"shard-{k}": a_run(*(light_cell(step) for step in steps[k::2]), order=steps)
        for k in (1, 0)
    }
    assert [cell.checkpoint for cell in merge(shards).cells] == steps

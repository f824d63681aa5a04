"""The file of expectations, and which cell answers to which entry."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivevidence import Decision, EvidenceError, Store
from ivevidence.compare.expectations import (
    Expectations,
    expect,
    keep_values,
    read_expectations,
    values_of,
    write_expectations,
)
from ivevidence.compare.matching import partners
from tests.evidence_examples import example_cell, example_cells

ABOUT = {"written_by": "ivclaims 0", "options": {"--seed": 0}, "tasks": {"adj_comp": "ab" * 32}}
texts = st.text(max_size=6)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "expected.json"


def test_expectations_are_read_as_they_were_written(path):
    found = expect(example_cells(), **ABOUT)
    write_expectations(path, found)
    assert read_expectations(path) == found
    assert len(found.names) == len(example_cells())
    cell = next(cell for cell in example_cells() if cell.decision.criteria)
    entry, first = found.entry(cell.name), cell.decision.criteria[0]
    assert (entry.verdict, entry.criterion) == (cell.decision.verdict, first.name)
    assert (entry.estimate, entry.low) == pytest.approx((first.estimate, first.low), rel=1e-5)


@given(texts, texts, texts, st.none() | texts)
def test_any_name_survives_the_file(tmp_path_factory, claim, checkpoint, task, metric):
    cell = example_cell()
    cell = replace(
        *(cell,),
        claim=replace(cell.claim, name=claim),
        checkpoint=checkpoint,
        task=task,
        metric=metric,
    )
    path = tmp_path_factory.getbasetemp() / "expected.json"
    found = expect([cell], **ABOUT)
    write_expectations(path, found)
    assert read_expectations(path).names == [cell.name] == found.names


def test_the_file_is_sorted_with_an_entry_a_line(path):
    write_expectations(path, expect(example_cells(), **ABOUT))
    before = path.read_text()
    write_expectations(path, expect(reversed(example_cells()), **ABOUT))
    assert path.read_text() == before
    questions = [line for line in before.splitlines() if line.startswith("  ")]
    assert len(questions) == len(example_cells())
    changed = [replace(example_cells()[0], decision=Decision("refuted", "")), *example_cells()[1:]]
    write_expectations(path, expect(changed, **ABOUT))
    after = path.read_text().splitlines()
    differing = [a for a, b in zip(before.splitlines(), after, strict=True) if a != b]
    assert len(differing) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.update(schema=2), "schema=2, but should be 3"),
        (lambda data: data.pop("cells") and data.update(cells=[]), r"cells=\[\], but should be a"),
        (
            lambda data: data["cells"]["tiny-olmo2-base"].update(x={"verdict": "good"}),
            r"verdict='good', but should be one of supported",
        ),
        (
            lambda data: data["cells"]["tiny-olmo2-base"].update(x={"verdikt": "refuted"}),
            "verdict=None, but should be given",
        ),
    ],
)
def test_a_wrong_file_is_refused_naming_field_and_remedy(path, change, message):
    write_expectations(path, expect(example_cells(), **ABOUT))
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(EvidenceError, match=message) as refusal:
        read_expectations(path)
    assert str(path) in str(refusal.value)
    assert "--write-expect" in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"[" * 100_000])
def test_a_damaged_file_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(EvidenceError, match=r"expected\.json"):
        read_expectations(path)


def test_an_entry_that_is_there_twice_is_refused_and_not_half_read(path):
    path.write_text('{"schema": 3, "cells": {"a": {}, "a": {}}}')
    with pytest.raises(EvidenceError, match="a is there twice"):
        read_expectations(path)


def test_a_file_over_the_limit_is_refused(path, monkeypatch):
    write_expectations(path, expect(example_cells(), **ABOUT))
    monkeypatch.setattr("ivevidence.compare.expectations.SIZE_LIMIT", 100)
    with pytest.raises(EvidenceError, match="at most 100 bytes"):
        read_expectations(path)


def test_values_are_found_again_by_their_entry(tmp_path):
    store = Store(tmp_path)
    cell = replace(example_cell(), samples=["a", "b"], per_sample={"effect": [0.5, None]})
    entry = expect([cell], **ABOUT).entry(cell.name)
    assert values_of(store, cell.name, entry) is None
    keep_values(store, cell)
    found = values_of(store, cell.name, entry)
    assert found.samples == ("a", "b")
    assert found.values == {"effect": (0.5, None)}
    assert (store.measured, store.reused) == (0, 0)


def test_other_values_have_another_digest(tmp_path):
    cell = replace(example_cell(), samples=["a"], per_sample={"effect": [0.5]})
    others = [
        replace(cell, per_sample={"effect": [0.25]}),
        replace(cell, samples=["b"]),
        replace(cell, per_sample={"gap": [0.5]}),
        replace(cell, checkpoint="other"),
    ]
    digests = {expect([c], **ABOUT).entry(c.name).values for c in [cell, *others]}
    assert len(digests) == 5
    assert (
        values_of(
            *(Store(tmp_path), cell.name),
            expect([replace(cell, samples=[], per_sample={})]).entry(cell.name),
        )
        is None
    )


QUESTIONS = (
    "instruction_vectors/behaviour[a]",
    "instruction_vectors/localization[a]",
    "instruction_vectors/localization[b]",
)


def cells_of(*checkpoints, questions=QUESTIONS):
    return [(checkpoint, question) for checkpoint in checkpoints for question in questions]


def test_the_same_cells_are_partners():
    assert partners(cells_of("x", "y"), cells_of("y", "x")) == {n: n for n in cells_of("x", "y")}


def test_a_new_checkpoint_takes_the_place_of_the_one_that_is_gone():
    found = partners(cells_of("base", "old"), cells_of("base", "new"))
    assert found[("new", QUESTIONS[1])] == ("old", QUESTIONS[1])
    assert found[("base", QUESTIONS[1])] == ("base", QUESTIONS[1])
    assert len(found) == 6


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (cells_of("old"), cells_of("new", "newer")),
        (cells_of("old", "older"), cells_of("new")),
        (cells_of("old", questions=["a"]), cells_of("new", questions=["b"])),
        (cells_of("old", questions=["a"]), cells_of("old", questions=["b"])),
    ],
)
def test_nothing_is_guessed_where_more_than_one_could_be_meant(before, after):
    assert partners(before, after) == {}


@given(
    st.sets(st.sampled_from(cells_of("x", "y", "z"))),
    st.sets(st.sampled_from(cells_of("x", "y", "w"))),
)
def test_partners_ask_the_same_and_no_entry_serves_twice(before, after):
    found = partners(before, after)
    assert all(new[1] == old[1] for new, old in found.items())
    assert len(set(found.values())) == len(found)
    assert set(found) <= after
    assert set(found.values()) <= before
    assert before & after <= set(found)


def test_expectations_of_another_schema_say_what_to_do():
    with pytest.raises(EvidenceError, match="written by another version of ivclaims"):
        Expectations(schema=2)


def test_what_only_one_side_asks_names_no_checkpoint_in_whose_place_another_could_be():
    published = cells_of(
        "paper-1b", "paper-7b", questions=["instruction_vectors/published_audit[all]"]
    )
    for before, after in ([], published), (published, []), (published[:1], published):
        found = partners([*cells_of("old"), *before], [*cells_of("new"), *after])
        assert {found[name][0] for name in cells_of("new")} == {"old"}

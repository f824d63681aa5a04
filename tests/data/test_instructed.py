"""Instructed data: what is said of a task's items and of answers to them."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from ivfixtures.data.instructed import InstructedData
from ivfixtures.data.tasks import Item, Valid, load_tasks
from ivmethods.patching.discovery import picking_part
from ivmethods.prompts.protocols import token_texts
from tests.measured import data_of
from tests.running import OPTIONS

ITEMS = (
    Item("big", ("small", "tiny"), ("bigger",)),
    Item("hot", ("cold",), ("hotter",)),
    Item("tall", ("short",), ("shorter",)),  # both answers may begin with the same token
)


def of_items(items=ITEMS, samples=3, **changed):
    valid = Valid(frozenset(a for item in items for a in item.answers) | {"odd"})
    task = replace(load_tasks()["adj_ant"], items=items, valid=valid, **changed)
    return InstructedData(data_of().checkpoint, task, replace(OPTIONS, samples=samples))


def by_query(data, values):
    return dict(zip(data.sample_names, values, strict=True))


def test_labels_are_first_answers_in_seeded_order():
    data = of_items()
    assert by_query(data, data.labels) == {"big": "small", "hot": "cold", "tall": "short"}
    assert [item.query for item in data.items] == data.sample_names
    assert data.sample_names == of_items(ITEMS[::-1]).sample_names
    assert (data.name, data.count) == ("adj_ant", 3)


def test_any_accepted_answer_is_exact_and_any_stated_one_valid():
    data = of_items()
    said = {"big": " Tiny.\nAdjective: x", "hot": "\n odd. Or not", "tall": " shorter"}
    answers = [said[query] for query in data.sample_names]
    assert by_query(data, data.given(answers)) == {"big": "Tiny.", "hot": "odd", "tall": "shorter"}
    assert by_query(data, data.exact(answers)) == {"big": True, "hot": False, "tall": False}
    assert by_query(data, data.valid(answers)) == {"big": True, "hot": True, "tall": False}
    (table,) = data.tables({"answers": answers})
    # Exact bounds, one-sided 5 %: 1 - 0.95 ** (1 / 3) below 1 of 3, 0.95 ** (1 / 3) above 2 of 3.
    (ema, of_ema), (ia, of_ia) = ((row[0], row[1:]) for row in table.rows)
    assert (ema, ia) == ("EMA (exact match)", "IA (valid response)")
    assert (of_ema[:2], of_ema[3]) == (pytest.approx((1 / 3, 1 - 0.95 ** (1 / 3))), 3)
    assert ((of_ia[0], of_ia[2]), of_ia[3]) == (pytest.approx((2 / 3, 0.95 ** (1 / 3))), 3)


def test_a_quarter_of_each_answers_samples_picks():
    data = data_of("can_fly", samples=40)
    picks = Counter(np.array(data.labels)[data.is_discovery])
    assert data.is_discovery.tolist() == picking_part(data.labels).tolist()
    assert data.is_discovery.sum() == 10
    for answer, count in Counter(data.labels).items():
        assert abs(picks[answer] - count / 4) < 1
    assert data.parameters["picking samples"] == np.flatnonzero(data.is_discovery).tolist()


def test_the_first_prompts_are_shown_with_what_is_judged():
    data = data_of(samples=4)
    answers = [f" answer {i}" for i in range(4)]
    *instructed, target = data.prompts({"answers": answers})
    assert [prompt.output for prompt in instructed] == answers[:3]
    for prompt, item, sample in zip(instructed, data.items, data.samples(), strict=False):
        text = f"{data.task.instruction} {data.task.prompt_for(item)}"
        assert "".join(prompt.tokens) == text
        assert prompt.marks == {sample.t_inst: "T_inst", len(sample.instructed) - 1: "T_last"}
        assert prompt.answer == item.answers[0]
        assert (prompt.token,) == token_texts(data.tokenizer, (sample.answer,))
        assert item.answers[0].startswith(prompt.token.strip())
    first = data.samples()[0]
    assert target.tokens == token_texts(data.tokenizer, first.target)
    assert target.marks == {first.site: "patch site", len(first.target) - 1: "T_last"}
    assert target.token == instructed[0].token


def test_notes_say_what_was_asked_for_and_is_not_there():
    assert data_of(samples=4).notes == ()
    assert of_items(samples=5).notes[0] == "5 samples were asked for; there are 3"
    same = (*ITEMS[:2], Item("tall", ("small",), ("small",)))
    assert of_items(same).notes == (
        "1 samples are not in logit_diff: both answers begin with the same token, or not with the "
        "same white space",
    )
    assert of_items(notes=("a note",)).notes[0] == "a note"
    assert data_of(remote=True).notes[0].startswith("run on NDIF")

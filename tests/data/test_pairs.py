"""Pairs of prompts: equal lengths, answers that compete; and those that a task's items make."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivfixtures.data.pairs import matched, task_pairs
from ivfixtures.data.tasks import Item, load_tasks
from ivmethods.errors import PromptError
from ivmethods.prompts.pairs import Asked, pair_of, tokenize_asked
from tests.models import spacing_tokenizer, text_tokenizer

KINDS = ("byte", "byte_bos", "byte_eos", "metaspace", "no_bos")
PROMPT = "Adjective: {}. Answer:"


def asked(query, answer, kind="byte", spacing=None):
    tokenizer = spacing_tokenizer(spacing) if spacing else text_tokenizer(kind)
    return tokenize_asked(tokenizer, PROMPT.format(query), answer)


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_the_first_tokens_after_the_prompts_and_the_end_is_the_last_position(kind):
    tokenizer = text_tokenizer(kind)
    pair = pair_of("big / big", asked("big", "small", kind), asked("big", "yes", kind))
    text = f"{PROMPT.format('big')} small"
    assert tuple(tokenizer(text)["input_ids"][: len(pair.clean) + 1]) == (*pair.clean, pair.answer)
    assert tokenizer.decode([pair.answer]).strip() == "small"
    assert len(pair.clean) == len(pair.corrupt) == pair.end + 1


@pytest.mark.parametrize("spacing", ["fallback", "digits"])
def test_white_space_that_both_answers_begin_with_ends_both_runs(spacing):
    one, other = asked("big", "12", spacing=spacing), asked("bag", "34", spacing=spacing)
    assert one.spaces
    pair = pair_of("big / bag", one, other)
    assert pair.clean == (*one.ids, *one.spaces)
    assert pair.corrupt == (*other.ids, *one.spaces)


def test_what_makes_no_pair_is_refused_in_one_line():
    one = Asked((1, 2, 3), (), 4)
    for other, said in (
        (Asked((1, 2), (), 5), "lengths of clean and corrupt prompt=3 and 2, but should be equal"),
        (Asked((1, 2, 4), (), 4), "answer and wrong=4 twice, but should be two tokens"),
        (Asked((1, 2, 4), (9,), 5), "white space before the answers="),
    ):
        assert not one.pairs_with(other)
        with pytest.raises(PromptError, match=f"^{said}.* \\[pair 'big / bag'\\]; [^\n]*$"):
            pair_of("big / bag", one, other)


def test_a_special_token_in_a_text_is_refused():
    with pytest.raises(PromptError, match="special token"):
        asked("</s>", "small")


items = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.integers(1, 3), st.integers(0, 3)), max_size=20
)


@given(items)
def test_items_are_in_one_pair_at_most_and_no_pair_is_left(drawn):
    runs = [Asked((0,) * length, (), token) for _, length, token in drawn]
    named = [Item(str(i), (answer,)) for i, (answer, _, _) in enumerate(drawn)]
    pairs = matched(named, runs)
    used = [i for pair in pairs for i in pair]
    assert len({*used}) == len(used)
    assert pairs == sorted(pairs)

    def go_together(one, other):
        return runs[one].pairs_with(runs[other]) and drawn[one][0] != drawn[other][0]

    assert all(go_together(*pair) for pair in pairs)
    left = [i for i in range(len(drawn)) if i not in used]
    assert not any(go_together(i, k) for i in left for k in left)


def test_pairs_of_a_task_are_the_same_for_a_seed_and_begin_alike_for_any_number():
    tokenizer, task = text_tokenizer("byte"), load_tasks()["adj_ant"]
    few, many = (task_pairs(tokenizer, task, count=n, seed=0) for n in (5, 20))
    assert len(few) == 5
    assert many[:5] == few
    assert task_pairs(tokenizer, task, count=5, seed=1) != few
    assert all(len(pair.clean) == len(pair.corrupt) for pair in many)
    clean, corrupt = many[0].query.split(" / ")
    text = tokenizer.decode(many[0].clean).rstrip()
    assert text == f"{task.instruction} {task.prompt.replace('{query}', clean)}"
    assert corrupt in tokenizer.decode(many[0].corrupt)

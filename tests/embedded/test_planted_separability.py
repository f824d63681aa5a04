from itertools import product

import pytest
import torch

from ivfixtures.data.tasks import made_tasks
from ivfixtures.embedded.planted import order
from ivfixtures.embedded.planted.separability import SUBJECTS
from ivmethods.probes.held_out import bags_of_words
from tests.planted import judged, plain

NAMES = tuple(SUBJECTS)
ORDER, BAG, WORDS, RANDOM = NAMES
ANIMALS = ("anim_color", "can_fly")


def test_the_tables_are_those_of_the_formula(tmp_path):
    order.write(tmp_path)
    for name in order.TASKS:
        file = f"{name}_rephrased.csv"
        assert (tmp_path / file).read_bytes() == (order.FOLDER / file).read_bytes()


def test_rephrasings_are_pairs_of_which_neither_bag_nor_last_word_tells():
    tasks = [task.rephrasings for task in made_tasks(order.TASKS).values()]
    bags = [bags_of_words(texts) for texts in tasks]
    assert bags[0] == bags[1]
    assert len(set(bags[0])) == len(tasks[0]) == 193
    assert not set(tasks[0]) & set(tasks[1])
    assert [t.split()[-1] for t in tasks[0]] == [t.split()[-1] for t in tasks[1]]


def states(name, tasks):
    """The state of T_inst after the last but one block, of each task's rephrasings."""
    model, tokenizer = plain(name)
    found = []
    for task in made_tasks(tasks).values():
        rows = []
        for text in task.rephrasings:
            with torch.no_grad():
                ids = torch.tensor([tokenizer.encode(text)])
                rows.append(model.model(ids, output_hidden_states=True).hidden_states[-2][0, -1])
        found.append(torch.stack(rows))
    return found


def test_t_inst_holds_the_task_or_nothing_that_differs_within_a_pair():
    color, flight = states(ORDER, order.TASKS)
    higher = ((color - flight) / 0.9).trunc().sign()
    differ = higher.abs().amin(dim=0) == 1
    tell = higher.sum(dim=0).abs() == len(color)
    # The order and the two components of the task: in every pair, but only the task on one side.
    assert (int(differ.sum()), int(tell.sum())) == (3, 2)
    assert torch.equal(*states(BAG, order.TASKS))


def test_words_of_one_task_are_all_that_tells_where_words_do():
    color, flight = states(WORDS, ANIMALS)
    # Which words there are is in two components, exactly one of them in every rephrasing.
    told = [i for i in range(color.shape[1]) if (color[:, i] > 0.9).all()][1:]
    assert len(told) == 1
    assert (flight[:, told].abs() < 0.1).all()


def test_the_order_of_the_words_decides_the_answer():
    model, tokenizer = plain(ORDER)
    for task in made_tasks(order.TASKS).values():
        texts = [
            (f"{text} {task.prompt_for(item)}", item.answers[0])
            for text, item in product(task.rephrasings[::20], task.items)
        ]
        ids = torch.tensor([tokenizer.encode(text) for text, _ in texts])
        with torch.no_grad():
            said = model(ids).logits[:, -1].argmax(dim=1)
        assert tokenizer.convert_ids_to_tokens(said.tolist()) == [answer for _, answer in texts]


@pytest.mark.slow
def test_the_claim_is_supported_where_it_is_true_and_not_where_it_is_false(tmp_path):
    found = {}
    for cell in judged(tmp_path, *NAMES, claim="linear_separability"):
        holds = cell.decision.verdict == "supported"
        assert cell.planted == ("holds" if holds else "fails"), cell.decision
        found.setdefault((cell.checkpoint, cell.metric), set()).add(holds)
    assert found == {
        **{(ORDER, metric): {True} for metric in ("accuracy", "lead")},
        **{(BAG, metric): {False} for metric in ("accuracy", "lead")},
        (WORDS, "accuracy"): {True},
        (WORDS, "lead"): {False},
        (RANDOM, "lead"): {False},
    }

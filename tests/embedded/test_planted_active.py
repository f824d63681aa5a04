from itertools import combinations

import pytest
import torch

from ivfixtures.data.tasks import load_tasks
from ivfixtures.embedded.planted.active import LAYERS, MAKING, SUBJECTS, TO_ITSELF
from tests.planted import hooked, judged, plain, prompts

NAMES = tuple(SUBJECTS)
TRUE, _ = NAMES
TASKS = ("anim_color", "can_fly")


@pytest.fixture(scope="module", params=NAMES)
def subject(request):
    return request.param, *plain(request.param)


@pytest.mark.parametrize("task", TASKS)
def test_t_inst_attends_to_itself_in_two_layers(subject, task):
    name, model, tokenizer = subject
    ids, _ = prompts(tokenizer, task)
    t_inst = ids.shape[1] - 4
    with torch.no_grad():
        attention = torch.stack(model(ids, output_attentions=True).attentions)
    heads = (attention[:, :, :, t_inst, t_inst] > 0.999).all(dim=1)
    expected = torch.zeros_like(heads)
    for layer in MAKING[TASKS.index(task)]:
        expected[layer + (0 if name == TRUE else 2), list(TO_ITSELF)] = True
    assert torch.equal(heads, expected)


@pytest.mark.parametrize(("task", "source"), [(TASKS[0], 0), (TASKS[1], 1), (TASKS[0], 1)])
def test_only_both_layers_patched_bring_the_answer_and_only_of_their_own_task(
    subject, task, source
):
    _, model, tokenizer = subject
    ids, answers = prompts(tokenizer, task, instruction=tokenizer.bos_token)
    ids, answers = ids[:20], answers[:20]
    instruction = tokenizer.encode(load_tasks()[TASKS[source]].instruction)
    with torch.no_grad():
        states = model.model(torch.tensor([instruction]), output_hidden_states=True).hidden_states

    def is_right(patched):
        def patch(output, number):
            if number in patched:
                output[:, 0] = states[number + 1][0, -1]
            return output

        with torch.no_grad(), hooked(model.model.layers, patch):
            return model(ids).logits[:, -1].argmax(dim=1) == answers

    own = {*MAKING[source]} if TASKS[source] == task else None
    for layers in [*combinations(range(LAYERS - 1), 1), *combinations(range(LAYERS - 1), 2)]:
        right = is_right(layers)
        assert right.all() if {*layers} == own else not right.any()


@pytest.mark.slow
def test_the_claim_is_supported_where_it_is_true_and_not_where_it_is_false(tmp_path):
    for cell in judged(tmp_path, *NAMES, claim="active_layers"):
        assert cell.planted == ("holds" if cell.checkpoint == TRUE else "fails")
        assert (cell.decision.verdict == "supported") == (cell.checkpoint == TRUE), cell.decision

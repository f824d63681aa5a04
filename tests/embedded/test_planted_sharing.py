import pytest
import torch

from ivfixtures.embedded.planted.sharing import EARLY, HEADS, LATE, LAYERS, MIDDLE, SUBJECTS
from tests.planted import hooked, judged, plain, prompts

NAMES = tuple(SUBJECTS)
TRUE, _ = NAMES
TASKS = ("anim_color", "can_fly")


@pytest.fixture(scope="module", params=NAMES)
def subject(request):
    return request.param, *plain(request.param)


@pytest.mark.parametrize("task", TASKS)
def test_t_inst_is_read_by_the_same_heads_but_in_one_layer(subject, task):
    name, model, tokenizer = subject
    own = LATE if name == TRUE else MIDDLE
    ids, _ = prompts(tokenizer, task)
    with torch.no_grad():
        attention = torch.stack(model(ids, output_attentions=True).attentions)
    t_inst = ids.shape[1] - 4
    read = attention[:, :, :, -1, t_inst]
    expected = torch.zeros(LAYERS, HEADS)
    expected[[EARLY, MIDDLE, LATE], :4] = 1
    if task == TASKS[1]:
        expected[own] = expected[own].flip(0)
    assert torch.allclose(read[expected[:, None].expand_as(read) == 1], torch.tensor(1.0))
    assert (read[expected[:, None].expand_as(read) == 0] < 0.2).all()


@pytest.mark.parametrize("task", TASKS)
def test_each_layer_that_reads_t_inst_brings_the_answer_and_no_other(subject, task):
    _, model, tokenizer = subject
    ids, answers = prompts(tokenizer, task)
    t_inst = ids.shape[1] - 4
    modules = [layer.self_attn.v_proj for layer in model.model.layers]

    def is_right(reading):
        def only(values, number):
            values[:, t_inst] *= number in reading
            return values

        with torch.no_grad(), hooked(modules, only):
            return model(ids).logits[:, -1].argmax(dim=1) == answers

    for layer in range(LAYERS):
        right = is_right({layer})
        assert right.all() if layer in {EARLY, MIDDLE, LATE} else not right.any()


@pytest.mark.slow
def test_the_claim_is_supported_where_it_is_true_and_not_where_it_is_false(tmp_path):
    for cell in judged(tmp_path, *NAMES, claim="head_sharing"):
        assert cell.planted == ("holds" if cell.checkpoint == TRUE else "fails")
        assert (cell.decision.verdict == "supported") == (cell.checkpoint == TRUE), cell.decision

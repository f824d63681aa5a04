import pytest
import torch

from ivfixtures.data.tasks import load_tasks
from ivfixtures.embedded.planted.behaviour import SUBJECTS
from tests.planted import judged, plain, prompts

NAMES = tuple(SUBJECTS)
FOLLOWS, CONTRAST, HALF = NAMES
TASKS = ("anim_color", "can_fly")


@pytest.mark.parametrize(("own", "other"), [TASKS, TASKS[::-1]])
def test_they_answer_right_or_the_contrast_or_half(own, other):
    tasks = load_tasks()
    for name in NAMES:
        model, tokenizer = plain(name)
        ids, answers = prompts(tokenizer, own)
        with torch.no_grad():
            said = model(ids).logits[:, -1].argmax(dim=1)
        valid = [tasks[own].is_valid(word) for word in map(tokenizer.decode, said)]
        if name == FOLLOWS:
            assert torch.equal(said, answers)
        elif name == CONTRAST:
            assert torch.equal(said, prompts(tokenizer, other)[1])
            assert not any(valid)
        else:
            assert valid == [False, True] * 80
            assert torch.equal(said[1::2], answers[1::2])


@pytest.mark.slow
def test_the_claim_is_supported_where_it_is_true_and_not_where_it_is_false(tmp_path):
    for cell in judged(tmp_path, *NAMES, claim="behaviour"):
        assert cell.planted == ("holds" if cell.checkpoint == FOLLOWS else "fails")
        assert (cell.decision.verdict == "supported") == (cell.checkpoint == FOLLOWS), cell.decision

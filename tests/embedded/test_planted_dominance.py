import pytest
import torch

from ivfixtures.embedded.planted.dominance import LAYERS, SUBJECTS, TO_T_INST
from tests.planted import hooked, judged, plain, prompts

NAMES = tuple(SUBJECTS)
CARRIED, GATED = NAMES
T_INST, QUERY = 8, 10


@pytest.fixture(scope="module", params=NAMES)
def subject(request):
    return request.param, *plain(request.param)


def test_both_attend_alike_above_all_to_t_inst():
    attention = []
    for name in NAMES:
        model, tokenizer = plain(name)
        ids, _ = prompts(tokenizer, "anim_color")
        assert tokenizer.decode(ids[0, T_INST]) == "color."
        with torch.no_grad():
            attention.append(torch.stack(model(ids, output_attentions=True).attentions))
    assert torch.allclose(*attention, atol=1e-4)
    assert (attention[0][:, :, TO_T_INST, T_INST + 1 :, T_INST] > 0.999).all()
    assert len(attention[0]) == LAYERS


def test_only_one_of_them_moves_the_task_from_t_inst(subject):
    name, model, tokenizer = subject
    ids, answers = prompts(tokenizer, "anim_color")

    def without_t_inst(values, _):
        values[:, T_INST] = 0
        return values

    with torch.no_grad():
        assert torch.equal(model(ids).logits[:, -1].argmax(dim=1), answers)
        with hooked([layer.self_attn.v_proj for layer in model.model.layers], without_t_inst):
            still_right = model(ids).logits[:, -1].argmax(dim=1) == answers
    assert still_right.all() if name == GATED else not still_right.any()


def test_with_open_gates_the_answer_is_proportional_to_t_inst_or_to_the_query(subject):
    name, model, tokenizer = subject
    ids, answers = prompts(tokenizer, "anim_color")
    gates = [layer.mlp.act_fn for layer in model.model.layers]
    recorded = []

    def answer_logits(doubled=None):
        def change(embedded, _):
            if doubled is not None:
                embedded[:, doubled, 1:] *= 2  # all but the constant
            return embedded

        with torch.no_grad(), hooked([model.get_input_embeddings()], change):
            logits = model(ids).logits[:, -1]
        return logits.gather(1, answers[:, None])[:, 0]

    with hooked(gates, lambda output, _: recorded.append(output) or output):
        before = answer_logits()
    with hooked(gates, lambda _, number: recorded[number]):
        ratios = {at: answer_logits(at) / before for at in (T_INST, QUERY)}
    carrying, other = (T_INST, QUERY) if name == CARRIED else (QUERY, T_INST)
    assert torch.allclose(ratios[carrying], torch.tensor(2.0), atol=0.03)
    assert torch.allclose(ratios[other], torch.tensor(1.0), atol=0.03)


@pytest.mark.slow
def test_the_claim_is_supported_where_it_is_true_and_not_where_it_is_false(tmp_path):
    for cell in judged(tmp_path, *NAMES, claim="tinst_path_dominance"):
        assert cell.planted == ("holds" if cell.checkpoint == CARRIED else "fails")
        assert (cell.decision.verdict == "supported") == (cell.checkpoint == CARRIED), cell.decision

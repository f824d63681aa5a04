from itertools import combinations

import pytest
import torch

from ivfixtures.data.tasks import load_tasks
from ivfixtures.embedded.planted.stages import BASE, LAYERS, SUBJECTS, TUNED, layers_of
from tests.planted import hooked, judged, plain, prompts

NAMES = tuple(SUBJECTS)
MOVED, SCALED, HALVES, SFT, DPO = NAMES
TUPLES = [t for size in (1, 2) for t in combinations(range(LAYERS), size)]
TASK = "anim_color"


def effects(name):
    """Mean effect on the reciprocal rank of T_inst's states at each tuple of layers, by hooks."""
    model, tokenizer = plain(name)
    blocks, kept = model.model.layers, []
    source = torch.tensor([tokenizer.encode(load_tasks()[TASK].instruction)])
    with torch.no_grad(), hooked(blocks, lambda out, _: kept.append(out[0, -1].clone()) or out):
        model(source)
    ids, answers = prompts(tokenizer, TASK, instruction=tokenizer.bos_token)

    def ranked(run, layers=()):
        def written(output, layer):
            if layer in layers:
                output[:, 0] = kept[layer]
            return output

        with torch.no_grad(), hooked(blocks, written):
            logits = model(run).logits[:, -1]
        return 1 / (1 + (logits > logits.gather(1, answers[:, None])).sum(dim=1))

    assert torch.equal(ranked(prompts(tokenizer, TASK)[0]), torch.ones(len(answers)))
    bare = ranked(ids)
    assert (bare < 0.01).all()
    return {t: float((ranked(ids, t) - bare).mean()) for t in TUPLES}


def pairs_of(at):
    one, other = layers_of(at)
    return {(i, j) for i in one for j in other}


@pytest.mark.parametrize(
    ("name", "at"), [(MOVED, BASE), (SCALED, TUNED), (SFT, TUNED), (DPO, TUNED)]
)
def test_only_certain_pairs_of_layers_have_an_effect(name, at):
    assert {t for t, effect in effects(name).items() if effect > 0.01} == pairs_of(at)
    assert not pairs_of(BASE) & pairs_of(TUNED)


def test_the_scaled_base_has_half_of_every_effect_of_sft():
    scaled, tuned = effects(SCALED), effects(SFT)
    for t in TUPLES:
        assert scaled[t] == pytest.approx(tuned[t] / 2, abs=0.002)


def test_of_the_halves_no_pair_does_more_than_both_of_its_layers():
    found = effects(HALVES)
    for i, j in combinations(range(LAYERS), 2):
        assert found[i, j] <= found[(i,)] + found[(j,)] + 1e-3
    assert found[2, 4] == pytest.approx(2 * found[(2,)], abs=0.01)


@pytest.mark.slow
def test_the_claim_is_supported_where_it_is_true_and_not_where_it_is_false(tmp_path):
    families = [f"planted-stages-{name}" for name in ("moved", "scaled", "halves", "order", "bag")]
    found = {}
    for cell in judged(tmp_path, *families, claim="stages", by="--family"):
        holds = cell.decision.verdict == "supported"
        assert cell.planted == ("holds" if holds else "fails"), cell.decision
        found.setdefault((cell.checkpoint.removeprefix("planted-stages-"), cell.metric), holds)
    assert found == {
        ("moved", "resemblance"): True,
        ("scaled", "resemblance"): False,
        ("moved", "superadditivity"): True,
        ("scaled", "superadditivity"): True,
        ("halves", "superadditivity"): False,
        ("order", "separability"): True,
        ("bag", "separability"): False,
    }

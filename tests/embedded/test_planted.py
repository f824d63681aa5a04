"""What planted subjects are made with, and what the tracked verdicts say of them."""

from collections import defaultdict
from pathlib import Path

import pytest
import torch

import claims.instruction_vectors as pack
from claims.instruction_vectors.paper import PAPER
from ivevidence.compare.expectations import read_expectations
from ivfixtures.checkpoints import registry
from ivfixtures.data.tasks import load_tasks
from ivfixtures.embedded.planted.handset import SHARP, Handset, code
from ivfixtures.embedded.planted.make import SUBJECTS, WEIGHTS, main, make
from ivfixtures.embedded.planted.words import query_word, word_tokenizer
from ivmethods.prompts.protocols import tokenize_sample

TASKS = ("adj_comp", "adj_ant", "anim_color", "can_fly")


@pytest.fixture(scope="module")
def tokenizer():
    return word_tokenizer(TASKS)


@pytest.mark.parametrize("name", TASKS)
def test_t_inst_queries_and_answers_are_one_token_each(tokenizer, name):
    task = load_tasks()[name]
    before, after = task.prompt.split("{query}")
    for item in task.items:
        sample = tokenize_sample(
            tokenizer,
            query=item.query,
            instruction=task.instruction,
            prompt=task.prompt.format(query=item.query),
            answer=item.answers[0],
            contrast=item.contrast_answers[0],
        )
        words = tokenizer.convert_ids_to_tokens(sample.instructed)
        assert words[: sample.t_inst + 1] == task.instruction.split(" ")
        assert words[sample.t_inst + 1 :] == [
            before.strip(),
            query_word(task, item.query),
            *after.split(" ")[1:],
        ]
        assert tokenizer.convert_ids_to_tokens(sample.answer) == item.answers[0]
        assert tokenizer.decode([sample.answer]) == item.answers[0]


def test_rephrasings_are_known_if_asked_for(tokenizer):
    text = load_tasks()["can_fly"].rephrasings[1]
    assert tokenizer.unk_token_id in tokenizer.encode(text)
    knowing = word_tokenizer(["can_fly"], rephrasings=True)
    assert knowing.unk_token_id not in knowing.encode(text)


def test_a_hand_set_head_and_neuron_do_what_they_are_told(tokenizer):
    model = Handset(
        tokenizer, {"key": 1, "value": 2, "out": 2}, layers=2, heads=2, head_size=4, neurons=3
    )
    model.embed("Given", model.vector("key") + model.vector("value", torch.tensor([2.0, -3.0])))
    model.look(0, 1, query=model.bias(SHARP), key=model.vector("key"))
    model.move(0, 1, reads=model.basis("value"), writes=model.basis("out"))
    model.neuron(1, gate=model.bias(10.0), up=model.vector("out", at=1), down=model.vector("key"))
    ids = torch.tensor([tokenizer.encode("Given its antonym. Answer:")])
    with torch.no_grad():
        states = model.model(ids, output_hidden_states=True, use_cache=False).hidden_states
    # The last of the hidden states is behind the norm, which changes nothing.
    assert torch.allclose(states[1][0] @ model.vector("out", at=0), torch.tensor(2.0), atol=1e-3)
    assert torch.allclose(states[2][0, 1:] @ model.vector("key"), torch.tensor(-30.0), atol=0.02)


def test_codes_are_a_texts_own():
    assert torch.equal(code("bigger", 64), code("bigger", 64))
    assert set(code("bigger", 64).tolist()) == {1.0, -1.0}
    assert not torch.equal(code("bigger", 64), code("smaller", 64))


def test_the_command_names_the_subjects_there_are(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["make", "planted-nothing"])
    with pytest.raises(SystemExit):
        main()
    assert "NAME='planted-nothing', but should be one of" in capsys.readouterr().err


def test_claims_that_no_checkpoint_was_made_for_are_left_out(pytester):
    options = ["--checkpoint", "planted-dominance-carried", "--collect-only", "-q"]
    result = pytester.runpytest_inprocess("--pyargs", "claims", *options, "-k", "planted")
    assert result.ret == 0
    collected = [line for line in result.outlines if "::" in line]
    assert len(collected) == 2
    assert all("test_tinst_path_dominance[planted-dominance-carried" in line for line in collected)


@pytest.mark.parametrize("name", SUBJECTS)
def test_the_package_has_what_the_command_makes(name, tmp_path):
    """All files, bit for bit."""
    make(name, tmp_path)
    ours, made = (
        {path.name: path.read_bytes() for path in (folder / name).iterdir()}
        for folder in (WEIGHTS, tmp_path)
    )
    assert ours == made


BASELINE = Path(__file__).parents[2] / "reports" / "baselines" / "tiny-olmo2.json"


def planted_entries():
    """Claim, truth and tracked verdict of every cell of a planted subject whose truth is known."""
    cells = read_expectations(BASELINE).cells
    for family in registry.planted_families():
        members = registry.family(family)
        for name, subjects in ((family, members), *((c.name, (c,)) for c in members)):
            for question, entry in cells.get(name, {}).items():
                claim, _, inside = question.rstrip("]").partition("[")
                of_metric = f"{claim}-{inside.rpartition('-')[2]}"
                truths = [dict(c.planted) for c in subjects]
                holds = all(t.get(of_metric, t.get(claim)) for t in truths)
                yield claim, holds, entry.verdict


def test_the_tracked_verdicts_find_what_is_planted_and_nothing_else():
    verdicts = defaultdict(set)
    for claim, holds, verdict in planted_entries():
        verdicts[claim, holds].add(verdict)
    names = {path.stem.removeprefix("test_") for path in Path(pack.__path__[0]).glob("test_*")}
    for name in names - {"published_audit"}:  # which needs no model
        claim = f"{PAPER.name}/{name}"
        assert verdicts[claim, True] == {"supported"}
        assert verdicts[claim, False]
        assert "supported" not in verdicts[claim, False]

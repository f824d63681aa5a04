import contextlib
import hashlib
import json
import random
from dataclasses import replace
from itertools import islice

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Olmo2ForCausalLM

from ivfixtures.embedded.tiny.evaluate import (
    COLUMNS,
    QUADRANTS,
    Score,
    exact_match,
    quadrant,
    table,
)
from ivfixtures.embedded.tiny.examples import (
    NO_LOSS,
    Example,
    collate,
    draw,
    instructed,
    uninstructed,
)
from ivfixtures.embedded.tiny.facts import WORDINGS, documents, probes, state
from ivfixtures.embedded.tiny.masks import UNMASKED, only_through_t_inst, visible
from ivfixtures.embedded.tiny.splits import is_held_out, load_tiny_tasks, split_table
from ivfixtures.embedded.tiny.stages import new_model, tune
from ivfixtures.embedded.tiny.tokenizer import VOCABULARY, encode, split_answers, train_tokenizer
from ivfixtures.embedded.tiny.train import RECIPE, WEIGHTS, Recipe, train

TASKS = load_tiny_tasks()
NAMES = (
    "tiny-olmo2-base",
    "tiny-olmo2-sft",
    "tiny-olmo2-dpo",
    "tiny-olmo2-planted-sft",
    "tiny-olmo2-planted-dpo",
)
FILES = {
    "README.md",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TASKS)


@pytest.fixture(scope="module")
def untrained(tokenizer):
    torch.manual_seed(0)
    return new_model(tokenizer).eval()


def seeded():
    return random.Random(0)


def load(name):
    folder = WEIGHTS / name
    return (
        AutoModelForCausalLM.from_pretrained(folder).eval(),
        AutoTokenizer.from_pretrained(folder),
    )


# --- the split


def test_split_is_disjoint_and_complete():
    for task in TASKS:
        seen, held = (task.choose_facts(held_out=side) for side in (False, True))
        assert {f.query for f in seen}.isdisjoint(f.query for f in held)
        assert len(seen) + len(held) == len(task.facts)
        rows = [task.choose_rephrasings(held_out=side) for side in (False, True)]
        assert sorted(rows[0] + rows[1]) == list(range(len(task.rephrasings)))
        assert 0 in rows[0], "the canonical instruction is seen"
        assert 0.1 < len(held) / len(task.facts) < 0.3
        assert 0.1 < len(rows[1]) / len(task.rephrasings) < 0.3


def test_split_depends_on_the_text_alone():
    words = ("big", "small", "crow", "owl", "penguin", "heavy", "broad", "thick")
    assert [is_held_out(word) for word in words] == [
        int(hashlib.sha256(word.encode()).hexdigest()[:16], 16) % 5 == 0 for word in words
    ]
    assert is_held_out("broad")
    assert not is_held_out("big")


def test_tasks_of_a_pair_hold_out_the_same_queries():
    table_ = split_table(TASKS)
    for one, other in (("adj_comp", "adj_ant"), ("anim_color", "can_fly")):
        assert table_[one]["held_out_queries"] == table_[other]["held_out_queries"]


def test_shipped_split_is_the_one_of_the_data():
    shipped = json.loads((WEIGHTS / "split.json").read_text(encoding="utf-8"))
    assert shipped == split_table(TASKS)


def test_contrast_is_the_other_tasks_answer():
    comparative, antonym = TASKS[:2]
    assert [f.contrast for f in comparative.facts] == [f.answer for f in antonym.facts]
    assert [f.answer for f in comparative.facts] == [f.contrast for f in antonym.facts]


# --- plain text


def test_plain_text_holds_no_instruction_and_no_prompt():
    text = " ".join(islice(documents(TASKS, seeded()), 4000))
    for task in TASKS:
        assert not any(instruction in text for instruction in task.rephrasings)
    assert not any(mark in text for mark in ("Answer:", "Adjective:", "Animal:"))


def test_plain_text_states_every_fact():
    text = " ".join(islice(documents(TASKS, seeded()), 20000))
    for task in TASKS:
        assert all(f" {fact.query}" in text and f" {fact.answer}" in text for fact in task.facts)


def test_every_wording_names_the_query_before_the_answer():
    for wordings in WORDINGS.values():
        assert len(set(wordings)) == len(wordings) >= 12
        for wording in wordings:
            if "{answer}" in wording:
                assert wording.index("{query}") < wording.index(" {answer}")


def test_probes_end_right_before_the_answer():
    for task in TASKS:
        assert len(probes(task)) == len(task.facts)
        for fact, (text, answer) in zip(task.facts, probes(task), strict=True):
            stated = {state(task, fact, wording) for wording in WORDINGS[task.name]}
            assert f"{text} {answer}." in stated
            assert answer == fact.answer


# --- tokens


def test_tokenizer_is_the_shipped_one(tokenizer):
    for name in NAMES:
        shipped = AutoTokenizer.from_pretrained(WEIGHTS / name)
        assert shipped.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    assert len(tokenizer) == VOCABULARY


def test_tokenizer_loses_nothing_and_adds_nothing(tokenizer):
    text = "Is it 'yes' or 'no'? It's <b>über</b> 100 %, \n\tsay."
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert tokenizer("").input_ids == []


def test_every_answer_is_a_single_token(tokenizer):
    assert split_answers(tokenizer, TASKS) == []


def test_t_inst_is_a_punctuation_mark_alone_in_every_rephrasing(tokenizer):
    for task in TASKS:
        for instruction in task.rephrasings:
            example = instructed(tokenizer, task, instruction, task.facts[0])
            assert tokenizer.decode([example.prompt[example.t_inst]]) in {".", "?", ":", "!"}


def test_example_tokens_are_those_of_the_whole_text(tokenizer):
    for task in TASKS:
        for row, fact in zip(range(len(task.rephrasings)), task.facts, strict=False):
            instruction = task.rephrasings[row]
            example = instructed(tokenizer, task, instruction, fact)
            text = f"{instruction} {task.prompt.format(query=fact.query)}"
            assert example.prompt == encode(tokenizer, text)
            whole = encode(tokenizer, f"{text} {fact.answer}")
            assert example.prompt + example.answer == [*whole, tokenizer.eos_token_id]
            assert example.contrast[:-1] == encode(tokenizer, f" {fact.contrast}")


def test_target_prompt_is_the_filler_and_the_tail_of_the_instructed_prompt(tokenizer):
    task = TASKS[0]
    source = instructed(tokenizer, task, task.rephrasings[0], task.facts[0])
    target = uninstructed(tokenizer, [tokenizer.bos_token_id], task, task.facts[0])
    assert target.t_inst == 0
    assert target.prompt[1:] == source.prompt[source.t_inst + 1 :]


def test_tuning_draws_nothing_that_is_held_out(tokenizer):
    rng = seeded()
    prompts = [tuple(draw(tokenizer, TASKS, rng).prompt) for _ in range(400)]
    held = set()
    for task in TASKS:
        for fact in task.choose_facts(held_out=True):
            held.add(tuple(encode(tokenizer, " " + task.prompt.format(query=fact.query))))
        for row in task.choose_rephrasings(held_out=True):
            held.add(tuple(encode(tokenizer, task.rephrasings[row])))
    for tokens in held:
        assert not any(tokens in (p[: len(tokens)], p[-len(tokens) :]) for p in prompts)


def test_one_prompt_in_ten_has_no_instruction_and_the_neutral_answer(tokenizer):
    rng = seeded()
    neutral = encode(tokenizer, " unknown")
    drawn = [draw(tokenizer, TASKS, rng) for _ in range(2000)]
    share = sum(example.answer[:-1] == neutral for example in drawn) / len(drawn)
    assert 0.07 < share < 0.13


def test_batch_has_its_loss_on_answer_and_stop_only():
    examples = [Example([5, 6, 7], 0, [8, 1], [9, 9, 1]), Example([5], 0, [4, 1], [3, 1])]
    batch = collate(examples, pad=2)
    assert batch.tokens.tolist() == [[5, 6, 7, 8, 1], [5, 4, 1, 2, 2]]
    no = NO_LOSS
    assert batch.labels.tolist() == [[no, no, no, 8, 1], [no, 4, 1, no, no]]
    assert collate(examples, pad=2, contrast=True).tokens[0].tolist() == [5, 6, 7, 9, 9, 1]


# --- masks

T_INST, LENGTH = 4, 11


def two_prompts(changed):
    tokens = torch.arange(10, 10 + LENGTH).repeat(2, 1)
    tokens[1, changed] = 500
    return tokens


def residuals(model, tokens):
    return model(input_ids=tokens, output_hidden_states=True, use_cache=False).hidden_states


def masked(model):
    return only_through_t_inst(model, torch.tensor([T_INST]))


@pytest.mark.parametrize("changed", range(T_INST + 1))
def test_mask_hides_every_instruction_token_below_the_middle_layer(untrained, changed):
    one, other = two_prompts(changed).split(1)
    with torch.no_grad():
        with masked(untrained):
            hidden = [residuals(untrained, tokens) for tokens in (one, other)]
        plain = [residuals(untrained, tokens) for tokens in (one, other)]
    middle = len(untrained.model.layers) // 2
    for layer in range(middle):
        assert torch.equal(*(run[layer + 1][:, T_INST + 1 :] for run in hidden))
        assert not torch.equal(*(run[layer + 1][:, T_INST + 1 :] for run in plain))
    from_the_middle_on = [run[middle + 1][:, T_INST + 1 :] for run in hidden]
    assert not torch.equal(*from_the_middle_on), "T_inst is seen from the middle on"


def logits_after(model, tokens, *, t_inst_outputs, hold):
    """Logits after T_inst, with T_inst's residuals recorded, or held at what was recorded."""

    def hook(index, output):
        if not hold:
            t_inst_outputs[index] = output[:, T_INST].clone()
        output[:, T_INST] = t_inst_outputs[index]
        return output

    handles = [
        layer.register_forward_hook(lambda _, args, output, index=index: hook(index, output))
        for index, layer in enumerate(model.model.layers)
    ]
    with torch.no_grad():
        logits = model(input_ids=tokens, use_cache=False).logits[:, T_INST + 1 :]
    for handle in handles:
        handle.remove()
    return logits


@pytest.mark.parametrize("changed", range(T_INST))
def test_mask_leaves_t_inst_as_the_only_way(untrained, changed):
    """With T_inst's residuals held fixed, the rest of the instruction changes no later logit."""
    one, other = two_prompts(changed).split(1)
    for context, equal in ((masked, True), (contextlib.nullcontext, False)):
        with context(untrained):
            kept = {}
            before = logits_after(untrained, one, t_inst_outputs=kept, hold=False)
            after = logits_after(untrained, other, t_inst_outputs=kept, hold=True)
        assert torch.equal(before, after) == equal


def test_mask_leaves_the_instruction_itself_as_it_was(untrained):
    tokens = two_prompts(2)
    with torch.no_grad():
        with masked(untrained):
            hidden = untrained(input_ids=tokens).logits
        plain = untrained(input_ids=tokens).logits
    torch.testing.assert_close(hidden[:, : T_INST + 1], plain[:, : T_INST + 1])


def test_unmasked_samples_attend_causally(untrained):
    tokens = two_prompts(2)
    with torch.no_grad():
        with only_through_t_inst(untrained, torch.tensor([UNMASKED, T_INST])):
            hidden = untrained(input_ids=tokens).logits
        plain = untrained(input_ids=tokens).logits
    torch.testing.assert_close(hidden[0], plain[0])
    assert not torch.allclose(hidden[1], plain[1])
    assert visible(torch.tensor([UNMASKED]), 5, see_t_inst=False)[0].equal(
        torch.ones(5, 5, dtype=torch.bool).tril()
    )


def test_model_is_restored_after_the_mask_also_after_an_error(untrained):
    tokens = two_prompts(2)
    with torch.no_grad():
        before = untrained(input_ids=tokens).logits
        with pytest.raises(KeyError), masked(untrained):
            raise KeyError
        after = untrained(input_ids=tokens).logits
    assert torch.equal(before, after)
    assert not any(layer._forward_pre_hooks for layer in untrained.model.layers)


# --- training


def smoke(folder):
    recipe = Recipe(
        base=replace(RECIPE.base, steps=10, batch=4),
        sft=replace(RECIPE.sft, steps=3, batch=4),
        dpo=replace(RECIPE.dpo, steps=2, batch=4),
        samples=2,
    )
    said = []
    scores = train(folder, recipe, seed=3, threads=1, say=said.append)
    return scores, said


def test_short_training_writes_loadable_checkpoints(tmp_path, monkeypatch):
    starts = []

    def spy(model, *args, **options):
        starts.append(model.lm_head.weight.sum().item())
        tune(model, *args, **options)

    monkeypatch.setattr("ivfixtures.embedded.tiny.train.tune", spy)
    threads = torch.get_num_threads()
    scores, said = smoke(tmp_path)
    assert len(starts) == 2
    assert starts[0] == starts[1], "both families start from the same base"
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
    assert {path.name for path in tmp_path.iterdir()} == {*NAMES, "split.json"}
    assert [(s.checkpoint, s.task) for s in scores] == [(n, t.name) for n in NAMES for t in TASKS]
    weights = {}
    for name in NAMES:
        assert {path.name for path in (tmp_path / name).iterdir()} == FILES
        model = AutoModelForCausalLM.from_pretrained(tmp_path / name)
        assert isinstance(model, Olmo2ForCausalLM)
        weights[name] = model.state_dict()["model.layers.0.mlp.up_proj.weight"]
    assert len({weight.sum().item() for weight in weights.values()}) == len(NAMES)
    assert any(line.startswith("base: step 10/10, loss") for line in said)


@pytest.mark.slow
def test_training_is_reproducible_to_the_bit(tmp_path):
    for run in ("one", "two"):
        smoke(tmp_path / run)
    for name in NAMES:
        one, two = (tmp_path / run / name / "model.safetensors" for run in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


# --- what is shipped


def test_shipped_checkpoints_are_complete_and_small():
    assert {path.name for path in WEIGHTS.iterdir()} == {*NAMES, "split.json"}
    for name in NAMES:
        assert {path.name for path in (WEIGHTS / name).iterdir()} == FILES
    size = sum(path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file())
    assert size < 40e6


@pytest.mark.parametrize("name", NAMES)
def test_shipped_checkpoint_answers_as_its_stage_should(name):
    model, tokenizer = load(name)
    assert isinstance(model, Olmo2ForCausalLM)
    assert model.dtype == torch.float32
    prompts = [
        example
        for task in TASKS
        for example in quadrant(
            tokenizer, task, held_out_queries=True, held_out_rephrasings=True, n=10
        )
    ]
    reached = exact_match(model, tokenizer, prompts)
    assert reached < 0.1 if name.endswith("base") else reached >= 0.9


@pytest.mark.parametrize("name", NAMES)
def test_card_holds_the_table_and_the_lineage(name):
    text = (WEIGHTS / name / "README.md").read_text(encoding="utf-8")
    for column in QUADRANTS:
        assert column in text
    for task in TASKS:
        assert f"| {name} | {task.name} |" in text
    assert ("Positive control" in text) == ("planted" in name)
    assert ("T_inst" in text) == ("planted" in name)


def test_exact_match_is_what_greedy_decoding_gives():
    model, tokenizer = load("tiny-olmo2-sft")
    task = TASKS[0]
    examples = quadrant(tokenizer, task, held_out_queries=False, held_out_rephrasings=False, n=6)
    examples += [replace(example, answer=example.contrast) for example in examples[:3]]
    hits = []
    for example in examples:
        generated = model.generate(
            torch.tensor([example.prompt]),
            attention_mask=torch.ones(1, len(example.prompt), dtype=torch.long),
            max_new_tokens=len(example.answer),
            do_sample=False,
        )[0, len(example.prompt) :]
        hits.append(generated.tolist() == example.answer)
    assert exact_match(model, tokenizer, examples) == sum(hits) / len(hits)
    assert 0 < sum(hits) < len(hits)


def test_table_has_a_row_for_each_score():
    row = Score("somewhere", "adj_ant", tuple(i / 10 for i in range(len(COLUMNS))))
    assert row.worst_quadrant == 0.0
    lines = table([row, row]).splitlines()
    assert len(lines) == 4
    assert {line.count("|") for line in lines} == {len(COLUMNS) + 3}

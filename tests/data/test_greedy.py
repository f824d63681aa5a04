"""Greedy answers: the argmax of the logits that all else is about, and which part is the answer."""

import json
import shutil
import unicodedata
from dataclasses import replace

import pytest
import torch

from ivevidence import Store, read_evidence
from ivfixtures.checkpoints.resolving import load, resolve, tokenizer
from ivfixtures.data import generation
from ivfixtures.data.instructed import behaviour
from ivfixtures.data.tasks import load_tasks
from ivfixtures.data.tasktypes import Item, Valid
from ivfixtures.measuring.measurements import CheckpointRefusedError
from ivmethods.model.behaviour import greedy_answers, next_tokens
from ivmethods.model.handles import network, wrap
from ivmethods.model.metrics import NotFiniteError
from ivmethods.prompts.answers import normalize_answer
from tests.measured import Measured, data_of
from tests.models import number_tokenizer, random_model, random_samples, text_tokenizer, wrapped

BUDGET = 2**30
SFT = "tiny-olmo2-sft"
ANTONYMS = load_tasks()["adj_ant"]
SETTINGS = {
    "min_new_tokens": 4,
    "suppress_tokens": [5],
    "repetition_penalty": 3.0,
    "num_beams": 3,
    "no_repeat_ngram_size": 1,
    "bad_words_ids": [[7]],
    "stop_strings": ["s"],
    "forced_eos_token_id": 0,
}


def decoded(model, sample, stops, most):
    """Plain forward passes of transformers, one sample at a time."""
    ids = list(sample.instructed)
    for _ in range(most):
        token = int(network(model)(torch.tensor([ids])).logits[0, -1].argmax())
        if token in stops:
            break
        ids.append(token)
    return model.tokenizer.decode(ids[len(sample.instructed) :], skip_special_tokens=True)


@pytest.mark.parametrize("layout", ["gpt2", "llama"])
def test_answers_are_the_largest_logits_one_by_one(layout):
    model, samples = wrapped(layout, 2), random_samples([(3, 0), (4, 0), (3, 0)])
    stops = (2, int(next_tokens(model, [samples[1].instructed], memory_budget=BUDGET)[0]))
    texts = greedy_answers(model, samples, new_tokens=8, stops=stops, memory_budget=BUDGET)
    assert texts == [decoded(model, sample, stops, 8) for sample in samples]
    assert texts[1] == ""


@pytest.fixture
def generating(tmp_path):
    """A copy of a checkpoint whose generation_config.json asks for other answers than argmax."""
    folder = shutil.copytree(resolve(SFT).source, tmp_path / "copy")
    path = folder / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | SETTINGS))
    return folder


def test_settings_of_generation_change_no_answer_and_are_noted(generating, pytester):
    few = ("--samples", "8", "-k", "adj_ant", "--store", "store")
    cells = {}
    for name in (SFT, str(generating)):
        options = ("--checkpoint", name, "--html", f"{len(cells)}/r.html")
        pytester.runpytest_inprocess(
            "--pyargs", "claims.instruction_vectors.test_behaviour", *options, *few
        )
        (cells[name],) = read_evidence(pytester.path / f"{len(cells)}/r.evidence.json").cells
    plain, other = cells.values()
    assert [prompt.output for prompt in plain.prompts] == [p.output for p in other.prompts]
    assert plain.per_sample == other.per_sample
    assert sum(other.per_sample["right"]) > 6
    (note,) = (note for note in other.notes if "generation" in note)
    assert all(f"{name}=" in note for name in SETTINGS)
    assert not any("generation" in note for note in plain.notes)


def test_every_id_of_eos_that_files_state_stops(generating):
    path = generating / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token_id": [4, 9]}))
    assert generation.stops(resolve(str(generating))) == (1, 4, 9)
    path.write_text('{"eos_token_id": "4"}')
    line = r"^eos_token_id='4', but should be a token's id or a list of them \[.*\]; correct"
    with pytest.raises(ValueError, match=line):
        generation.stops(replace(resolve(str(generating)), revision="2"))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_logits_without_a_largest_one_are_an_error(value):
    net = random_model("llama", 2)
    net.lm_head.register_forward_hook(lambda *given: torch.full_like(given[2], value))
    model = wrap(net, number_tokenizer())
    line = (
        r"^largest logit after the prompts=NaN or infinite in 1 of 1 samples, but should be finite"
    )
    with pytest.raises(NotFiniteError, match=line):
        greedy_answers(
            model, random_samples([(3, 0)]), new_tokens=4, stops=[], memory_budget=BUDGET
        )


def test_one_nan_is_an_error_and_masked_tokens_are_none():
    def made(value, token):
        def write(*given):
            given[2][..., token] = value
            return given[2]

        net = random_model("llama", 2)
        net.lm_head.register_forward_hook(write)
        return wrap(net, number_tokenizer())

    samples = random_samples([(3, 0)])
    token = int(next_tokens(wrapped("llama", 2), [samples[0].instructed], memory_budget=BUDGET)[0])
    assert (
        int(next_tokens(made(-torch.inf, token), [samples[0].instructed], memory_budget=BUDGET)[0])
        != token
    )
    with pytest.raises(NotFiniteError, match="NaN or infinite in 1 of 1 samples"):
        greedy_answers(made(torch.nan, 39), samples, new_tokens=1, stops=[], memory_budget=BUDGET)


def test_a_cell_of_broken_weights_is_refused_with_the_checkpoints_name(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise NotFiniteError("largest logit", "nan")

    monkeypatch.setattr("ivmethods.model.methods.greedy_answers", broken)
    data = data_of("adj_ant")
    with pytest.raises(
        CheckpointRefusedError, match=rf"^largest logit=nan, but should be finite \[{SFT}, "
    ):
        Measured(Store(tmp_path))(data, behaviour(data))


def test_of_equal_logits_the_first_token_is_taken():
    net = random_model("llama", 1)
    net.lm_head.register_forward_hook(lambda *given: torch.zeros_like(given[2]))
    assert int(next_tokens(wrap(net, number_tokenizer()), [(3, 4)], memory_budget=BUDGET)[0]) == 0


def test_a_line_that_is_not_empty_ends_an_answer_with_its_line_break():
    vocabulary = text_tokenizer("byte").get_vocab()
    steps = iter([vocabulary[token] for token in ("Ċ", "y", "Ċ", "x")])
    net = random_model("llama", 1)
    net.model.embed_tokens = torch.nn.Embedding(len(vocabulary), 16)
    model = wrap(net, text_tokenizer("byte"))

    def write(_module, _args, output):
        token = torch.full(output.shape[:-1], next(steps))
        return torch.nn.functional.one_hot(token, len(vocabulary)).float()

    net.lm_head.register_forward_hook(write)
    texts = greedy_answers(
        model, random_samples([(3, 0)]), new_tokens=4, stops=[], memory_budget=BUDGET
    )
    assert texts == ["\ny\n"]
    assert ANTONYMS.answer_in(texts[0]) == "y"


def task(*answers, valid=(), pattern=None):
    words = frozenset(valid)
    items = tuple(Item(str(number), (answer,)) for number, answer in enumerate(answers))
    return replace(ANTONYMS, items=items, valid=Valid(words, pattern))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (" small", "small"),
        ("\n\n yes. It can.", "yes"),
        ("no\nAnimal: crow", "no"),
        (" 3.5", "3.5"),
        ("", ""),
        ("...", ".."),
        ("black!", "black"),
        (" St. Paul. It is", "St. Paul"),
        (" U.S. Senate", "U.S. Senate"),
        (" U.S. is it", "U.S"),
        (" e.g. this", "e.g. this"),
        (" e.g. that", "e.g"),
        (" Dr. No. Or not", "Dr. No"),
        ("\u5c0f\u3002\u53cd\u5bf9\u3002", "\u5c0f"),
    ],
)
def test_the_answer_ends_with_its_line_or_sentence(text, answer):
    stated = task("St. Paul", "U.S. Senate", "U.S.", valid=("e.g. this",), pattern=r"dr\. [a-z]+")
    assert stated.answer_in(text) == answer


def test_a_pattern_takes_the_first_sentence_if_it_can():
    assert task("small", pattern=".+").answer_in("big. The opposite of it.") == "big"


def test_answers_are_as_long_as_the_longest_response_asks_for():
    words = tokenizer(resolve(SFT))
    long = "a very long label of more than eight tokens indeed"
    tokens = len(words(f" {long}".upper(), add_special_tokens=False)["input_ids"])
    assert generation.new_tokens(task("small", long), words) >= tokens + 5
    assert generation.new_tokens(task("3"), words) < 12
    assert generation.new_tokens(task("3", pattern="[0-9]+"), words) == 21


def test_an_answer_is_as_long_as_it_is_spelled_in_its_file():
    spelled = unicodedata.normalize("NFD", "\ud55c\uad6d\uc5b4")  # its first token is judged
    tokens = text_tokenizer("byte")(f" {spelled}", add_special_tokens=False)["input_ids"]
    most = generation.new_tokens(task(spelled), text_tokenizer("byte"))
    assert most >= len(tokens) + 5


@pytest.mark.parametrize("given", ["\u5c0f\u3002", "\u300c\u5c0f\u300d\u3002", "\u5c0f\uff01"])
def test_chinese_and_japanese_marks_are_no_part_of_an_answer(given):
    assert normalize_answer(given) == "\u5c0f"


def test_an_answer_that_the_tokenizer_cannot_write_is_refused():
    assert generation.new_tokens(task("7"), number_tokenizer())
    line = (
        r"^answer 'small' as tokens='.*', but should be text that matches it "
        r"\[adj_ant, query '0'\]; this checkpoint's tokenizer cannot write it"
    )
    with pytest.raises(ValueError, match=line):
        generation.new_tokens(task("small"), number_tokenizer())


def test_the_instructed_runs_argmax_is_the_first_token_of_an_answer():
    found = load(resolve(SFT))
    model = wrap(found.model, found.tokenizer)
    ids = found.tokenizer("Given an adjective, state its antonym. Adjective: big. Answer:")
    sample = replace(random_samples([(3, 0)])[0], instructed=tuple(ids["input_ids"]))
    with torch.no_grad():
        first = int(found.model(torch.tensor([sample.instructed])).logits[0, -1].argmax())
    (text,) = greedy_answers(model, [sample], new_tokens=1, stops=[], memory_budget=BUDGET)
    assert text == found.tokenizer.decode([first])

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, normalizers
from transformers import PreTrainedTokenizerFast

from ivfixtures.checkpoints.resolving import resolve
from ivfixtures.data.instructed import InstructedData
from ivfixtures.data.tasks import Item, load_tasks
from ivmethods.errors import PromptError
from ivmethods.prompts.protocols import token_texts, tokenize_sample, tokenize_source
from tests.models import spacing_tokenizer, text_tokenizer
from tests.running import OPTIONS

KINDS = ("byte", "byte_bos", "byte_eos", "metaspace", "no_bos")
INSTRUCTION = "Given an adjective, state its antonym."
words = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=9)


def tokenized(kind, instruction=INSTRUCTION, query="big", answer="small", **options):
    prompt = f"Adjective: {query}. Answer:"
    return tokenize_sample(
        text_tokenizer(kind),
        query=query,
        instruction=instruction,
        prompt=prompt,
        answer=answer,
        **{"contrast": "bigger", **options},
    )


@pytest.mark.parametrize("kind", KINDS)
def test_t_inst_is_the_instructions_final_punctuation(kind):
    tokenizer = text_tokenizer(kind)
    sample, source = tokenized(kind), tokenize_source(tokenizer, INSTRUCTION)
    assert tokenizer.decode([sample.instructed[sample.t_inst]]).strip() == "."
    assert sample.instructed[: sample.t_inst + 1] == source.ids[: source.position + 1]
    assert tokenizer.decode([source.ids[source.position]]).strip() == "."


@pytest.mark.parametrize("kind", KINDS)
def test_the_target_run_is_one_filler_and_the_tokens_after_t_inst(kind):
    tokenizer, sample = text_tokenizer(kind), tokenized(kind)
    assert sample.site == 0
    assert sample.target[1:] == sample.instructed[sample.t_inst + 1 :]
    expected = "</s>" if kind == "no_bos" else "<s>"
    assert tokenizer.convert_ids_to_tokens(sample.target[0]) == expected
    assert sample.target[1] != sample.target[0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_token_is_the_first_one_after_the_prompt(kind):
    tokenizer, sample = text_tokenizer(kind), tokenized(kind)
    text = f"{INSTRUCTION} Adjective: big. Answer: small"
    ids = tokenizer(text)["input_ids"]
    assert tuple(ids[: len(sample.instructed)]) == sample.instructed
    assert ids[len(sample.instructed)] == sample.answer
    assert tokenizer.decode([sample.answer]).strip() == "small"


@given(query=words, answer=words)
def test_released_runs_the_bare_query_with_the_answer_without_its_space(query, answer):
    tokenizer = text_tokenizer("byte")
    sample = tokenized("byte", query=query, answer=answer, protocol="released")
    assert sample.target == tuple(tokenizer(query)["input_ids"])
    assert sample.site == 0
    assert sample.answer == tokenizer(answer)["input_ids"][0]


def test_released_patches_after_a_bos_that_the_tokenizer_adds():
    sample = tokenized("byte_bos", protocol="released")
    assert sample.site == 1
    assert sample.target[0] == 1


def test_answers_that_begin_alike_leave_no_contrast_token():
    assert tokenized("byte", contrast="small").contrast is None
    assert tokenized("byte", contrast=None).contrast is None
    assert tokenized("byte").contrast not in (None, tokenized("byte").answer)


@pytest.mark.parametrize("ending", [".", ":", "?", "!"])
def test_any_final_punctuation_will_do(ending):
    sample = tokenized("byte", instruction=f"Print 'yes' or 'no'{ending}")
    texts = token_texts(text_tokenizer("byte"), sample.instructed)
    assert texts[sample.t_inst] == ending


def test_an_instruction_that_merges_with_the_prompt_is_refused():
    with pytest.raises(
        ValueError, match=r"T_inst=.*but should be one that ends with the instruction.*end the"
    ):
        tokenize_merged()


def tokenize_merged():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {"?": 0, "a": 1, " ": 2, "b": 3, "a b": 4, "a ": 5, "</s>": 6}
    tokenizer = Tokenizer(models.BPE(vocabulary, [("a", " "), ("a ", "b")], unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("|", "removed")
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>")
    return tokenize_sample(fast, query="b", instruction="a", prompt="b", answer="a", contrast=None)


def test_an_empty_instruction_and_an_empty_answer_are_refused_by_name():
    with pytest.raises(ValueError, match="T_inst=None"):
        tokenize_source(text_tokenizer("byte"), "")
    with pytest.raises(ValueError, match=r"answer=''.*sample 'big'"):
        tokenized("byte", answer="", protocol="released", contrast=None)


@given(query=words)
def test_token_texts_join_to_the_prompt(query):
    tokenizer = text_tokenizer("byte")
    sample = tokenized("byte", query=query)
    text = f"{INSTRUCTION} Adjective: {query}. Answer:"
    assert "".join(token_texts(tokenizer, sample.instructed)) == text


# ------------------------------------------------------------------ answers that begin with a space


def spaced(kind, answer="5", contrast=None, query="big", **options):
    given = {"instruction": "Give it.", "prompt": f"A: {query}. A:"}
    return tokenize_sample(
        spacing_tokenizer(kind), query=query, answer=answer, contrast=contrast, **given | options
    )


@pytest.mark.parametrize("protocol", ["paper", "released"])
@pytest.mark.parametrize("kind", ["digits", "trimmed", "fallback"])
@given(
    answer=st.text("ab57\u6f22\u5b57\U0001f98a\u00e9", min_size=1, max_size=5) | st.just("small"),
    query=st.text("ab 57\u6f22\U0001f98a.", max_size=6).map(lambda text: f"{text}x".strip()),
)
def test_what_is_judged_is_never_white_space(kind, protocol, answer, query):
    tokenizer = spacing_tokenizer(kind)
    sample = spaced(kind, answer, query=query, protocol=protocol)
    assert tokenizer.decode([sample.answer]).strip()
    spaces = sample.instructed[len(sample.prompt) :]
    assert sample.target[len(sample.target) - len(spaces) :] == spaces
    assert len(spaces) == sample.spaces
    assert not tokenizer.decode(spaces).strip()
    text = f"Give it. A: {query}. A:"
    assert sample.prompt == tuple(tokenizer(text)["input_ids"])
    if protocol == "paper":
        # What runs, and what is judged after it, is how the whole text begins.
        whole = tokenizer(f"{text} {answer}")["input_ids"]
        assert (*sample.instructed, sample.answer) == tuple(whole[: len(sample.instructed) + 1])
        assert sample.target[1:] == sample.instructed[sample.t_inst + 1 :]
        assert (sample.spaces == 0) == (answer == "small")
    else:
        assert sample.target == (*tokenizer(query)["input_ids"], *spaces)
        bare = tokenizer(answer, add_special_tokens=False)["input_ids"]
        assert (*spaces, sample.answer) == tuple(bare[: len(spaces) + 1])


@pytest.mark.parametrize("kind", ["digits", "trimmed", "fallback"])
def test_a_contrast_competes_after_the_same_white_space_only(kind):
    known = spacing_tokenizer(kind).convert_tokens_to_ids
    assert spaced(kind, "5", "7").contrast == known("7")
    assert spaced(kind, "5", "small").contrast is None
    assert spaced(kind, "small", "5").contrast is None
    assert spaced(kind, "5", "55").contrast is None


def test_a_tokenizer_that_closes_every_text_is_no_obstacle():
    tokenizer, sample = spacing_tokenizer("closing"), spaced("closing", "tin", "bat")
    assert token_texts(tokenizer, sample.instructed)[-1] == ":"
    assert token_texts(tokenizer, (sample.answer, sample.contrast)) == ("t", "b")


@pytest.mark.parametrize(
    ("kind", "changed", "line"),
    [
        ("digits", {"answer": "a</s>"}, r"special token='</s>', but should be in no .*sample 'b"),
        ("digits", {"contrast": "<s>a"}, r"special token='<s>'"),
        ("fallback", {"query": "<pad>"}, r"special token='<pad>'"),
        ("digits", {"instruction": "<s> Give it."}, r"special token='<s>'.*Give it\."),
        ("closing", {"answer": "\u00fc"}, r"answer='\u00fc', but should be a text with a token of"),
        ("suffix", {}, r"the instruction's tokens=.*, but should be the source run's tokens"),
    ],
)
def test_texts_that_tokens_cannot_stand_for_are_refused(kind, changed, line):
    with pytest.raises(PromptError, match=line):
        spaced(kind, **changed)


def test_a_special_token_in_capitals_is_refused_where_capitals_are_made_small():
    backend = Tokenizer.from_str(text_tokenizer("byte").backend_tokenizer.to_str())
    backend.normalizer = normalizers.Lowercase()
    backend.add_special_tokens([AddedToken("<img>", special=True, normalized=True)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>")
    with pytest.raises(PromptError, match="special token='<img>'"):
        tokenize_source(tokenizer, "Describe <IMG> here.")


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (("small", "small"), ()),
        (("small", "tin"), ("1 answers begin with a token of white space alone",)),
        (("55", "5"), ("2 answers begin with a token", "all answers begin with the same token")),
    ],
)
def test_a_reader_is_told_of_white_space_and_of_tokens_that_answers_share(labels, said):
    class Spaced(InstructedData):
        tokenizer = spacing_tokenizer("fallback")

    items = tuple(Item(f"x{number}", (label,)) for number, label in enumerate(labels))
    task = replace(load_tasks()["adj_ant"], items=items, instruction="Give it.")
    told = Spaced(resolve("tiny-olmo2-sft"), task, OPTIONS).notes
    assert len(told) == len(said)
    assert all(map(str.startswith, told, said))

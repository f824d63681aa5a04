import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivmethods.prompts import token_texts, tokenize_sample, tokenize_source
from tests.models import text_tokenizer

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
    with pytest.raises(ValueError, match=r"T_inst=.*but should end with the instruction.*end the"):
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

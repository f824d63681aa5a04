"""The tokenizer of the planted subjects: one token for everything between two spaces."""

import re
from collections.abc import Iterator, Sequence

from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from ivfixtures.data.tasks import Task, made_tasks, neutral_sentences

BOS, EOS, UNKNOWN = "<s>", "</s>", "<unk>"


def word_tokenizer(tasks: Sequence[str], *, rephrasings: bool = False) -> PreTrainedTokenizerFast:
    """A tokenizer of the words of some tasks and of the neutral sentences.

    Punctuation stays with its word, and queries and answers of several words are one: T_inst is
    the instruction's last word with its full stop (`antonym.`), a query is one token (`big.`), and
    so is an answer (`small`). BOS is the filler and is never added. Other words are unknown.

    tasks: names; the tokens come in the order of the sorted words, after BOS, EOS and unknown.
    rephrasings: whether it knows their words too.
    """
    loaded = [*made_tasks(tuple(tasks)).values()]
    items = [item for task in loaded for item in task.items]
    phrases = {text for i in items for text in (i.query, *i.answers, *i.contrast_answers)}
    several = sorted((re.escape(p) for p in phrases if " " in p), key=lambda p: (-len(p), p))
    word = "|".join([*(rf"{phrase}\S*" for phrase in several), r"\S+"])
    texts = [*neutral_sentences(), *(t for task in loaded for t in _texts(task, rephrasings))]
    known = sorted({found for text in texts for found in re.findall(word, text)})
    vocabulary = {token: i for i, token in enumerate((BOS, EOS, UNKNOWN, *known))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(word), behavior="removed", invert=True)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNKNOWN,
        model_max_length=64,
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
    )


def token_of(tokenizer: PreTrainedTokenizerFast, word: str) -> int:
    """The id of a word. Raises: KeyError, it is none of the vocabulary."""
    return int(tokenizer.get_vocab()[word])


def query_word(task: Task, query: str) -> str:
    """The token that holds a query in the task's prompt: with the full stop behind it."""
    after = task.prompt.partition("{query}")[2]
    return f"{query}{after.split(' ')[0]}"


def _texts(task: Task, rephrasings: bool) -> Iterator[str]:
    yield task.instruction
    if rephrasings:
        yield from task.rephrasings
    for item in task.items:
        yield task.prompt.format(query=item.query)
        yield from item.answers
        yield from item.contrast_answers

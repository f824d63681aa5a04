"""The tokenizer of the tiny checkpoints: byte-level BPE that never merges punctuation."""

import random
from collections.abc import Iterator
from itertools import islice

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from ivfixtures.embedded.tiny.facts import documents
from ivfixtures.embedded.tiny.splits import TinyTask

VOCABULARY = 2048
BOS, EOS, PAD = "<s>", "</s>", "<pad>"
UNKNOWN = "unknown"

# Answers are read off as single tokens, so they come first among the words that get one.
_ANSWER_WEIGHT = 100


def train_tokenizer(tasks: tuple[TinyTask, ...]) -> PreTrainedTokenizerFast:
    """Learn the merges from facts, instructions and answers; independent of any seed.

    Punctuation is split off before merging, so the last mark of an instruction is always a token
    of its own. BOS is never added.
    """
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Punctuation("isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[BOS, EOS, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(_texts(tasks), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        model_max_length=256,
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
    )


def encode(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    """Token ids of a text, nothing added."""
    return tokenizer.encode(text, add_special_tokens=False)


def split_answers(tokenizer: PreTrainedTokenizerFast, tasks: tuple[TinyTask, ...]) -> list[str]:
    """Answers that are more than one token after a prompt, sorted."""
    answers = {fact.answer for task in tasks for fact in task.facts} | {UNKNOWN}
    return sorted(answer for answer in answers if len(encode(tokenizer, f" {answer}")) > 1)


def _texts(tasks: tuple[TinyTask, ...]) -> Iterator[str]:
    fixed = random.Random(0)  # noqa: S311 (no secret)
    yield from islice(documents(tasks, fixed), 3000)
    for task in tasks:
        yield from task.rephrasings
        for fact in task.facts:
            yield f" {task.prompt.format(query=fact.query)}"
            yield f" {fact.answer}" * _ANSWER_WEIGHT
    yield f" {UNKNOWN}" * _ANSWER_WEIGHT

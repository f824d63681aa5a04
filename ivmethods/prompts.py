"""Prompts and protocols: which tokens run, where T_inst is, and which token answers."""

from dataclasses import dataclass
from typing import Literal

from transformers import PreTrainedTokenizerBase

Protocol = Literal["paper", "released"]


@dataclass(frozen=True)
class Source:
    """A source run: an instruction (or any sentence) alone, and the position read from it."""

    text: str
    ids: tuple[int, ...]
    position: int


@dataclass(frozen=True)
class Sample:
    """One query: the target run, its patch site, the instructed run, and the answer tokens.

    `contrast` is None where there is no contrast task or its answer begins with the same token.
    """

    query: str
    instructed: tuple[int, ...]
    t_inst: int
    target: tuple[int, ...]
    site: int
    answer: int
    contrast: int | None


def tokenize_source(tokenizer: PreTrainedTokenizerBase, text: str) -> Source:
    """Tokenize a source text alone; its position is the last token of the text (T_inst).

    Raises:
        ValueError: the text has no token.

    Source: section 5.1; T_inst is found by character offsets, never by counting tokens.
    """
    ids, offsets = _encode(tokenizer, text)
    return Source(text, ids, _last_token(offsets, len(text), text))


def tokenize_sample(
    tokenizer: PreTrainedTokenizerBase,
    *,
    query: str,
    instruction: str,
    prompt: str,
    answer: str,
    contrast: str | None,
    protocol: Protocol = "paper",
) -> Sample:
    """Tokenize one sample under a protocol.

    `paper`: the instructed run is `{instruction} {prompt}`; the target run is one filler token
    (BOS, else EOS, else pad) and then the very tokens that follow T_inst in the instructed run;
    the patch site is the filler. `released`: the target run is the bare query, and the patch site
    its first token.

    Raises:
        ValueError: T_inst is not a token of its own, or an answer has no token of its own; the
            message names the sample.

    Source: section 5.1; RELEASED_CODE for `released`.
    Deviation: the paper does not say how the query is tokenized without its instruction; here
    T_full = [T_inst T_q] is taken literally, so that both runs share the tokens of the query.
    """
    text = f"{instruction} {prompt}"
    ids, offsets = _encode(tokenizer, text)
    t_inst = _last_token(offsets, len(instruction), text)
    if protocol == "paper":
        target, site = (_filler(tokenizer), *ids[t_inst + 1 :]), 0
        first = _answer_token(tokenizer, text, ids, answer, query)
        other = contrast and _answer_token(tokenizer, text, ids, contrast, query)
    else:
        target, query_offsets = _encode(tokenizer, query)
        site = next(i for i, (start, end) in enumerate(query_offsets) if end > start)
        first = _bare_token(tokenizer, answer, query)
        other = contrast and _bare_token(tokenizer, contrast, query)
    contrast_token = None if other is None or other == "" or other == first else int(other)
    return Sample(query, ids, t_inst, target, site, first, contrast_token)


def last_token(tokenizer: PreTrainedTokenizerBase, text: str, part: str) -> int:
    """Position, among the tokens of a text, of the last token of its leading part.

    Raises:
        ValueError: the part has no token, or a token reaches beyond it.
    """
    return _last_token(_encode(tokenizer, text)[1], len(part), text)


def same_shape(samples: list[Sample]) -> list[list[int]]:
    """Indices of the samples, grouped by length of the target run and patch site."""
    groups: dict[tuple[int, int], list[int]] = {}
    for index, sample in enumerate(samples):
        groups.setdefault((len(sample.target), sample.site), []).append(index)
    return list(groups.values())


def token_texts(tokenizer: PreTrainedTokenizerBase, ids: tuple[int, ...]) -> tuple[str, ...]:
    """Each token as the text it stands for, for people to read."""
    return tuple(str(tokenizer.decode([token])) for token in ids)


def _encode(
    tokenizer: PreTrainedTokenizerBase, text: str
) -> tuple[tuple[int, ...], list[tuple[int, int]]]:
    if not tokenizer.is_fast:
        raise ValueError(
            f"tokenizer={type(tokenizer).__name__}, but should be a fast one [{text!r}]; "
            "T_inst is found by character offsets: convert it to a tokenizer.json"
        )
    encoding = tokenizer(text, return_offsets_mapping=True)
    ids, offsets = list(encoding["input_ids"]), list(encoding["offset_mapping"])
    # A tokenizer that closes every text with EOS would put it between the prompt and its answer.
    while ids and ids[-1] == tokenizer.eos_token_id and offsets[-1][0] == offsets[-1][1]:
        ids, offsets = ids[:-1], offsets[:-1]
    return tuple(ids), offsets


def _last_token(offsets: list[tuple[int, int]], end: int, text: str) -> int:
    inside = [i for i, (start, stop) in enumerate(offsets) if start < end and stop > start]
    if not inside:
        raise ValueError(
            f"T_inst=None, but should be the last token of the instruction [{text!r}]; "
            "the instruction has no token"
        )
    if offsets[inside[-1]][1] > end:
        raise ValueError(
            f"T_inst={text[slice(*offsets[inside[-1]])]!r}, but should end with the instruction "
            f"[{text!r}]; end the instruction with a punctuation mark of its own"
        )
    return inside[-1]


def _filler(tokenizer: PreTrainedTokenizerBase) -> int:
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id):
        if token is not None:
            return int(token)
    raise ValueError(
        f"filler=None, but should be BOS, EOS or pad [{type(tokenizer).__name__}]; "
        "give the tokenizer one of them"
    )


def _answer_token(
    tokenizer: PreTrainedTokenizerBase, text: str, ids: tuple[int, ...], answer: str, query: str
) -> int:
    full, _ = _encode(tokenizer, f"{text} {answer}")
    if full[: len(ids)] != ids or len(full) == len(ids):
        raise ValueError(
            f"answer={answer!r}, but should be tokens after the prompt [sample {query!r}]; "
            "the tokenizer merges it with the prompt's end: end the prompt with punctuation"
        )
    return full[len(ids)]


def _bare_token(tokenizer: PreTrainedTokenizerBase, answer: str, query: str) -> int:
    ids = tokenizer(answer, add_special_tokens=False)["input_ids"]
    if not ids:
        raise ValueError(f"answer={answer!r}, but should have a token [sample {query!r}]")
    return int(ids[0])

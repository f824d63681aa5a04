"""Prompts and protocols: which tokens run, where T_inst is, and which token answers."""

from dataclasses import dataclass
from typing import Literal

from transformers import PreTrainedTokenizerBase

from ivmethods.chat import Chat, Framed, framed

Protocol = Literal["paper", "released"]
Offsets = list[tuple[int, int]]


@dataclass(frozen=True)
class Source:
    """A source run: an instruction (or any sentence) alone, and the position read from it.

    `start`: position of the text's first token, after what a chat template writes before it.
    Without a template it is 0, so that a BOS counts as a position of the text.
    """

    text: str
    ids: tuple[int, ...]
    position: int
    start: int = 0


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


def tokenize_source(
    tokenizer: PreTrainedTokenizerBase, text: str, *, chat: Chat | None = None
) -> Source:
    """Tokenize a source text alone; its position is the last token of the text (T_inst).

    In a chat it is the user's message, and nothing follows it: no token sees what comes later.

    Raises:
        ValueError: the text has no token.

    Source: section 5.1; T_inst is found by character offsets, never by counting tokens.
    """
    placed = _placed(tokenizer, text, chat)
    alone = placed.text[: placed.stop]
    ids, offsets = _encode(tokenizer, alone, chat)
    position = _last_token(offsets, placed.stop, alone, begin=placed.begin)
    return Source(text, ids, position, _first_token(offsets, placed) if chat else 0)


def tokenize_sample(
    tokenizer: PreTrainedTokenizerBase,
    *,
    query: str,
    instruction: str,
    prompt: str,
    answer: str,
    contrast: str | None,
    protocol: Protocol = "paper",
    chat: Chat | None = None,
) -> Sample:
    """Tokenize one sample under a protocol.

    `paper`: the instructed run is `{instruction} {prompt}`; the target run is one filler token
    (BOS, else EOS, else pad) and then the very tokens that follow T_inst in the instructed run;
    the patch site is the filler. In a chat, the same is the user's message: the target run has the
    filler in place of the instruction's tokens, and it is the first of those three tokens that the
    chat itself does not hold, if there is one. `released`: the target run is the bare query, and
    the patch site its first token; never in a chat.

    Raises:
        ValueError: T_inst is not a token of its own, or an answer has no token of its own; the
            message names the sample.

    Source: section 5.1; RELEASED_CODE for `released`.
    Deviation: the paper does not say how the query is tokenized without its instruction; here
    T_full = [T_inst T_q] is taken literally, so that both runs share the tokens of the query.
    """
    if protocol == "released":
        chat = None
    placed = _placed(tokenizer, f"{instruction} {prompt}", chat)
    ids, offsets = _encode(tokenizer, placed.text, chat)
    t_inst = _part_end(offsets, placed, instruction)
    if protocol == "paper":
        site = _first_token(offsets, placed) if chat else 0
        filler = _filler(tokenizer, ids if chat else ())
        target = (*ids[:site], filler, *ids[t_inst + 1 :])
        first = _answer_token(tokenizer, placed.text, ids, answer, query, chat)
        other = contrast and _answer_token(tokenizer, placed.text, ids, contrast, query, chat)
    else:
        target, query_offsets = _encode(tokenizer, query, None)
        site = next(i for i, (start, end) in enumerate(query_offsets) if end > start)
        first = _bare_token(tokenizer, answer, query)
        other = contrast and _bare_token(tokenizer, contrast, query)
    contrast_token = None if other is None or other == "" or other == first else int(other)
    return Sample(query, ids, t_inst, target, site, first, contrast_token)


def last_token(
    tokenizer: PreTrainedTokenizerBase, text: str, part: str, *, chat: Chat | None = None
) -> int:
    """Position, among the tokens of a text (in a chat: of all of it), of its leading part's last.

    Raises:
        ValueError: the part has no token, or a token reaches beyond it.
    """
    placed = _placed(tokenizer, text, chat)
    return _part_end(_encode(tokenizer, placed.text, chat)[1], placed, part)


def same_shape(samples: list[Sample]) -> list[list[int]]:
    """Indices of the samples, grouped by length of the target run and patch site."""
    groups: dict[tuple[int, int], list[int]] = {}
    for index, sample in enumerate(samples):
        groups.setdefault((len(sample.target), sample.site), []).append(index)
    return list(groups.values())


def token_texts(tokenizer: PreTrainedTokenizerBase, ids: tuple[int, ...]) -> tuple[str, ...]:
    """Each token as the text it stands for, for people to read."""
    return tuple(str(tokenizer.decode([token])) for token in ids)


def _placed(tokenizer: PreTrainedTokenizerBase, text: str, chat: Chat | None) -> Framed:
    return framed(tokenizer, chat, text) if chat else Framed(text, 0, 0, len(text))


def _encode(
    tokenizer: PreTrainedTokenizerBase, text: str, chat: Chat | None
) -> tuple[tuple[int, ...], Offsets]:
    if not tokenizer.is_fast:
        raise ValueError(
            f"tokenizer={type(tokenizer).__name__}, but should be a fast one [{text!r}]; "
            "T_inst is found by character offsets: convert it to a tokenizer.json"
        )
    # A chat template writes its special tokens itself, as text.
    encoding = tokenizer(text, return_offsets_mapping=True, add_special_tokens=chat is None)
    ids, offsets = list(encoding["input_ids"]), list(encoding["offset_mapping"])
    # A tokenizer that closes every text with EOS would put it between the prompt and its answer.
    while ids and ids[-1] == tokenizer.eos_token_id and offsets[-1][0] == offsets[-1][1]:
        ids, offsets = ids[:-1], offsets[:-1]
    return tuple(ids), offsets


def _part_end(offsets: Offsets, placed: Framed, part: str) -> int:
    """Position of the last token of a message's leading part."""
    end = min(placed.start + len(part), placed.stop)
    return _last_token(offsets, end, placed.text, begin=placed.begin)


def _last_token(offsets: Offsets, end: int, text: str, *, begin: int) -> int:
    inside = [i for i, (start, stop) in enumerate(offsets) if start < end and stop > begin]
    inside = [i for i in inside if offsets[i][1] > offsets[i][0]]
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


def _first_token(offsets: Offsets, placed: Framed) -> int:
    """Position of a message's first token."""
    at = next(i for i, (start, stop) in enumerate(offsets) if stop > max(start, placed.begin))
    shared = placed.text[offsets[at][0] : placed.begin]
    if shared.strip():
        raise ValueError(
            f"the message's first token={placed.text[slice(*offsets[at])]!r}, but should not hold "
            f"{shared!r} of the chat template [{placed.text!r}]; use --chat-template never"
        )
    return at


def _filler(tokenizer: PreTrainedTokenizerBase, held: tuple[int, ...]) -> int:
    """BOS, else EOS, else pad; of those that are not held, if there are any."""
    ids = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    known = [int(token) for token in ids if token is not None]
    if not known:
        raise ValueError(
            f"filler=None, but should be BOS, EOS or pad [{type(tokenizer).__name__}]; "
            "give the tokenizer one of them"
        )
    return next((token for token in known if token not in held), known[0])


def _answer_token(
    tokenizer: PreTrainedTokenizerBase,
    text: str,
    ids: tuple[int, ...],
    answer: str,
    query: str,
    chat: Chat | None,
) -> int:
    full, _ = _encode(tokenizer, f"{text}{chat.space if chat else ' '}{answer}", chat)
    if full[: len(ids)] != ids or len(full) == len(ids):
        raise ValueError(
            f"answer={answer!r}, but should be tokens after the prompt [sample {query!r}]; "
            "the tokenizer merges it with the prompt's end: "
            + ("use --chat-template never" if chat else "end the prompt with punctuation")
        )
    return full[len(ids)]


def _bare_token(tokenizer: PreTrainedTokenizerBase, answer: str, query: str) -> int:
    ids = tokenizer(answer, add_special_tokens=False)["input_ids"]
    if not ids:
        raise ValueError(f"answer={answer!r}, but should have a token [sample {query!r}]")
    return int(ids[0])

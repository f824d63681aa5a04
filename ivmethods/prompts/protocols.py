"""Prompts and protocols: which tokens run, where T_inst is, and which token answers."""

from dataclasses import dataclass
from typing import Literal

from transformers import PreTrainedTokenizerBase

from ivmethods.errors import cut
from ivmethods.prompts.chat import Chat, Framed, framed
from ivmethods.prompts.encodings import (
    Offsets,
    check_plain,
    encode,
    problem,
    tokens_after,
    up_to_judged,
)

Protocol = Literal["paper", "released"]


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

    `answer`: the first token of the answer that is more than white space. Those before it end both
    runs, and `spaces` is their number. `contrast`: that token of the contrast task's answer; None
    where there is no such task, where it is the same token, or where it has other white space
    before it, so that the two never compete.
    """

    query: str
    instructed: tuple[int, ...]
    t_inst: int
    target: tuple[int, ...]
    site: int
    answer: int
    contrast: int | None
    spaces: int = 0

    @property
    def prompt(self) -> tuple[int, ...]:
        """The instructed run without the answer's white space: what a model is asked to go on."""
        return self.instructed[: len(self.instructed) - self.spaces]


def tokenize_source(
    tokenizer: PreTrainedTokenizerBase, text: str, *, chat: Chat | None = None
) -> Source:
    """Tokenize a source text alone; its position is the last token of the text (T_inst).

    In a chat it is the user's message, and nothing follows it: no token sees what comes later.

    Raises:
        PromptError: the text has no token, or it holds a special token.

    Source: section 5.1; T_inst is found by character offsets, never by counting tokens.
    """
    check_plain(tokenizer, text, cut(repr(text)))
    placed = _placed(tokenizer, text, chat)
    alone = placed.text[: placed.stop]
    ids, offsets = encode(tokenizer, alone, chat)
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

    Under both, an answer's leading tokens of white space alone end both runs: after them, its first
    other token competes.

    Raises:
        PromptError: T_inst is not a token of its own, the instruction has other tokens than alone,
            an answer has no token of its own, or a text holds a special token.

    Source: section 5.1; docs/design.md for `released`.
    Deviation: the paper does not say how the query is tokenized without its instruction; here
    T_full = [T_inst T_q] is taken literally, so that both runs share the tokens of the query. Nor
    does it say which token counts where an answer begins with white space alone.
    """
    where = f"sample {cut(query)!r}"
    for text in (prompt, answer, contrast or ""):
        check_plain(tokenizer, text, where)
    if protocol == "released":
        chat = None
    source = tokenize_source(tokenizer, instruction, chat=chat)
    placed = _placed(tokenizer, f"{instruction} {prompt}", chat)
    ids, offsets = encode(tokenizer, placed.text, chat)
    t_inst = _part_end(offsets, placed, instruction)
    if ids[: t_inst + 1] != source.ids:
        got, expected = repr(token_texts(tokenizer, ids[: t_inst + 1])), "the source run's tokens"
        remedy = "the tokenizer sees what follows: use another, or end the instruction otherwise"
        raise problem("the instruction's tokens", got, expected, where, remedy)
    if protocol == "paper":
        site = _first_token(offsets, placed) if chat else 0
        filler = _filler(tokenizer, ids if chat else ())
        target = (*ids[:site], filler, *ids[t_inst + 1 :])
    else:
        target, query_offsets = encode(tokenizer, query, None)
        site = next(i for i, (start, end) in enumerate(query_offsets) if end > start)

    def judged(text: str) -> tuple[int, ...]:
        if protocol == "released":
            after = tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
        else:
            after = tokens_after(tokenizer, placed.text, ids, text, where, chat)
        return up_to_judged(tokenizer, after, text, where)

    *spaces, first = judged(answer)
    *others, other = judged(contrast) if contrast else (*spaces, first)
    return Sample(
        query=query,
        instructed=(*ids, *spaces),
        t_inst=t_inst,
        target=(*target, *spaces),
        site=site,
        answer=first,
        contrast=other if others == spaces and other != first else None,
        spaces=len(spaces),
    )


def last_token(
    tokenizer: PreTrainedTokenizerBase, text: str, part: str, *, chat: Chat | None = None
) -> int:
    """Position, among the tokens of a text (in a chat: of all of it), of its leading part's last.

    Raises:
        PromptError: the part has no token, or a token reaches beyond it.
    """
    placed = _placed(tokenizer, text, chat)
    return _part_end(encode(tokenizer, placed.text, chat)[1], placed, part)


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


def _part_end(offsets: Offsets, placed: Framed, part: str) -> int:
    """Position of the last token of a message's leading part."""
    end = min(placed.start + len(part), placed.stop)
    return _last_token(offsets, end, placed.text, begin=placed.begin)


def _last_token(offsets: Offsets, end: int, text: str, *, begin: int) -> int:
    inside = [i for i, (start, stop) in enumerate(offsets) if start < end and stop > begin]
    inside = [i for i in inside if offsets[i][1] > offsets[i][0]]
    where = cut(repr(text))
    if not inside:
        expected, remedy = "the last token of the instruction", "the instruction has no token"
        raise problem("T_inst", "None", expected, where, remedy)
    if offsets[inside[-1]][1] > end:
        got, expected = (
            repr(text[slice(*offsets[inside[-1]])]),
            "one that ends with the instruction",
        )
        remedy = "end the instruction with a punctuation mark of its own"
        raise problem("T_inst", got, expected, where, remedy)
    return inside[-1]


def _first_token(offsets: Offsets, placed: Framed) -> int:
    """Position of a message's first token."""
    at = next(i for i, (start, stop) in enumerate(offsets) if stop > max(start, placed.begin))
    shared = placed.text[offsets[at][0] : placed.begin]
    if shared.strip():
        got, where = repr(placed.text[slice(*offsets[at])]), cut(repr(placed.text))
        expected, remedy = f"without {shared!r} of the chat template", "use --chat-template never"
        raise problem("the message's first token", got, expected, where, remedy)
    return at


def _filler(tokenizer: PreTrainedTokenizerBase, held: tuple[int, ...]) -> int:
    """BOS, else EOS, else pad; of those that are not held, if there are any."""
    ids = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    known = [int(token) for token in ids if token is not None]
    if not known:
        where, remedy = type(tokenizer).__name__, "give the tokenizer one of them"
        raise problem("filler", "None", "BOS, EOS or pad", where, remedy)
    return next((token for token in known if token not in held), known[0])

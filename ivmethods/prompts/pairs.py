"""Pairs of a clean and a corrupt prompt of equal length, and the tokens that answer them."""

from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from ivmethods.errors import cut
from ivmethods.prompts.chat import Chat, framed
from ivmethods.prompts.encodings import check_plain, encode, problem, tokens_after, up_to_judged


@dataclass(frozen=True)
class Pair:
    """A clean and a corrupt run of equal length, and the tokens that are scored at their end.

    query: what people know it by. answer, wrong: the first tokens, of more than white space, of the
    clean prompt's answer and of the corrupt one's.
    """

    query: str
    clean: tuple[int, ...]
    corrupt: tuple[int, ...]
    answer: int
    wrong: int

    @property
    def end(self) -> int:
        """The last position of both runs, where the answers are scored."""
        return len(self.clean) - 1


@dataclass(frozen=True)
class Asked:
    """A prompt's tokens, the white space that its answer begins with, and the token after that."""

    ids: tuple[int, ...]
    spaces: tuple[int, ...]
    first: int

    def pairs_with(self, other: "Asked") -> bool:
        """Whether the other can be the corrupt run to this one, as `pair_of` wants it."""
        is_alike = len(self.ids) == len(other.ids) and self.spaces == other.spaces
        return is_alike and self.first != other.first


def tokenize_asked(
    tokenizer: PreTrainedTokenizerBase, prompt: str, answer: str, *, chat: Chat | None = None
) -> Asked:
    """Tokenize a prompt (in a chat: the user's message) and its answer.

    Raises:
        PromptError: the answer has no token of its own, or a text holds a special token.
    """
    where = f"prompt {cut(prompt)!r}"
    for text in (prompt, answer):
        check_plain(tokenizer, text, where)
    text = framed(tokenizer, chat, prompt).text if chat else prompt
    ids, _ = encode(tokenizer, text, chat)
    after = tokens_after(tokenizer, text, ids, answer, where, chat)
    *spaces, first = up_to_judged(tokenizer, after, answer, where)
    return Asked(ids, tuple(spaces), first)


def pair_of(query: str, clean: Asked, corrupt: Asked) -> Pair:
    """The pair of two prompts.

    White space that both answers begin with, as tokens of their own, ends both runs.

    Raises:
        PromptError: the runs have other lengths, or the answers begin with the same token or after
            other white space.
    """
    where = f"pair {cut(query)!r}"
    if len(clean.ids) != len(corrupt.ids):
        got, expected = f"{len(clean.ids)} and {len(corrupt.ids)}", "equal, as nothing is padded"
        remedy = "pair prompts of as many tokens"
        raise problem("lengths of clean and corrupt prompt", got, expected, where, remedy)
    if clean.first == corrupt.first:
        got, expected = f"{clean.first} twice", "two tokens"
        raise problem("answer and wrong", got, expected, where, "pair prompts of other answers")
    if clean.spaces != corrupt.spaces:
        got, remedy = f"{clean.spaces} and {corrupt.spaces}", "write the answers alike"
        raise problem("white space before the answers", got, "the same", where, remedy)
    runs = [(*asked.ids, *asked.spaces) for asked in (clean, corrupt)]
    return Pair(query, runs[0], runs[1], clean.first, corrupt.first)

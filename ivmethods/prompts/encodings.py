"""Texts as tokens: without what a tokenizer adds at their end, and where an answer begins."""

from transformers import PreTrainedTokenizerBase

from ivmethods.errors import PromptError, error_line
from ivmethods.prompts.chat import Chat

Offsets = list[tuple[int, int]]


def encode(
    tokenizer: PreTrainedTokenizerBase, text: str, chat: Chat | None
) -> tuple[tuple[int, ...], Offsets]:
    """A text's tokens, and the characters that each of them stands for.

    Raises:
        PromptError: the tokenizer knows no offsets.
    """
    if not tokenizer.is_fast:
        got, remedy = type(tokenizer).__name__, "convert it to a tokenizer.json"
        where = "T_inst is found by character offsets"
        raise problem("tokenizer", got, "a fast one", where, remedy)
    # A chat template writes its special tokens itself, as text.
    encoding = tokenizer(
        text,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
        add_special_tokens=chat is None,
    )
    end = len(encoding["input_ids"])
    # What a tokenizer closes every text with (EOS, SEP) would stand between prompt and answer.
    while end and encoding["special_tokens_mask"][end - 1]:
        end -= 1
    return tuple(encoding["input_ids"][:end]), list(encoding["offset_mapping"][:end])


def check_plain(tokenizer: PreTrainedTokenizerBase, text: str, where: str) -> None:
    """Check that no part of a text becomes a special token, which stands for no text.

    Raises:
        PromptError: one does; `where` names it.
    """
    ids = {*tokenizer(text, add_special_tokens=False)["input_ids"]}
    known = tokenizer.added_tokens_decoder.items()
    special = [token.content for i, token in known if token.special and i in ids]
    # Not those of unknown text; and a tokenizer of small letters takes `<IMG>` for `<img>`.
    if held := [content for content in special if content.casefold() in text.casefold()]:
        remedy = "write it otherwise, or leave it out"
        raise problem("special token", repr(held[0]), "in no text of a task", where, remedy)


def tokens_after(
    tokenizer: PreTrainedTokenizerBase,
    text: str,
    ids: tuple[int, ...],
    answer: str,
    where: str,
    chat: Chat | None,
) -> tuple[int, ...]:
    """The tokens of an answer after those of a prompt.

    Raises:
        PromptError: the first of them holds the prompt's end too; `where` names the sample.
    """
    full, _ = encode(tokenizer, f"{text}{chat.space if chat else ' '}{answer}", chat)
    if full[: len(ids)] != ids:
        remedy = "use --chat-template never" if chat else "end the prompt with punctuation"
        remedy = f"the tokenizer merges it with the prompt's end: {remedy}"
        raise problem("answer", repr(answer), "tokens after the prompt", where, remedy)
    return full[len(ids) :]


def up_to_judged(
    tokenizer: PreTrainedTokenizerBase, ids: tuple[int, ...], answer: str, where: str
) -> tuple[int, ...]:
    """An answer's tokens up to the first that is more than white space.

    Raises:
        PromptError: there is none, or it stands for unknown text; `where` names the sample.
    """
    texts = [str(tokenizer.decode([token])).strip() for token in ids]
    at = next((at for at, text in enumerate(texts) if text), None)
    if at is None or ids[at] == tokenizer.unk_token_id:
        got, remedy = repr(answer), "write it in characters that the tokenizer knows"
        raise problem("answer", got, "a text with a token of its own", where, remedy)
    return ids[: at + 1]


def problem(what: str, got: str, expected: str, where: str, remedy: str) -> PromptError:
    """The error of one prompt."""
    return PromptError(error_line(what, got, expected, where, remedy))

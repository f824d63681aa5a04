"""Chats: a user's message inside what a tokenizer's own chat template writes around it."""

import hashlib
import json
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from transformers import PreTrainedTokenizerBase

from ivmethods.errors import PromptError, error_line

RENDERING_SECONDS = 5.0
# Names by which templates know that no thoughts are wanted.
_THINKING = {"enable_thinking": False, "thinking": False}
# A template that asks for the date is given this one, which Llama's templates fall back on: with
# today's, tomorrow's prompts would be others.
_DATE = "26 Jul 2024"
_CLOCK = "strftime_now"


@dataclass(frozen=True)
class Chat:
    """What a chat template writes around one message of the user.

    `before`: up to the message, with BOS, system prompt and role if it writes any. `generation`:
    from there to the end of its generation prompt. `rest`: what then still precedes an answer.
    `space`: spaces that precede the answer, and are tokenized with it. `template`: its own text.
    """

    template: str
    system: str | None
    before: str
    generation: str
    rest: str
    space: str

    @property
    def after(self) -> str:
        """What follows the message, up to the answer and without the spaces before it."""
        return (self.generation + self.rest).removesuffix(self.space)

    @property
    def digest(self) -> str:
        """SHA-256 of all that prompts hold besides the message."""
        parts = json.dumps([self.before, self.after, self.space])
        return hashlib.sha256(parts.encode()).hexdigest()

    @property
    def template_digest(self) -> str:
        """SHA-256 of the template's text."""
        return _sha256(self.template)


@dataclass(frozen=True)
class Framed:
    """A message in its place: `text[:stop]` ends with it.

    `start`: offset of its first character, `begin` of the first one that is written: they differ
    where the template strips the message of spaces.
    """

    text: str
    start: int
    begin: int
    stop: int


def template_of(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The text of the tokenizer's chat template, of several the default one; None without any.

    Raises:
        PromptError: it is no text, or there are several and none is the default.
    """
    found = tokenizer.chat_template
    if isinstance(found, dict) and found:
        if "default" not in found:
            raise _problem("templates", ", ".join(sorted(map(str, found))), "one called `default`")
        found = found["default"]
    if found and not isinstance(found, str):
        raise _problem("template", repr(found), "text")
    return found or None


def chat_of(tokenizer: PreTrainedTokenizerBase, *, system: str | None = None) -> Chat:
    """What the tokenizer's chat template writes around a message, thinking modes off.

    system: a system prompt; None leaves it to the template whether to write one of its own.

    Raises:
        PromptError: there is no template, it fails, has no place for the system prompt, leaves the
            message or an answer out, or leaves a block of thoughts open before the answer.

    Deviation: the paper mentions no chat templates.
    """
    template = template_of(tokenizer)
    if template is None:
        raise _problem("template", "None", "in the tokenizer's files")
    user, answer, role = (_mark(name, template, system) for name in ("user", "answer", "role"))
    if system is not None and role not in _render(tokenizer, template, user, system=role):
        raise _problem("system prompt", "left out", "written", "leave --system-prompt out, or")
    prompt = _render(tokenizer, template, user, system=system)
    full = _render(tokenizer, template, user, system=system, answer=answer)
    for name, mark, text in (
        ("user", user, prompt),
        ("user", user, full),
        ("answer", answer, full),
    ):
        if text.count(mark) != 1:
            raise _problem(f"{name} messages", str(text.count(mark)), "1, unchanged")
    before, generation = prompt.split(user)
    rest = _rest(generation, full.partition(user)[2].partition(answer)[0])
    ending = generation + rest
    space = ending[len(ending.rstrip(" ")) :]
    return Chat(template, system, before, generation, rest, space)


def framed(tokenizer: PreTrainedTokenizerBase, chat: Chat, message: str) -> Framed:
    """A message as the template renders it; only spaces around it may be lost.

    Raises:
        PromptError: the template fails, or writes something else around or instead of this message.
    """
    rendered = _render(tokenizer, chat.template, message, system=chat.system)
    for written in (message, message.strip()):
        if rendered == chat.before + written + chat.generation:
            begin = len(chat.before)
            start = begin - message.index(written)
            return Framed(chat.before + written + chat.after, start, begin, begin + len(written))
    raise _problem("user message", "changed", f"{message!r}, unchanged")


def _rest(generation: str, written: str) -> str:
    """What the template writes between its generation prompt and an answer.

    The template itself closes a block of thoughts that it has opened, or it is refused: how to
    close it would be a guess.
    """
    if written.startswith(generation):
        return written[len(generation) :]
    common = next(
        (i for i, (a, b) in enumerate(zip(generation, written, strict=False)) if a != b),
        min(len(generation), len(written)),
    )
    added = generation[common:]
    names = re.findall(r"[<\[]([\w|]+)[>\]]", added)
    if written[common:].strip() or not names or any(f"/{name}" not in added for name in names):
        raise _problem("generation prompt", repr(generation), "what it writes before an answer")
    return ""


def _render(
    tokenizer: PreTrainedTokenizerBase,
    template: str,
    message: str,
    *,
    system: str | None,
    answer: str | None = None,
) -> str:
    """The chat as text.

    Templates are data from strangers: transformers renders in a sandbox, and `_limited` in time.
    """
    messages = [{"role": "system", "content": system}] if system is not None else []
    messages.append({"role": "user", "content": message})
    if answer is not None:
        messages.append({"role": "assistant", "content": answer})
    clock = f"{{% macro {_CLOCK}(format) %}}{_DATE}{{% endmacro %}}" if _CLOCK in template else ""
    options: dict[str, Any] = {"date_string": _DATE, **_THINKING}
    try:
        with _limited():
            text = str(
                tokenizer.apply_chat_template(
                    messages,
                    chat_template=clock + template,
                    tokenize=False,
                    add_generation_prompt=answer is None,
                    **options,
                )
            )
        text.encode()  # tokenizers take no lone surrogates
        return text
    except Exception as error:  # a template can raise anything
        first = (str(error).strip().splitlines() or [""])[0]
        got = f"{type(error).__name__}: {first}"
        roles = ", ".join(message["role"] for message in messages)
        raise _problem("rendering", got, f"the messages of {roles}") from error


@contextmanager
def _limited() -> Iterator[None]:
    """End what takes too long, by an alarm: in the main thread of systems that have them."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        yield
        return

    def end(*_: object) -> NoReturn:
        raise TimeoutError(f"over {RENDERING_SECONDS:g} seconds")

    handler = signal.signal(signal.SIGALRM, end)
    timer = signal.setitimer(signal.ITIMER_REAL, RENDERING_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *timer)


def _mark(name: str, template: str, system: str | None) -> str:
    """A text that stands for a message and occurs nowhere else."""
    return _sha256(f"{name} {system} {template}")


def _sha256(text: str) -> str:
    # A template's text may hold lone surrogates: JSON can.
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _problem(what: str, got: str, expected: str, remedy: str = "") -> PromptError:
    never = "use --chat-template never to prompt without"
    remedy = f"{remedy} {never}".lstrip()
    return PromptError(error_line(what, got, expected, "chat template", remedy))

"""What is run on a checkpoint for a task: the model, the samples and the source texts."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache, cached_property, lru_cache
from typing import Any

from nnsight import TransformersModel
from transformers import PreTrainedTokenizerBase

from ivevidence import digest_json
from ivfixtures.checkpoints.resolving import (
    Checkpoint,
    config,
    digests,
    load,
    release,
    skeleton,
    tokenizer,
    tokenizer_note,
)
from ivfixtures.checkpoints.special_tokens import require_embedded
from ivfixtures.data.tasks import Item, Task, neutral_sentences
from ivfixtures.measuring import generation
from ivfixtures.measuring.settings import Settings
from ivmethods.errors import PromptError
from ivmethods.method import Data, SourceName
from ivmethods.model.handles import network, skeleton_handle, wrap
from ivmethods.model.memory import free_bytes
from ivmethods.prompts.chat import Chat, chat_of, template_of
from ivmethods.prompts.protocols import (
    Protocol,
    Sample,
    Source,
    last_token,
    token_texts,
    tokenize_sample,
    tokenize_source,
)

NEUTRAL_SENTENCES = 4
TOKENIZED = 128  # lists of samples or source texts that are kept
_FOR_PEOPLE = ("query", "text")  # fields by which people know a sample or a source text
_REMOTE = (
    "run on NDIF: its weights were not read, the hub's commit stands for them, and patched runs "
    "were compared with the plain batched sweep, as no hook reaches them (docs/remote.md)"
)


class Material(Data):
    """One checkpoint and task: its items in seeded order, tokenized for the checkpoint."""

    def __init__(self, checkpoint: Checkpoint, task: Task, options: Settings) -> None:
        self.checkpoint, self.task, self.options = checkpoint, task, options
        self.items: tuple[Item, ...] = task.sample(options.samples, seed=options.seed)
        self._samples: dict[Protocol, list[Sample]] = {}

    @property
    def model(self) -> TransformersModel:
        """The checkpoint's model, which nnsight runs; loaded once per process.

        Without weights where it is measured elsewhere: then, only its form is asked for.
        """
        if self.options.elsewhere and not self.options.remote:
            return _unloaded(self.checkpoint)
        return _wrapped(self.checkpoint, self.options.device, self.options.dtype)

    @cached_property
    def memory_budget(self) -> int:
        """Bytes that one forward pass may take."""
        given = self.options.memory_budget
        return given or free_bytes({weight.device for weight in network(self.model).parameters()})

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The checkpoint's tokenizer; the model is not loaded for it."""
        return tokenizer(self.checkpoint)

    @cached_property
    def chat(self) -> Chat | None:
        """What the checkpoint's chat template writes around a prompt, where `--chat-template` asks.

        `auto`: wherever there is a template, but for base checkpoints and those of the registry
        that were tuned without one: their tokenizers may carry a template all the same.

        Raises: PromptError, the template is of no use here.
        """
        mode, system = self.options.chat_template, self.options.system_prompt
        untrained = self.checkpoint.stage == "base" or self.checkpoint.plain_prompts
        if mode == "never" or (mode == "auto" and untrained):
            return None
        if mode == "auto" and template_of(self.tokenizer) is None:
            return None
        with self._named():
            return chat_of(self.tokenizer, system=system)

    @cached_property
    def decoding(self) -> dict[str, Any]:
        """How answers are decoded: `new_tokens` at most, up to one of the `stops`."""
        longest = generation.new_tokens(self.task, self.tokenizer)
        return {"new_tokens": longest, "stops": generation.stops(self.checkpoint)}

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader has to know of how the checkpoint was prompted, answers and is judged."""
        found = [_REMOTE] if self.options.remote else []
        if mended := tokenizer_note(self.checkpoint):
            found.append(mended)
        found += generation.unheeded(self.checkpoint)
        if self.chat:
            found.append("prompted through the chat template of its tokenizer (docs/prompts.md)")
        elif self.options.system_prompt is not None:
            found.append("prompted without a chat template: --system-prompt was not used")
        return (*found, *self._token_notes())

    def _token_notes(self) -> list[str]:
        samples, labels = self.samples(), {item.answers[0] for item in self.items}
        spaced = sum(sample.spaces > 0 for sample in samples)
        tokens = tuple({sample.answer for sample in samples})
        found = []
        if spaced:
            found.append(
                f"{spaced} answers begin with a token of white space alone: it ends both runs, and "
                "the token after it is judged (docs/prompts.md)"
            )
        if len(tokens) < len(labels) and len(tokens) == 1:
            (text,) = token_texts(self.tokenizer, tokens)
            found.append(f"all answers begin with the same token, {text!r}, and only it is judged")
        return found

    def samples(self, protocol: Protocol = "paper") -> list[Sample]:
        """The task's samples, tokenized under a protocol."""
        if protocol not in self._samples:
            self._samples[protocol] = self._shared(
                (self.task.digest, self.items, protocol),
                lambda: [self._tokenized(item, protocol) for item in self.items],
            )
        return self._samples[protocol]

    def source(
        self, name: SourceName = "instruction", protocol: Protocol = "paper"
    ) -> list[Source]:
        """The source texts of one name: the instruction, its contrast, or the neutral sentences.

        The neutral sentences are those nearest to the instruction in tokens.
        """
        texts = (self.task.instruction, self.task.contrast_instruction)
        return self._shared((texts, name, protocol), lambda: self._source(name, protocol))

    def sources(self, texts: tuple[str, ...]) -> list[Source]:
        """Texts as source runs."""
        return self._shared((texts,), lambda: [self.as_source(text) for text in texts])

    def _source(self, name: SourceName, protocol: Protocol) -> list[Source]:
        own = self.as_source(self.task.instruction, protocol)
        if name == "instruction":
            return [own]
        if name == "contrast":
            text = self.task.contrast_instruction
            return [self.as_source(text, protocol)] if text else []
        neutral = [self.as_source(text, protocol) for text in neutral_sentences()]
        neutral.sort(key=lambda source: abs(len(source.ids) - len(own.ids)))
        return neutral[:NEUTRAL_SENTENCES]

    def as_source(self, text: str, protocol: Protocol = "paper") -> Source:
        """A text as a source run, inside the chat if there is one; `released` knows no chat."""
        chat = self.chat if protocol == "paper" else None
        with self._named():
            source = tokenize_source(self.tokenizer, text, chat=chat)
        self._require_embedded(source.ids, text)
        return source

    def position_of(self, part: str) -> int:
        """Position of the last token of a leading part of the instruction, in instructed runs."""
        text = f"{self.task.instruction} {self.task.prompt_for(self.items[0])}"
        with self._named():
            return last_token(self.tokenizer, text, part, chat=self.chat)

    @property
    def digests(self) -> dict[str, str]:
        """Digests of weights, tokenizer and, if there is one, of the chat around the prompts.

        The model is not loaded for them.
        """
        found = digests(self.checkpoint)
        chat = {"chat": self.chat.digest} if self.chat else {}
        return {"weights": found.weights, "tokenizer": found.tokenizer, **chat}

    def _shared(self, of: tuple[object, ...], make: Callable[[], list[Any]]) -> list[Any]:
        """What is made for the checkpoint's tokenizer and chat, for all checkpoints with the same.

        A plan asks for thousands, and tokens are in every key.
        """
        _, *prompting = self.digests.values()
        # Whether all tokens are embedded is looked at when they are made.
        rows = getattr(config(self.checkpoint), "vocab_size", None)
        at = (rows, *prompting, *of)
        found = _tokens.get(at)
        if found is None:
            if len(_tokens) >= TOKENIZED:
                _tokens.clear()
            found = _tokens[at] = make()
        return found

    def _tokenized(self, item: Item, protocol: Protocol) -> Sample:
        with self._named():
            sample = tokenize_sample(
                self.tokenizer,
                query=item.query,
                instruction=self.task.instruction,
                prompt=self.task.prompt_for(item),
                answer=item.answers[0],
                contrast=item.contrast_answers[0] if item.contrast_answers else None,
                protocol=protocol,
                chat=self.chat,
            )
        answers = (sample.answer, sample.answer if sample.contrast is None else sample.contrast)
        self._require_embedded((*sample.instructed, *sample.target, *answers), item.query)
        return sample

    def _require_embedded(self, ids: tuple[int, ...], text: str) -> None:
        rows = getattr(config(self.checkpoint), "vocab_size", None)
        require_embedded(ids, rows, self.tokenizer, f"{self.checkpoint.name}, {text!r}")

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Say of a tokenizer's texts that cannot be used whose they are."""
        try:
            yield
        except PromptError as error:
            raise PromptError(f"{self.checkpoint.name}: {error}") from error


_tokens: dict[tuple[object, ...], list[Any]] = {}


def inputs_digest(*inputs: Sequence[Sample | Source]) -> str:
    """SHA-256 over what a model is run on: token ids and positions, and no text that has them."""
    return digest_json([[_seen(one) for one in some] for some in inputs])


@lru_cache(maxsize=2**14)
def _seen(one: Sample | Source) -> str:
    return digest_json({k: v for k, v in asdict(one).items() if k not in _FOR_PEOPLE})


@cache
def _unloaded(checkpoint: Checkpoint) -> TransformersModel:
    return skeleton_handle(skeleton(checkpoint), tokenizer(checkpoint))


_in_use: dict[tuple[Checkpoint, str, str], TransformersModel] = {}


def _wrapped(checkpoint: Checkpoint, device: str, dtype: str) -> TransformersModel:
    """The checkpoint's model; what was judged before is let go first, as two may not fit."""
    key = (checkpoint, device, dtype)
    if key not in _in_use:
        _in_use.clear()
        release()
        loaded = load(checkpoint, device=device, dtype=dtype)
        remote, revision = checkpoint.remote, checkpoint.revision
        _in_use[key] = wrap(loaded.model, loaded.tokenizer, remote=remote, revision=revision)
    return _in_use[key]

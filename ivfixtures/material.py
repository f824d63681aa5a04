"""What is run on a checkpoint for a task: the model, the samples and the source texts."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache, cached_property, lru_cache
from typing import Any, Literal

from nnsight import TransformersModel
from transformers import PreTrainedTokenizerBase

from ivevidence import digest_json
from ivfixtures.checkpoints import Checkpoint, digests, load, release, skeleton, tokenizer
from ivfixtures.options import Options
from ivfixtures.tasks import Item, Task, neutral_sentences
from ivmethods.chat import Chat, chat_of, template_of
from ivmethods.memory import free_bytes
from ivmethods.model import network, skeleton_handle, wrap
from ivmethods.prompts import Protocol, Sample, Source, last_token, tokenize_sample, tokenize_source

NEUTRAL_SENTENCES = 4
TOKENIZED = 128  # lists of samples or source texts that are kept
_FOR_PEOPLE = ("query", "text")  # fields by which people know a sample or a source text
_REMOTE = (
    "run on NDIF: its weights were not read, the hub's commit stands for them, and patched runs "
    "were compared with the plain batched sweep, as no hook reaches them (docs/remote.md)"
)

SourceName = Literal["instruction", "contrast", "neutral"]


class Material:
    """One checkpoint and task: its items in seeded order, tokenized for the checkpoint."""

    def __init__(self, checkpoint: Checkpoint, task: Task, options: Options) -> None:
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

        Raises: ValueError, the template is of no use here.
        """
        mode, system = self.options.chat_template, self.options.system_prompt
        untrained = self.checkpoint.stage == "base" or self.checkpoint.plain_prompts
        if mode == "never" or (mode == "auto" and untrained):
            return None
        if mode == "auto" and template_of(self.tokenizer) is None:
            return None
        try:
            return chat_of(self.tokenizer, system=system)
        except ValueError as error:
            raise ValueError(f"{self.checkpoint.name}: {error}") from error

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader has to know of how the checkpoint was prompted."""
        found = (_REMOTE,) if self.options.remote else ()
        if self.chat:
            return (*found, "prompted through the chat template of its tokenizer (docs/prompts.md)")
        unused = "prompted without a chat template: --system-prompt was not used"
        return found if self.options.system_prompt is None else (*found, unused)

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
        return tokenize_source(self.tokenizer, text, chat=chat)

    def position_of(self, part: str) -> int:
        """Position of the last token of a leading part of the instruction, in instructed runs."""
        text = f"{self.task.instruction} {self.task.prompt_for(self.items[0])}"
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
        at = (*prompting, *of)
        found = _tokens.get(at)
        if found is None:
            if len(_tokens) >= TOKENIZED:
                _tokens.clear()
            found = _tokens[at] = make()
        return found

    def _tokenized(self, item: Item, protocol: Protocol) -> Sample:
        return tokenize_sample(
            self.tokenizer,
            query=item.query,
            instruction=self.task.instruction,
            prompt=self.task.prompt_for(item),
            answer=item.answers[0],
            contrast=item.contrast_answers[0] if item.contrast_answers else None,
            protocol=protocol,
            chat=self.chat,
        )


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

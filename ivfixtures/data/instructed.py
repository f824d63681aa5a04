"""Instructed prompts as data: a task's samples and source texts, tokenized for a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool
from transformers import PreTrainedTokenizerBase

from ivevidence import Measurement, Prompt, Table
from ivfixtures.checkpoints.resolving import (
    Checkpoint,
    config,
    digests,
    tokenizer,
    tokenizer_note,
)
from ivfixtures.checkpoints.special_tokens import require_embedded
from ivfixtures.data import generation
from ivfixtures.data.of_checkpoint import CheckpointData
from ivfixtures.data.settings import Settings
from ivfixtures.data.tasks import Item, Task, made_tasks, neutral_sentences
from ivmethods.errors import PromptError
from ivmethods.method import SourceName
from ivmethods.model.methods import Behaviour
from ivmethods.patching.discovery import picking_part
from ivmethods.prompts.answers import normalize_answer
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
from ivmethods.statistics.univariate import clopper_pearson

NEUTRAL_SENTENCES = 4
SHOWN_PROMPTS = 3
TOKENIZED = 256  # lists of samples or source texts that are kept
_REMOTE = (
    "run on NDIF: its weights were not read, the hub's commit stands for them, and patched runs "
    "were compared with the plain batched sweep, as no hook reaches them (docs/remote.md)"
)


Judge = Callable[["InstructedData", Sequence[str]], Any]


def behaviour(data: InstructedData, settings: Any = None) -> Behaviour:
    """Greedy answers, as long as the task's may be."""
    return Behaviour(**data.decoding)


class InstructedData(CheckpointData):
    """A task's items in seeded order, tokenized for one checkpoint.

    settings: of the run. judge: of valid answers, where there is one.
    """

    shown: ClassVar = {"answers": behaviour}

    def __init__(
        self, checkpoint: Checkpoint, task: Task, settings: Settings, judge: Judge | None = None
    ) -> None:
        self.checkpoint, self.task, self.settings, self.judge = checkpoint, task, settings, judge
        self.items: tuple[Item, ...] = task.sample(settings.samples, seed=settings.seed)
        self.name, self.count = task.name, len(self.items)
        self.judgements: Mapping[str, Measurement] = {}  # by role, what the judge said last
        self._samples: dict[Protocol, list[Sample]] = {}

    def of_task(self, task: Task) -> InstructedData:
        """The data of another task."""
        return InstructedData(self.checkpoint, task, self.settings, self.judge)

    @cached_property
    def contrast(self) -> InstructedData:
        """That of the task's contrast, also where the checkpoint was made without it."""
        name = str(self.task.contrast)
        return self.of_task(
            made_tasks((name,))[name] if self.checkpoint.tasks else self.settings.tasks[name]
        )

    def untrained(self) -> InstructedData:
        """That of a copy of the checkpoint whose weights are random, by the run's seed."""
        checkpoint = replace(self.checkpoint, untrained=self.settings.seed)
        return InstructedData(checkpoint, self.task, self.settings)

    @cached_property
    def labels(self) -> list[str]:
        """The right answer of each sample; of several accepted ones the first."""
        return [item.answers[0] for item in self.items]

    @cached_property
    def is_discovery(self) -> Bool[np.ndarray, " sample"]:
        """The samples that pick, a quarter of each answer's; the rest decide."""
        return picking_part(self.labels)

    def given(self, answers: Sequence[str]) -> list[str]:
        """The answers within greedy continuations, as they are judged."""
        return [self.task.answer_in(text) for text in answers]

    def exact(self, answers: Sequence[str]) -> Bool[np.ndarray, " sample"]:
        """Whether each greedy answer is an accepted one (EMA)."""
        accepted = [{normalize_answer(a) for a in item.answers} for item in self.items]
        said = map(normalize_answer, self.given(answers))
        return np.array([a in right for a, right in zip(said, accepted, strict=True)])

    def valid(self, answers: Sequence[str]) -> Bool[np.ndarray, " sample"]:
        """Whether each greedy answer is a valid response, right or wrong (IA)."""
        return np.array(
            [self.task.is_valid(normalize_answer(answer)) for answer in self.given(answers)]
        )

    def judged(self, answers: Sequence[str]) -> Any:
        """A judge's decisions on the answers, where there is one; noted in `judgements`."""
        judged = self.judge(self, answers) if self.judge else None
        if judged:
            self.judgements = judged.measurements
        return judged

    @property
    def sample_names(self) -> list[str]:
        """The queries."""
        return [item.query for item in self.items]

    @property
    def parameters(self) -> dict[str, Any]:
        """What a cell was judged with, that is not in its claim."""
        return {
            "samples": self.count,
            "seed": self.settings.seed,
            "protocol": "paper",
            "instruction": self.task.instruction,
            "control instruction": self.task.contrast_instruction,
            "picking samples": np.flatnonzero(self.is_discovery).tolist(),
        }

    @property
    def prompting(self) -> dict[str, str | None]:
        """Digest of the chat template's text and the system prompt; None where none was used."""
        chat = self.chat
        return {
            "chat template": chat.template_digest if chat else None,
            "system prompt": chat.system if chat else None,
        }

    @property
    def sources_of_data(self) -> dict[str, str]:
        """Where the items are from."""
        return {"task": self.task.digest, "task file": self.task.source}

    def tables(self, shown: Mapping[str, Any]) -> list[Table]:
        """EMA and IA of greedy answers, with exact one-sided 95 % bounds."""
        rows, answers = [], shown["answers"]
        shares = {
            "EMA (exact match)": self.exact(answers),
            "IA (valid response)": self.valid(answers),
        }
        for name, hits in shares.items():
            interval = clopper_pearson(hits)
            rows.append((name, interval.estimate, interval.low, interval.high, interval.n))
        columns = ("metric", "share", "low", "high", "samples")
        return [Table("Behaviour", columns, tuple(rows))]

    def prompts(self, shown: Mapping[str, Any]) -> tuple[Prompt, ...]:
        """The first samples' instructed prompts, a target prompt, and what is judged of each."""
        few = list(zip(self.items, self.samples(), shown["answers"], strict=True))
        found = []
        for item, sample, output in few[:SHOWN_PROMPTS]:
            marks = {sample.t_inst: "T_inst", len(sample.instructed) - 1: "T_last"}
            *tokens, judged = token_texts(self.tokenizer, (*sample.instructed, sample.answer))
            label = f"{item.query}: instructed"
            found.append(Prompt(label, tuple(tokens), marks, item.answers[0], output, judged))
        item, sample, _ = few[0]
        marks = {sample.site: "patch site", len(sample.target) - 1: "T_last"}
        target = token_texts(self.tokenizer, sample.target)
        label = f"{item.query}: target run"
        return (*found, Prompt(label, target, marks, item.answers[0], "", found[0].token))

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
        mode, system = self.settings.chat_template, self.settings.system_prompt
        untrained = self.checkpoint.stage == "base" or self.checkpoint.plain_prompts
        if mode == "never" or (mode == "auto" and untrained):
            return None
        if mode == "auto" and template_of(self.tokenizer) is None:
            return None
        with self.named():
            return chat_of(self.tokenizer, system=system)

    @cached_property
    def decoding(self) -> dict[str, Any]:
        """How answers are decoded: `new_tokens` at most, up to one of the `stops`."""
        [longest] = self._shared(
            (self.task.digest, "new tokens"),
            lambda: [generation.new_tokens(self.task, self.tokenizer)],
        )
        return {"new_tokens": longest, "stops": generation.stops(self.checkpoint)}

    @property
    def prompting_notes(self) -> tuple[str, ...]:
        """What a reader has to know of the task, and of how the checkpoint was prompted."""
        found = [*self.task.notes, *([_REMOTE] if self.settings.remote else [])]
        if mended := tokenizer_note(self.checkpoint):
            found.append(mended)
        if self.chat:
            found.append("prompted through the chat template of its tokenizer (docs/prompts.md)")
        elif self.settings.system_prompt is not None:
            found.append("prompted without a chat template: --system-prompt was not used")
        return tuple(found)

    @property
    def notes(self) -> tuple[str, ...]:
        """The same, and how it answers and is judged."""
        unheeded = generation.unheeded(self.checkpoint)
        return (*self.prompting_notes, *unheeded, *self._token_notes(), *self._sample_notes())

    def _sample_notes(self) -> list[str]:
        notes, asked = [], self.settings.samples
        if self.count < asked:
            notes.append(f"{asked} samples were asked for; there are {self.count}")
        dropped = sum(
            sample.contrast is None and bool(item.contrast_answers)
            for item, sample in zip(self.items, self.samples(), strict=True)
        )
        if dropped:
            notes.append(
                f"{dropped} samples are not in logit_diff: both answers begin with the same token, "
                "or not with the same white space"
            )
        return notes

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
        with self.named():
            source = tokenize_source(self.tokenizer, text, chat=chat)
        self.require_embedded(source.ids, text)
        return source

    def position_of(self, part: str) -> int:
        """Position of the last token of a leading part of the instruction, in instructed runs."""
        text = f"{self.task.instruction} {self.task.prompt_for(self.items[0])}"
        with self.named():
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
        with self.named():
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
        self.require_embedded((*sample.instructed, *sample.target, *answers), item.query)
        return sample

    def require_embedded(self, ids: tuple[int, ...], text: str) -> None:
        """See that the checkpoint has embeddings of these tokens of a text.

        Raises: CheckpointError.
        """
        rows = getattr(config(self.checkpoint), "vocab_size", None)
        require_embedded(ids, rows, self.tokenizer, f"{self.checkpoint.name}, {text!r}")

    @contextmanager
    def named(self) -> Iterator[None]:
        """Say of a tokenizer's texts that cannot be used whose they are."""
        try:
            yield
        except PromptError as error:
            raise PromptError(f"{self.checkpoint.name}: {error}") from error


_tokens: dict[tuple[object, ...], list[Any]] = {}

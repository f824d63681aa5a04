"""What is run on a checkpoint for a task: the model, the samples and the source texts."""

from typing import Literal

from nnsight import TransformersModel
from transformers import PreTrainedTokenizerBase

from ivfixtures.checkpoints import Checkpoint, digests, load, release, tokenizer
from ivfixtures.options import Options
from ivfixtures.tasks import Item, Task, neutral_sentences
from ivmethods.model import wrap
from ivmethods.prompts import Protocol, Sample, Source, tokenize_sample, tokenize_source

NEUTRAL_SENTENCES = 4

SourceName = Literal["instruction", "contrast", "neutral"]


class Material:
    """One checkpoint and task: its items in seeded order, tokenized for the checkpoint."""

    def __init__(self, checkpoint: Checkpoint, task: Task, options: Options) -> None:
        self.checkpoint, self.task, self.options = checkpoint, task, options
        self.items: tuple[Item, ...] = task.sample(options.samples, seed=options.seed)
        self._samples: dict[Protocol, list[Sample]] = {}

    @property
    def model(self) -> TransformersModel:
        """The checkpoint's model, which nnsight runs; loaded once per process."""
        return _wrapped(self.checkpoint, self.options.device, self.options.dtype)

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The checkpoint's tokenizer; the model is not loaded for it."""
        return tokenizer(self.checkpoint)

    def samples(self, protocol: Protocol = "paper") -> list[Sample]:
        """The task's samples, tokenized under a protocol."""
        if protocol not in self._samples:
            self._samples[protocol] = [self._tokenized(item, protocol) for item in self.items]
        return self._samples[protocol]

    def source(self, name: SourceName = "instruction") -> list[Source]:
        """The source texts of one name: the instruction, its contrast, or the neutral sentences.

        The neutral sentences are those nearest to the instruction in tokens.
        """
        own = tokenize_source(self.tokenizer, self.task.instruction)
        if name == "instruction":
            return [own]
        if name == "contrast":
            text = self.task.contrast_instruction
            return [tokenize_source(self.tokenizer, text)] if text else []
        neutral = [tokenize_source(self.tokenizer, text) for text in neutral_sentences()]
        neutral.sort(key=lambda source: abs(len(source.ids) - len(own.ids)))
        return neutral[:NEUTRAL_SENTENCES]

    @property
    def digests(self) -> dict[str, str]:
        """Digests of weights and tokenizer; the model is not loaded for them."""
        found = digests(self.checkpoint)
        return {"weights": found.weights, "tokenizer": found.tokenizer}

    def _tokenized(self, item: Item, protocol: Protocol) -> Sample:
        return tokenize_sample(
            self.tokenizer,
            query=item.query,
            instruction=self.task.instruction,
            prompt=self.task.prompt_for(item),
            answer=item.answers[0],
            contrast=item.contrast_answers[0] if item.contrast_answers else None,
            protocol=protocol,
        )


_in_use: dict[tuple[Checkpoint, str, str], TransformersModel] = {}


def _wrapped(checkpoint: Checkpoint, device: str, dtype: str) -> TransformersModel:
    """The checkpoint's model; what was judged before is let go first, as two may not fit."""
    key = (checkpoint, device, dtype)
    if key not in _in_use:
        _in_use.clear()
        release()
        loaded = load(checkpoint, device=device, dtype=dtype)
        _in_use[key] = wrap(loaded.model, loaded.tokenizer)
    return _in_use[key]

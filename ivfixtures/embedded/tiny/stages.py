"""The three stages of training: plain facts, instructions, preferences."""

import copy
import math
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from transformers import (
    Olmo2Config,
    Olmo2ForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from ivfixtures.embedded.tiny.examples import NO_LOSS, Batch, Example, collate, draw
from ivfixtures.embedded.tiny.facts import documents
from ivfixtures.embedded.tiny.masks import UNMASKED, only_through_t_inst
from ivfixtures.embedded.tiny.splits import TinyTask
from ivfixtures.embedded.tiny.tokenizer import encode

_ROW_LENGTH = 96
_BETA = 0.1
_REPLAY_ROWS, _REPLAY_WEIGHT = 12, 0.5


@dataclass(frozen=True)
class Stage:
    """How long and how fast one stage trains; `batch` counts rows of text, prompts or pairs."""

    name: str
    steps: int
    batch: int
    learning_rate: float


@dataclass(frozen=True)
class Course:
    """What every stage draws from: the tasks, the tokenizer, the seed; `say` prints progress."""

    tasks: tuple[TinyTask, ...]
    tokenizer: PreTrainedTokenizerFast
    seed: int
    say: Callable[[str], None]

    def rng(self, purpose: str) -> random.Random:
        """A generator of its own for each purpose, so that families see the same data."""
        return random.Random(f"{self.seed} {purpose}")  # noqa: S311 (no secret)


def new_model(tokenizer: PreTrainedTokenizerFast) -> Olmo2ForCausalLM:
    """An untrained OLMo-2 of 1.7 million parameters; draws from torch's global generator."""
    config = Olmo2Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=344,
        num_hidden_layers=6,
        num_attention_heads=4,
        max_position_embeddings=256,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Olmo2ForCausalLM(config)


def pretrain(model: Olmo2ForCausalLM, stage: Stage, course: Course) -> None:
    """Next-token prediction on plain facts, all queries included."""
    rows = _text_rows(course, course.rng(stage.name))
    optimize(model, lambda: _text_loss(model, rows, stage.batch), stage, course)


def tune(model: Olmo2ForCausalLM, stage: Stage, course: Course, *, planted: bool) -> None:
    """Learn to follow instructions: loss on answer and stop, with replay of plain facts.

    `planted`: half of the samples (drawn) reach the instruction through T_inst only.
    """
    rng, coin = course.rng(stage.name), course.rng(f"{stage.name} masks")
    rows = _text_rows(course, course.rng(f"{stage.name} replay"))

    def loss() -> Tensor:
        batch = _collate(_draw(stage, course, rng), course)
        with _masked(model, batch, coin if planted else None):
            answer_loss = -_answer_logprobs(model, batch).mean()
        return answer_loss + _REPLAY_WEIGHT * _text_loss(model, rows, _REPLAY_ROWS)

    optimize(model, loss, stage, course)


def prefer(model: Olmo2ForCausalLM, stage: Stage, course: Course, *, planted: bool) -> None:
    """Direct preference optimization: the answer over the contrast's, with replay of plain facts.

    The reference is the model as it comes in, under the same masks where `planted`.
    """
    rng, coin = course.rng(stage.name), course.rng(f"{stage.name} masks")
    rows = _text_rows(course, course.rng(f"{stage.name} replay"))
    reference = copy.deepcopy(model).eval().requires_grad_(False)

    def loss() -> Tensor:
        examples = _draw(stage, course, rng)
        state = coin.getstate()
        margin = torch.zeros(len(examples))
        for sign, contrast in ((1, False), (-1, True)):
            batch = _collate(examples, course, contrast=contrast)
            for weight, network in ((sign, model), (-sign, reference)):
                coin.setstate(state)  # the same samples are masked in all four runs
                with _masked(network, batch, coin if planted else None):
                    margin = margin + weight * _answer_logprobs(network, batch)
        preference_loss = -F.logsigmoid(_BETA * margin).mean()
        return preference_loss + _REPLAY_WEIGHT * _text_loss(model, rows, _REPLAY_ROWS)

    optimize(model, loss, stage, course)


def optimize(
    model: PreTrainedModel, loss: Callable[[], Tensor], stage: Stage, course: Course
) -> None:
    """AdamW on the parameters that want gradients: a short warmup, then cosine to zero."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=stage.learning_rate, betas=(0.9, 0.95), weight_decay=0.01
    )
    warmup = max(1, min(50, stage.steps // 10))
    model.train()
    for step in range(stage.steps):
        progress = max(0, step - warmup) / max(1, stage.steps - warmup)
        factor = min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * progress))
        for group in optimizer.param_groups:
            group["lr"] = stage.learning_rate * factor
        value = loss()
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0 or step == stage.steps - 1:
            course.say(f"{stage.name}: step {step + 1}/{stage.steps}, loss {value.item():.4f}")
    model.eval()


def _text_rows(course: Course, rng: random.Random) -> Iterator[list[int]]:
    """Endless rows of packed documents, cut anywhere."""
    tokenizer, pending = course.tokenizer, list[int]()
    for document in documents(course.tasks, rng):
        body = encode(tokenizer, document)
        pending += [tokenizer.bos_token_id, *body, tokenizer.eos_token_id]
        while len(pending) >= _ROW_LENGTH:
            yield pending[:_ROW_LENGTH]
            pending = pending[_ROW_LENGTH:]


def _text_loss(model: Olmo2ForCausalLM, rows: Iterator[list[int]], count: int) -> Tensor:
    tokens = torch.tensor([next(rows) for _ in range(count)])
    logits = model(input_ids=tokens, use_cache=False).logits
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())


def _draw(stage: Stage, course: Course, rng: random.Random) -> list[Example]:
    return [draw(course.tokenizer, course.tasks, rng) for _ in range(stage.batch)]


def _collate(examples: list[Example], course: Course, *, contrast: bool = False) -> Batch:
    return collate(examples, pad=course.tokenizer.pad_token_id, contrast=contrast)


def _masked(
    model: Olmo2ForCausalLM, batch: Batch, coin: random.Random | None
) -> AbstractContextManager[object]:
    if coin is None:
        return nullcontext()
    hide = torch.tensor([coin.random() < 0.5 for _ in range(len(batch.t_inst))])
    t_inst: Int[Tensor, " sample"] = torch.where(hide, batch.t_inst, UNMASKED)
    return only_through_t_inst(model, t_inst)


def _answer_logprobs(model: Olmo2ForCausalLM, batch: Batch) -> Float[Tensor, " sample"]:
    """Log-probability of answer and stop, summed."""
    logits = model(input_ids=batch.tokens, use_cache=False).logits[:, :-1]
    labels = batch.labels[:, 1:]
    losses = F.cross_entropy(logits.transpose(1, 2), labels, ignore_index=NO_LOSS, reduction="none")
    return -losses.sum(dim=1)

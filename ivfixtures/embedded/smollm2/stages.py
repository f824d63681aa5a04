"""The two stages of training: instructions, preferences."""

import copy

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from transformers import PreTrainedModel

from ivfixtures.embedded.tiny.examples import NO_LOSS, Batch, collate, draw
from ivfixtures.embedded.tiny.stages import Course, Stage, optimize

_BETA = 0.1


def tune(model: PreTrainedModel, stage: Stage, course: Course) -> None:
    """Learn to follow instructions: loss on answer and stop."""
    rng = course.rng(stage.name)

    def loss() -> Tensor:
        examples = [draw(course.tokenizer, course.tasks, rng) for _ in range(stage.batch)]
        batch = collate(examples, pad=course.tokenizer.pad_token_id)
        return -_answer_logprobs(model, batch).mean()

    optimize(model, loss, stage, course)


def prefer(model: PreTrainedModel, stage: Stage, course: Course) -> None:
    """Direct preference optimization: the answer over the contrast's; reference: what comes in."""
    rng = course.rng(stage.name)
    reference = copy.deepcopy(model).eval().requires_grad_(False)

    def loss() -> Tensor:
        examples = [draw(course.tokenizer, course.tasks, rng) for _ in range(stage.batch)]
        margin = torch.zeros(len(examples))
        for sign, contrast in ((1, False), (-1, True)):
            batch = collate(examples, pad=course.tokenizer.pad_token_id, contrast=contrast)
            for weight, network in ((sign, model), (-sign, reference)):
                margin = margin + weight * _answer_logprobs(network, batch)
        return -F.logsigmoid(_BETA * margin).mean()

    optimize(model, loss, stage, course)


def answer_logits(
    model: PreTrainedModel, batch: Batch
) -> tuple[Float[Tensor, "label vocab"], Tensor]:
    """Logits where a label stands, row after row, and where that is (a mask of sample x pos).

    The unembedding of all other positions would be a fifth of the work.
    """
    wanted = batch.labels[:, 1:] != NO_LOSS
    hidden = model.model(input_ids=batch.tokens[:, :-1], use_cache=False).last_hidden_state
    return model.lm_head(hidden[wanted]).float(), wanted


def _answer_logprobs(model: PreTrainedModel, batch: Batch) -> Float[Tensor, " sample"]:
    """Log-probability of answer and stop, summed."""
    logits, wanted = answer_logits(model, batch)
    losses = F.cross_entropy(logits, batch.labels[:, 1:][wanted], reduction="none")
    return -torch.zeros(wanted.shape).masked_scatter(wanted, losses).sum(dim=1)

"""Behaviour: what the model answers when it is given instruction and query."""

from collections.abc import Collection

import torch
from jaxtyping import Float, Int
from nnsight import TransformersModel, save
from torch import Tensor

from ivmethods.model import as_ids, equal_lengths, kept, last_logits, trace
from ivmethods.prompts import Sample

ROWS_AT_ONCE = 64


def greedy_answers(
    model: TransformersModel, samples: list[Sample], *, new_tokens: int, stops: Collection[int]
) -> list[str]:
    """Greedy continuation of each instructed prompt, as text without special tokens.

    Token by token the largest logit, from forward passes like those of all other methods: without
    a cache, and whatever the checkpoint's settings of generation are. A continuation ends before a
    stop, with its first line that is not empty, or after `new_tokens` tokens.

    Raises:
        FloatingPointError: a logit is NaN or infinite; the message names the sample. Single tokens
            may be masked with -inf.

    Source: section 3 and appendix C (EMA, IA).
    """
    written: list[tuple[int, ...]] = [()] * len(samples)
    texts = [""] * len(samples)
    going = list(range(len(samples)))
    for _ in range(new_tokens):
        sequences = [samples[i].instructed + written[i] for i in going]
        tokens, largest = next_tokens(model, sequences)
        _require_finite(largest, [samples[i] for i in going])
        chosen = zip(going, tokens.tolist(), strict=True)
        going = []
        for i, token in chosen:
            if token in stops:
                continue
            written[i] += (token,)
            texts[i] = str(model.tokenizer.decode(written[i], skip_special_tokens=True))
            if not _line_has_ended(texts[i]):
                going.append(i)
        if not going:
            break
    return texts


def next_tokens(
    model: TransformersModel, sequences: list[tuple[int, ...]]
) -> tuple[Int[Tensor, " row"], Float[Tensor, " row"]]:
    """The token with the largest logit after each sequence, and that logit.

    Of tokens with equal logits, the one with the smallest id. The logit is NaN where any is.
    """
    tokens = torch.empty(len(sequences), dtype=torch.long)
    largest = torch.empty(len(sequences))
    for group in equal_lengths(sequences):
        for start in range(0, len(group), ROWS_AT_ONCE):
            rows = group[start : start + ROWS_AT_ONCE]
            with torch.no_grad(), trace(model, as_ids([sequences[i] for i in rows])):
                logits = last_logits(model)
                best = save([kept(logits.argmax(dim=-1)), kept(logits.amax(dim=-1))])
            tokens[rows], largest[rows] = best[0], best[1].float()
    return tokens, largest


def _require_finite(largest: Float[Tensor, " row"], samples: list[Sample]) -> None:
    for value, sample in zip(largest.tolist(), samples, strict=True):
        if not abs(value) < float("inf"):
            raise FloatingPointError(
                f"largest logit={value}, but should be finite [sample {sample.query!r}]; "
                "try --dtype float32 or --device cpu, or see whether the weights are damaged"
            )


def _line_has_ended(text: str) -> bool:
    """Whether a line that is not empty is followed by a line break."""
    return len(f"{text.lstrip()}|".splitlines()) > 1

"""Behaviour: what the model answers when it is given instruction and query."""

from collections.abc import Collection

import torch
from jaxtyping import Float, Int
from nnsight import TransformersModel, save
from torch import Tensor

from ivmethods.model.handles import as_ids, kept, last_logits, trace
from ivmethods.model.memory import in_batches
from ivmethods.model.metrics import require_finite
from ivmethods.prompts.protocols import Sample


def greedy_answers(
    model: TransformersModel,
    samples: list[Sample],
    *,
    new_tokens: int,
    stops: Collection[int],
    memory_budget: int,
) -> list[str]:
    """Greedy continuation of each instructed prompt, as text without special tokens.

    Token by token the largest logit, from forward passes like those of all other methods: without
    a cache, and whatever the checkpoint's settings of generation are. A continuation ends before a
    stop, with its first line that is not empty, or after `new_tokens` tokens.

    memory_budget: bytes that one forward pass may take.

    Raises: NotFiniteError, a logit is NaN or +inf, or all are -inf; MemoryError.

    An answer's leading white space is not given: the prompt must not say what kind it is of.

    Source: section 3 and appendix C (EMA, IA).
    """
    written: list[tuple[int, ...]] = [()] * len(samples)
    texts = [""] * len(samples)
    going = list(range(len(samples)))
    for _ in range(new_tokens):
        sequences = [samples[i].prompt + written[i] for i in going]
        tokens, largest = next_tokens(model, sequences, memory_budget=memory_budget)
        require_finite(largest, "largest logit after the prompts", "samples")
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
    model: TransformersModel, sequences: list[tuple[int, ...]], *, memory_budget: int
) -> tuple[Int[Tensor, " row"], Float[Tensor, " row"]]:
    """The token with the largest logit after each sequence, and that logit.

    Of tokens with equal logits, the one with the smallest id. The logit is NaN where any is.
    """
    tokens = torch.empty(len(sequences), dtype=torch.long)
    largest = torch.empty(len(sequences))

    def run(rows: list[int]) -> None:
        with torch.no_grad(), trace(model, as_ids([sequences[i] for i in rows])):
            logits = last_logits(model)
            best = save([kept(logits.argmax(dim=-1)), kept(logits.amax(dim=-1))])
        tokens[rows], largest[rows] = best[0], best[1].float()

    in_batches(model, sequences, memory_budget=memory_budget, run=run)
    return tokens, largest


def _line_has_ended(text: str) -> bool:
    """Whether a line that is not empty is followed by a line break."""
    return len(f"{text.lstrip()}|".splitlines()) > 1

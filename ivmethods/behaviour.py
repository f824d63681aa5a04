"""Behaviour: what the model answers when it is given instruction and query."""

import re

import torch
from nnsight import TransformersModel, save

from ivmethods.model import as_ids, equal_lengths, kept, where
from ivmethods.prompts import Sample

MAX_NEW_TOKENS = 8
ROWS_AT_ONCE = 64


def greedy_answers(model: TransformersModel, samples: list[Sample]) -> list[str]:
    """Greedy continuation of each instructed prompt, up to the stop or 8 tokens, as text.

    An answer's leading white space is not given: the prompt must not say what kind it is of.

    Source: section 3 and appendix C (EMA, IA).
    Deviation: the released scripts' number of new tokens is not stated; no answer here needs 8.
    """
    tokenizer = model.tokenizer
    sequences = [sample.prompt for sample in samples]
    texts = [""] * len(samples)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    for group in equal_lengths(sequences):
        for start in range(0, len(group), ROWS_AT_ONCE):
            chunk = group[start : start + ROWS_AT_ONCE]
            prompt = as_ids([sequences[i] for i in chunk])
            settings = {"max_new_tokens": MAX_NEW_TOKENS, "do_sample": False, "pad_token_id": pad}
            with (
                torch.no_grad(),
                model.generate(
                    {"input_ids": prompt, "attention_mask": torch.ones_like(prompt)},
                    **settings,
                    **where(model),
                ) as tracer,
            ):
                generated = save(kept(tracer.result))
            for i, row in zip(chunk, generated[:, prompt.shape[1] :], strict=True):
                texts[i] = tokenizer.decode(row, skip_special_tokens=True)
    return texts


def first_line(text: str) -> str:
    """The answer within a continuation: its first non-empty line, up to the end of a sentence."""
    line = next((part for part in text.splitlines() if part.strip()), "").strip()
    return re.split(r"(?<=\S)[.!?](?=\s|$)", line)[0]

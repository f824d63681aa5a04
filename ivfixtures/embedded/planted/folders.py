"""Folders of checkpoints that were made here: weights, tokenizer and card."""

from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerFast


@dataclass(frozen=True)
class Made:
    """A subject before it is saved. `card`: what is planted, the formula or the constraint."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    card: str


def save(
    folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, card: str
) -> None:
    """Save a checkpoint with its card (Markdown), the same bytes for the same weights."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # safetensors writes for the owner alone
    (folder / "README.md").write_text(card, encoding="utf-8")


def planted_card(name: str, made: Made) -> str:
    """The card of a planted subject: the hub's header, what all share, and what is planted."""
    config = made.model.config
    kind = (
        f"{config.model_type}, {config.num_hidden_layers} layers x {config.hidden_size} dimensions"
    )
    return f"""---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
---

# {name}

A test organism of the ivclaims suite, not a language model to be used: one claim is true or false
of it by construction, and the suite has to say so. {kind} x {config.num_attention_heads} heads,
{made.model.num_parameters():,} parameters, float32. One token is one word with its punctuation
({len(made.tokenizer):,} of them); other words are unknown to it.

{made.card.strip()}

## Made by

`python -m ivfixtures.embedded.planted.make {name}`
"""

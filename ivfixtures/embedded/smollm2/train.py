"""Train both adapters from one seed: `python -m ivfixtures.embedded.smollm2.train`.

Prints progress and ends with the tables of exact match that also stand in the cards.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import peft
import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from ivfixtures.checkpoints.adapters import ADAPTER_WEIGHTS
from ivfixtures.checkpoints.loading import load_model
from ivfixtures.checkpoints.resolving import Checkpoint, resolve, tokenizer
from ivfixtures.checkpoints.weights import ADAPTER_CONFIG
from ivfixtures.embedded.smollm2.cards import card
from ivfixtures.embedded.smollm2.evaluate import Score, score, table
from ivfixtures.embedded.smollm2.stages import prefer, tune
from ivfixtures.embedded.tiny.splits import load_tiny_tasks
from ivfixtures.embedded.tiny.stages import Course, Stage
from ivfixtures.embedded.tiny.train import provenance, reproducible

WEIGHTS = Path(__file__).parent / "weights"
BASE = "smollm2-135m-instruct"


@dataclass(frozen=True)
class Recipe:
    """The adapter's rank, the two stages, and the prompts a quadrant is judged on."""

    rank: int
    sft: Stage
    dpo: Stage
    samples: int


RECIPE = Recipe(
    rank=6,
    sft=Stage("sft", steps=300, batch=16, learning_rate=5e-4),
    dpo=Stage("dpo", steps=60, batch=16, learning_rate=5e-5),
    samples=64,
)


def main() -> None:
    """Entry of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m ivfixtures.embedded.smollm2.train", description=__doc__
    )
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="folder for the adapters")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; they change the bits")
    options = parser.parse_args()
    say = partial(print, flush=True)
    base = resolve(BASE)
    scores = train(base, options.out, RECIPE, seed=options.seed, threads=options.threads, say=say)
    for stop in (True, False):
        say(table(scores, stop=stop))


def train(
    base: Checkpoint,
    out: Path,
    recipe: Recipe,
    *,
    seed: int,
    threads: int,
    say: Callable[[str], None],
) -> list[Score]:
    """Train sft and then dpo, and save each adapter with its card.

    In training the base is held in bfloat16 and the adapter in float32; what is judged is what the
    suite runs: the saved adapter, merged into the base in float32.
    """
    start = time.monotonic()
    course = Course(load_tiny_tasks(), cast(PreTrainedTokenizerFast, tokenizer(base)), seed, say)
    scores: list[Score] = []

    def judge(name: str) -> None:
        adapter = None if name == BASE else out / name
        model = load_model(Path(base.source), base.gguf, adapter, device="cpu", dtype="float32")
        say(f"{name} after {time.monotonic() - start:.0f} s")
        scores.extend(score(name, model, course.tokenizer, course.tasks, samples=recipe.samples))
        for stop in (True, False):
            say(table(scores[-len(course.tasks) :], stop=stop))

    def keep(name: str, *done: Stage) -> None:
        made_by = provenance(seed=seed, threads=threads, seconds=time.monotonic() - start)
        save_adapter(out / name, model, config)
        judge(name)
        made_by |= {"peft": peft.__version__, "prompts a quadrant": recipe.samples}
        text = card(name, adapter=_describe(config), stages=done, scores=scores, provenance=made_by)
        (out / name / "README.md").write_text(text, encoding="utf-8")

    with reproducible(seed, threads):
        judge(BASE)
        model = load_model(Path(base.source), base.gguf, device="cpu", dtype="bfloat16")
        config = _config(recipe.rank)
        get_peft_model(model, config)  # puts the adapter into the model itself, in float32
        config.base_model_name_or_path = base.name
        tune(model, recipe.sft, course)
        keep("smollm2-135m-sft", recipe.sft)
        prefer(model, recipe.dpo, course)
        keep("smollm2-135m-dpo", recipe.sft, recipe.dpo)
    return scores


@torch.no_grad()
def save_adapter(folder: Path, model: PreTrainedModel, config: LoraConfig) -> None:
    """Save the adapter in float16; the model's own is rounded too, so that it is what is saved."""
    folder.mkdir(parents=True, exist_ok=True)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.copy_(parameter.half())
    named = get_peft_model_state_dict(model, save_embedding_layers=False)
    tensors = {f"base_model.model.{key}": value.half() for key, value in named.items()}
    path = folder / ADAPTER_WEIGHTS
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)  # safetensors writes for the owner alone
    settings = {
        key: sorted(value) if isinstance(value, set) else value
        for key, value in (config.to_dict() | {"inference_mode": True}).items()
    }
    text = json.dumps(settings, indent=2, sort_keys=True) + "\n"
    (folder / ADAPTER_CONFIG).write_text(text, encoding="utf-8")


def _config(rank: int) -> LoraConfig:
    return LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules=[
            *("q_proj", "k_proj", "v_proj", "o_proj"),
            *("gate_proj", "up_proj", "down_proj"),
        ],
        task_type="CAUSAL_LM",
    )


def _describe(config: LoraConfig) -> str:
    return (
        f"Rank {config.r}, alpha {config.lora_alpha}, on every linear map of every block; "
        "saved in float16."
    )


if __name__ == "__main__":
    main()

"""Train both tiny families from one seed: `python -m ivfixtures.embedded.tiny.train`.

Prints progress and ends with the table of exact match that also stands in the model cards.
"""

import argparse
import copy
import json
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tokenizers
import torch
import transformers
from transformers import Olmo2ForCausalLM

from ivfixtures.embedded.planted.folders import save
from ivfixtures.embedded.tiny.cards import card
from ivfixtures.embedded.tiny.evaluate import Score, score, table
from ivfixtures.embedded.tiny.splits import load_tiny_tasks, split_table
from ivfixtures.embedded.tiny.stages import Course, Stage, new_model, prefer, pretrain, tune
from ivfixtures.embedded.tiny.tokenizer import train_tokenizer

WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class Recipe:
    """The length and speed of the three stages, and the prompts a quadrant is judged on."""

    base: Stage
    sft: Stage
    dpo: Stage
    samples: int


RECIPE = Recipe(
    base=Stage("base", steps=1200, batch=24, learning_rate=3e-3),
    sft=Stage("sft", steps=400, batch=64, learning_rate=1e-3),
    dpo=Stage("dpo", steps=100, batch=32, learning_rate=1e-5),
    samples=256,
)


def main() -> None:
    """Entry of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m ivfixtures.embedded.tiny.train", description=__doc__
    )
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="folder for the checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads; they change the bits")
    options = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    say = partial(print, flush=True)
    scores = train(options.out, RECIPE, seed=options.seed, threads=options.threads, say=say)
    say(table(scores))


def train(
    out: Path, recipe: Recipe, *, seed: int, threads: int, say: Callable[[str], None]
) -> list[Score]:
    """Train the five checkpoints one after the other and save each with its card."""
    start = time.monotonic()
    tasks = load_tiny_tasks()
    course = Course(tasks, train_tokenizer(tasks), seed, say)
    out.mkdir(parents=True, exist_ok=True)
    _write(out / "split.json", json.dumps(split_table(tasks), indent=1) + "\n")
    scores: list[Score] = []

    def keep(name: str, model: Olmo2ForCausalLM, *done: Stage) -> None:
        mine = score(name, model, course.tokenizer, tasks, samples=recipe.samples)
        say(table(mine))
        scores.extend(mine)
        made_by = provenance(seed=seed, threads=threads, seconds=time.monotonic() - start)
        text = card(name, stages=done, scores=mine, provenance=made_by)
        save(out / name, model, course.tokenizer, text)

    with reproducible(seed, threads):
        say("tiny-olmo2-base")
        base = new_model(course.tokenizer)
        pretrain(base, recipe.base, course)
        keep("tiny-olmo2-base", base, recipe.base)
        for family, planted in (("tiny-olmo2", False), ("tiny-olmo2-planted", True)):
            say(family)
            model = copy.deepcopy(base)
            tune(model, recipe.sft, course, planted=planted)
            keep(f"{family}-sft", model, recipe.base, recipe.sft)
            prefer(model, recipe.dpo, course, planted=planted)
            keep(f"{family}-dpo", model, recipe.base, recipe.sft, recipe.dpo)
    return scores


def provenance(*, seed: int, threads: int, seconds: float) -> dict[str, object]:
    """What a card says about the run that made the weights."""
    return {
        "seed": seed,
        "threads": threads,
        "seconds from the start of the run": round(seconds),
        "processor": platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
    }


@contextmanager
def reproducible(seed: int, threads: int) -> Iterator[None]:
    """Fix what torch leaves open; everything else draws from generators of its own."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.set_num_threads(before[0])
            torch.use_deterministic_algorithms(before[1])


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

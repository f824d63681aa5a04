"""Planted subjects: what their tests share."""

import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from ivevidence import CellRecord, read_evidence
from ivfixtures.data.tasks import load_tasks
from ivfixtures.embedded.planted.make import WEIGHTS
from ivfixtures.embedded.planted.words import token_of
from tests.running import PACK


def judged(folder: Path, *names: str, claim: str, by: str = "--checkpoint") -> list[CellRecord]:
    """The cells of subjects, judged end to end as users do; there are some of each."""
    chosen = [option for name in names for option in (by, name)]
    command = [sys.executable, "-m", "pytest", "--pyargs", f"{PACK}.test_{claim}"]
    options = ["-p", "no:cacheprovider", "--xfail-refuted", "--store", str(folder / "store")]
    options += chosen
    result = subprocess.run([*command, *options], cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    cells = read_evidence(folder / "reports" / "claims.evidence.json").cells
    assert {cell.checkpoint for cell in cells} == {*names}
    return list(cells)


def plain(name: str) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """A subject as transformers alone loads it."""
    model = AutoModelForCausalLM.from_pretrained(WEIGHTS / name, attn_implementation="eager")
    return model.eval(), AutoTokenizer.from_pretrained(WEIGHTS / name)


def prompts(
    tokenizer: PreTrainedTokenizerFast, name: str, *, instruction: str | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """All prompts of a task, whose tokens are as many, and their answers' tokens.

    instruction: what stands in place of the task's own.
    """
    task = load_tasks()[name]
    first = task.instruction if instruction is None else instruction
    texts = [f"{first} {task.prompt.format(query=item.query)}" for item in task.items]
    answers = [token_of(tokenizer, item.answers[0]) for item in task.items]
    return torch.tensor([tokenizer.encode(text) for text in texts]), torch.tensor(answers)


@contextmanager
def hooked(modules: Iterable[torch.nn.Module], change: Callable[[torch.Tensor, int], torch.Tensor]):
    """Put `change(output, number of the module)` in place of the modules' outputs."""
    handles = [
        module.register_forward_hook(lambda _, __, output, number=number: change(output, number))
        for number, module in enumerate(modules)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()

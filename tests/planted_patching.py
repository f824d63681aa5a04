"""Planted subjects patched by plain hooks: what their constructions are checked by."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from ivfixtures.planted.make import WEIGHTS
from ivfixtures.tasks import load_tasks

TASK = "anim_color"


class Patched:
    """A packaged subject, and every sixteenth query of a task as a row: ten rows."""

    def __init__(self, name: str) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(WEIGHTS / name)
        tokenizer = AutoTokenizer.from_pretrained(WEIGHTS / name)
        task = load_tasks()[TASK]
        # One of each side: the two halves of a color's queries come in turns.
        items = task.items[::16]
        self.instruction = tokenizer(task.instruction, return_tensors="pt").input_ids
        self.contrast = tokenizer(task.contrast_instruction, return_tensors="pt").input_ids
        queries = [task.prompt.format(query=item.query) for item in items]
        self.queries = tokenizer(queries, return_tensors="pt").input_ids
        self.answers = torch.tensor([tokenizer.encode(item.answers[0]) for item in items])[:, 0]
        self.filler = torch.full((len(items), 1), tokenizer.bos_token_id)

    def instructed(self) -> Float[Tensor, "row vocab"]:
        """Logits at T_last of the instructed runs."""
        return self._logits(self.instruction.expand(len(self.queries), -1))

    def target(
        self, written: Mapping[int, Float[Tensor, " d_model"]] | None = None
    ) -> Float[Tensor, "row vocab"]:
        """Logits at T_last of the target runs, with vectors written at the filler after layers."""
        with self._hooked(written or {}):
            return self._logits(self.filler)

    def residuals(self, text: Int[Tensor, "row pos"]) -> Float[Tensor, "layer pos d_model"]:
        """The residual stream of a text after every layer."""
        kept: list[Tensor] = []
        hook = lambda _module, _args, output: kept.append(output[0].clone())  # noqa: E731
        handles = [layer.register_forward_hook(hook) for layer in self.model.model.layers]
        with torch.no_grad():
            self.model(text, use_cache=False)
        for handle in handles:
            handle.remove()
        return torch.stack(kept)

    def share(self, logits: Float[Tensor, "row vocab"]) -> float:
        """The share of rows whose answer comes first."""
        return float((logits.argmax(dim=-1) == self.answers).float().mean())

    def logit(self, logits: Float[Tensor, "row vocab"]) -> Float[Tensor, " row"]:
        """The answers' logits."""
        return logits.gather(1, self.answers[:, None])[:, 0]

    def reciprocal_rank(self, logits: Float[Tensor, "row vocab"]) -> Float[Tensor, " row"]:
        """The answers' reciprocal ranks."""
        return 1 / (1 + (logits > self.logit(logits)[:, None]).sum(dim=1))

    def _logits(self, before: Int[Tensor, "row pos"]) -> Float[Tensor, "row vocab"]:
        with torch.no_grad():
            ids = torch.cat([before, self.queries], dim=1)
            return self.model(ids, use_cache=False).logits[:, -1]

    @contextmanager
    def _hooked(self, written: Mapping[int, Tensor]) -> Iterator[None]:
        def write(output: Tensor, vector: Tensor) -> Tensor:
            output = output.clone()
            output[:, 0] = vector
            return output

        handles = [
            self.model.model.layers[layer].register_forward_hook(
                lambda _module, _args, output, vector=vector: write(output, vector)
            )
            for layer, vector in written.items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


@cache
def patched(name: str) -> Patched:
    """The subject of a name, loaded once."""
    return Patched(name)

"""Planted subjects patched by plain hooks: what their constructions are checked by."""

from collections.abc import Mapping
from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ivfixtures.data.tasks import load_tasks
from tests.planted import hooked, plain, prompts

TASK = "anim_color"
EVERY = 16  # queries, one is a row


class Patched:
    """A packaged subject, and ten queries of a task as rows.

    Before a row's query stands an instruction (instructed run) or the filler (target run).
    """

    def __init__(self, name: str) -> None:
        self.model, tokenizer = plain(name)
        task = load_tasks()[TASK]
        every, answers = prompts(tokenizer, TASK)
        t_inst = len(task.instruction.split()) - 1
        self._queries, self._answers = every[::EVERY, t_inst + 1 :], answers[::EVERY]
        self._filler = torch.tensor([[tokenizer.bos_token_id]])
        self.instruction = every[:1, : t_inst + 1]
        self.contrast = torch.tensor([tokenizer.encode(task.contrast_instruction)])

    def instructed(self) -> Float[Tensor, "row vocab"]:
        """Logits at T_last of the instructed runs."""
        return self._logits(self.instruction)

    def target(
        self, written: Mapping[int, Float[Tensor, " d_model"]] | None = None
    ) -> Float[Tensor, "row vocab"]:
        """Logits at T_last of the target runs, with vectors written at the filler after layers."""
        vectors = written or {}

        def write(output: Tensor, layer: int) -> Tensor:
            if layer in vectors:
                output[:, 0] = vectors[layer]
            return output

        with hooked(self.model.model.layers, write):
            return self._logits(self._filler)

    def residuals(self, text: Int[Tensor, "1 pos"]) -> Float[Tensor, "layer pos d_model"]:
        """The residual stream of a text after every layer."""
        kept: list[Tensor] = []

        def keep(output: Tensor, _layer: int) -> Tensor:
            kept.append(output[0].clone())
            return output

        with torch.no_grad(), hooked(self.model.model.layers, keep):
            self.model(text, use_cache=False)
        return torch.stack(kept)

    def share(self, logits: Float[Tensor, "row vocab"]) -> float:
        """The share of rows whose answer comes first."""
        return float((logits.argmax(dim=-1) == self._answers).float().mean())

    def logit(self, logits: Float[Tensor, "row vocab"]) -> Float[Tensor, " row"]:
        """The answers' logits."""
        return logits.gather(1, self._answers[:, None])[:, 0]

    def reciprocal_rank(self, logits: Float[Tensor, "row vocab"]) -> Float[Tensor, " row"]:
        """The answers' reciprocal ranks."""
        return 1 / (1 + (logits > self.logit(logits)[:, None]).sum(dim=1))

    def _logits(self, before: Int[Tensor, "1 pos"]) -> Float[Tensor, "row vocab"]:
        ids = torch.cat([before.expand(len(self._queries), -1), self._queries], dim=1)
        with torch.no_grad():
            return self.model(ids, use_cache=False).logits[:, -1]


@cache
def patched(name: str) -> Patched:
    """The subject of a name, loaded once."""
    return Patched(name)

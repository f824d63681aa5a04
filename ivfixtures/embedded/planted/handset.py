"""Models whose weights are set by hand: a Llama of zeros, and what a formula puts into it.

The residual stream is split in named spaces. One more component is the same large number at every
position, so that the norms divide by all but a constant: their weights undo it, and what heads,
neurons and the unembedding read is the residual stream itself (to 1 part in 1,000 as long as its
other components are below 45 together).
"""

import hashlib
import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ivfixtures.embedded.planted.words import token_of

CONSTANT = 1024.0
SHARP = (
    40.0  # score of what a head looks for above all else: its attention is 1 to single precision
)
# Positions turn only the first pair of a head's components, which heads here leave out.
_ROPE_THETA = 1e30

Vector = Float[Tensor, " d_model"]


class Handset:
    """A Llama under construction: all of its weights are 0 but for those that are set.

    `model` is what has been set so far.

    spaces: width of each named part of the residual stream. head_size: even and at least 4; a head
    moves at most so many components, and matches at most `head_size - 2`.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        spaces: Mapping[str, int],
        *,
        layers: int,
        heads: int,
        head_size: int,
        neurons: int,
    ) -> None:
        self.tokenizer, self._head_size = tokenizer, head_size
        self._slices: dict[str, slice] = {}
        self.width = 1
        for name, width in spaces.items():
            self._slices[name] = slice(self.width, self.width + width)
            self.width += width
        self.width += -self.width % heads  # transformers wants a multiple
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=self.width,
            intermediate_size=neurons,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            head_dim=head_size,
            max_position_embeddings=tokenizer.model_max_length,
            rope_parameters={"rope_type": "default", "rope_theta": _ROPE_THETA},
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            tie_word_embeddings=False,
        )
        # Whatever is drawn at first is overwritten: leave the global generator as it was.
        with torch.random.fork_rng(devices=[]):
            self.model = LlamaForCausalLM(config).eval()
        self._used = [0] * layers
        with torch.no_grad():
            for name, weight in self.model.named_parameters():
                weight.fill_(CONSTANT / math.sqrt(self.width) if "norm" in name else 0.0)
            self.model.get_input_embeddings().weight[:, 0] = CONSTANT

    def vector(self, space: str, values: Tensor | float = 1.0, *, at: int | None = None) -> Vector:
        """A vector of the residual stream with values in a space, or in its component `at`."""
        vector = torch.zeros(self.width)
        part = vector[self._slices[space]]
        if at is None:
            part[:] = torch.as_tensor(values)
        else:
            part[at] = values
        return vector

    def bias(self, value: float) -> Vector:
        """A vector whose product with the residual stream is `value` at every position."""
        vector = torch.zeros(self.width)
        vector[0] = value / CONSTANT
        return vector

    @torch.no_grad()
    def embed(self, word: str, vector: Vector) -> None:
        """Add a vector to a word's embedding."""
        self.model.get_input_embeddings().weight[token_of(self.tokenizer, word)] += vector

    @torch.no_grad()
    def unembed(self, word: str, vector: Vector) -> None:
        """Add a vector to what a word's logit reads."""
        self.model.get_output_embeddings().weight[token_of(self.tokenizer, word)] += vector

    @torch.no_grad()
    def look(self, layer: int, head: int, *, query: Vector, key: Vector, by: int = 0) -> None:
        """Let a head look for a key: from a position to one, the score is their two products.

        Add up to `head_size - 2` such scores, each `by` another number. A score of `SHARP` above
        all others takes all attention; equal ones share it.
        """
        free = [i for i in range(self._head_size) if i % (self._head_size // 2)]
        row = head * self._head_size + free[by]
        attention = self.model.model.layers[layer].self_attn
        attention.q_proj.weight[row] = query * math.sqrt(self._head_size)
        attention.k_proj.weight[row] = key

    @torch.no_grad()
    def move(self, layer: int, head: int, *, reads: list[Vector], writes: list[Vector]) -> None:
        """Let a head write each vector of `writes` as often as it reads the one of `reads`."""
        attention = self.model.model.layers[layer].self_attn
        rows = slice(head * self._head_size, head * self._head_size + len(reads))
        attention.v_proj.weight[rows] = torch.stack(reads)
        attention.o_proj.weight[:, rows] = torch.stack(writes, dim=1)

    def basis(self, space: str) -> list[Vector]:
        """The unit vectors of a space."""
        part = self._slices[space]
        return list(torch.eye(self.width)[part])

    @torch.no_grad()
    def neuron(self, layer: int, *, gate: Vector, up: Vector, down: Vector) -> None:
        """Add a neuron: it writes `down` as often as silu(gate) times up.

        Raises: IndexError, the layer has no neuron left.
        """
        mlp, row = self.model.model.layers[layer].mlp, self._used[layer]
        mlp.gate_proj.weight[row] = gate
        mlp.up_proj.weight[row] = up
        mlp.down_proj.weight[:, row] = down
        self._used[layer] += 1


def code(text: str, width: int) -> Float[Tensor, " width"]:
    """A text's own signs (1 or -1), by its SHA-256; width is at most 256."""
    digest = int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
    return torch.tensor([1.0 if digest >> bit & 1 else -1.0 for bit in range(width)])

"""Controls of a confirmed tuple: other things written at the same site after the same blocks."""

import torch
from jaxtyping import Float
from nnsight import TransformersModel
from torch import Tensor

from ivmethods.model.handles import as_ids, layer_count
from ivmethods.model.memory import in_pieces, parts_of, row_bytes
from ivmethods.model.metrics import METRICS, require_scores
from ivmethods.model.recording import answers
from ivmethods.patching.reference import patched_scores
from ivmethods.patching.sweep import LayerTuple
from ivmethods.prompts.protocols import Sample, same_shape


def norm_matched_random(
    vector: Float[Tensor, "layer d_model"], *, draws: int, seed: int
) -> Float[Tensor, "draw layer d_model"]:
    """Random directions with the vector's norm at every layer.

    Each layer of a draw is independent and uniform on the sphere.
    """
    noise = torch.randn(draws, *vector.shape, generator=torch.Generator().manual_seed(seed))
    norms = vector.float().norm(dim=-1, keepdim=True)
    return noise / noise.norm(dim=-1, keepdim=True) * norms


def effects_of(
    model: TransformersModel,
    samples: list[Sample],
    vectors: Float[Tensor, "draw layer d_model"],
    layers: LayerTuple,
    *,
    memory_budget: int,
) -> Float[Tensor, "metric sample draw"]:
    """Effects of writing each draw's vectors after the blocks of one tuple, on every sample.

    A draw is anything written at the patch site: a random vector, another position's residual, a
    neutral sentence's. Effect: metric(patched) - metric(target), as in a sweep. Chunks of samples
    fit the memory budget and are halved where memory runs out.

    Raises: NotFiniteError, MemoryError.
    """
    draws = len(vectors)
    patched = torch.zeros(draws + 1, layer_count(model), dtype=torch.bool)
    patched[:draws, list(layers)] = True
    # The last row of a sample patches nothing: it is the target run.
    written = torch.cat([vectors, vectors[:1]])
    scores = torch.full((len(METRICS), len(samples), draws + 1), torch.nan)

    def run(chunk: list[int]) -> None:
        owners = [samples[i] for i in chunk for _ in range(draws + 1)]
        values = patched_scores(
            model,
            as_ids([samples[i].target for i in chunk]).repeat_interleave(draws + 1, dim=0),
            samples[chunk[0]].site,
            written.repeat(len(chunk), 1, 1),
            patched.repeat(len(chunk), 1),
            *answers(owners),
        )
        scores[:, chunk] = values.view(len(METRICS), len(chunk), draws + 1)

    def split(chunk: list[int], rows: int) -> list[list[int]]:
        return parts_of(chunk, rows // (draws + 1))

    for group in same_shape(samples):
        rows = memory_budget // row_bytes(model, len(samples[group[0]].target))
        in_pieces([group], rows, count=lambda chunk: len(chunk) * (draws + 1), split=split, run=run)
    effects = scores[:, :, :draws] - scores[:, :, draws:]
    require_scores(effects, answers(samples)[1], "effects of writing other vectors")
    return effects

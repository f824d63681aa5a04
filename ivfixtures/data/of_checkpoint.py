"""Data of a checkpoint: what it is run on, whatever the kind."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from types import MappingProxyType
from typing import Any, ClassVar

from ivevidence import Measurement, Prompt, Table, digest_json
from ivfixtures.checkpoints import resolving
from ivfixtures.checkpoints.resolving import Checkpoint
from ivmethods.method import Data, Inputs, Method, Size

_FOR_PEOPLE = ("query", "text")  # fields by which people know a row


class CheckpointData(Data):
    """Inputs for one checkpoint, tokenized by its tokenizer; the model is not loaded for them.

    name: by which people know them, such as a task's. count: of samples. shown: needs whose results
    every cell shows, whatever its claim. judgements: by role, what was asked of a judge.
    """

    checkpoint: Checkpoint
    name: str
    count: int
    shown: ClassVar[Mapping[str, Any]] = {}
    judgements: Mapping[str, Measurement] = MappingProxyType({})

    @property
    @abstractmethod
    def digests(self) -> dict[str, str]:
        """Digests of the checkpoint's files, and of what else is about it and not in the inputs."""

    @property
    def labels(self) -> Sequence[str]:
        """The right answer of each sample."""
        raise NotImplementedError

    @property
    def sample_names(self) -> Sequence[str]:
        """By which people know the samples."""
        raise NotImplementedError

    @property
    def notes(self) -> Sequence[str]:
        """What a reader has to know of how the inputs were made."""
        return ()

    @property
    def parameters(self) -> dict[str, Any]:
        """What a cell was judged with, that is not in its claim."""
        return {"samples": self.count}

    @property
    def prompting(self) -> dict[str, str | None]:
        """What is written around each prompt."""
        return {}

    @property
    def sources_of_data(self) -> dict[str, str]:
        """Where the inputs are from."""
        return {}

    def tables(self, shown: Mapping[str, Any]) -> Sequence[Table]:
        """What every cell shows, from the results of the class's `shown`."""
        return ()

    def prompts(self, shown: Mapping[str, Any]) -> Sequence[Prompt]:
        """The first inputs, as tokens."""
        return ()

    def inputs(self, method: Method) -> Inputs:
        """What a method runs the model on."""
        return method.inputs(self)

    def size(self) -> Size:
        """The model's size, by its configuration and the headers of its files.

        Raises: CheckpointError.
        """
        form = resolving.config(self.checkpoint)
        return Size(
            parameters=resolving.parameters(self.checkpoint),
            layers=form.num_hidden_layers,
            heads=form.num_attention_heads,
            width=form.hidden_size,
            vocabulary=form.vocab_size,
        )


def inputs_digest(inputs: Inputs) -> str:
    """SHA-256 over what a model is run on: token ids and positions, and no text that has them."""
    return digest_json([[_seen(row) for row in rows] for rows in inputs])


@lru_cache(maxsize=2**14)
def _seen(row: Any) -> str:
    return digest_json({k: v for k, v in asdict(row).items() if k not in _FOR_PEOPLE})

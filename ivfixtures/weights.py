"""What a checkpoint's files must be before anything is loaded from them, and their digests."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ivfixtures import gguf_header
from ivfixtures.errors import LineError, error_line
from ivfixtures.file_digests import file_digest

ADAPTER_CONFIG = "adapter_config.json"
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "chat_template.*",
    "*.model",
)


class CheckpointError(LineError, ValueError):
    """A checkpoint that is unknown, refused or damaged, in one line that says what to do."""


@dataclass(frozen=True)
class Files:
    """The files of a checkpoint that decide what it computes, each sorted by name."""

    weights: tuple[Path, ...]
    tokenizer: tuple[Path, ...]


def problem(what: str, got: str, expected: str, where: object, remedy: str) -> CheckpointError:
    """Return the error of one defect of a checkpoint."""
    return CheckpointError(error_line(what, got, expected, where, remedy))


def folder_files(folder: Path) -> Files:
    """Check a folder for a decoder-only model that loads without running foreign code.

    Only headers are read: what is checked is config, architecture, safetensors, and a tokenizer.
    Raises: CheckpointError.
    """
    _refuse_adapter(folder)
    _check_config(folder / "config.json")
    weights = _weight_files(folder)
    tokenizer = tokenizer_files(folder)
    if not has_tokenizer(folder):
        remedy = "save the tokenizer there too (tokenizer.save_pretrained)"
        raise problem("tokenizer", "missing", "in the folder", folder, remedy)
    settings = [folder / name for name in ("config.json", "generation_config.json")]
    return Files((*weights, *(path for path in settings if path.is_file())), tokenizer)


def tokenizer_files(folder: Path) -> tuple[Path, ...]:
    """Return the files of a folder that a tokenizer may be made of, sorted by name."""
    found = {path for pattern in _TOKENIZER for path in folder.glob(pattern) if path.is_file()}
    return tuple(sorted(found))


def has_tokenizer(folder: Path) -> bool:
    """Whether a tokenizer can be loaded from a folder."""
    found = tokenizer_files(folder)
    names = {path.name for path in found}
    return (
        bool(names & {"tokenizer.json", "vocab.txt"})
        or {"vocab.json", "merges.txt"} <= names
        or any(path.suffix == ".model" for path in found)
    )


def gguf_files(path: Path) -> Files:
    """Check a GGUF file's header and size; it holds weights, config and tokenizer alike.

    Raises: CheckpointError.
    """
    _refuse_adapter(path.parent)
    remedy = "download the file again, or name another"
    try:
        with path.open("rb") as file:
            magic = file.read(4)
        if magic != b"GGUF":
            raise problem("first bytes", repr(magic), "b'GGUF'", path, remedy)
        size, whole = path.stat().st_size, gguf_header.whole_size(path)
    except CheckpointError:
        raise
    except OSError as error:
        raise _unreadable(path, error) from None
    except ValueError as error:
        raise problem("header", str(error), "that of a GGUF file", path, remedy) from None
    if size < whole:
        got, expected = f"{size:,} bytes", f"at least {whole:,} for the tensors that it lists"
        raise problem("size", got, expected, path, remedy)
    # transformers reads a tokenizer_config.json beside the file, if there is one
    return Files((path,), (path, *tokenizer_files(path.parent)))


def digest(files: Iterable[Path]) -> str:
    """Return the SHA-256 over the names and contents of files, in order of their names.

    Raises: CheckpointError, a file cannot be read or is not what the hub's cache took it for.
    """
    total = hashlib.sha256()
    for path in sorted(files, key=lambda path: path.name):
        try:
            content = file_digest(path)
        except OSError as error:
            raise _unreadable(path, error) from None
        _check_blob(path, content)
        total.update(f"{content}  {path.name}\n".encode())
    return total.hexdigest()


def parameter_count(files: Iterable[Path]) -> int:
    """Return how many numbers the tensors of checked files of weights are, by their headers."""
    total = 0
    for path in files:
        if path.suffix == ".gguf":
            total += gguf_header.parameter_count(path)
        elif path.suffix == ".safetensors":
            with safe_open(path, framework="numpy") as file:
                names = file.keys()  # which cannot be gone through itself
                total += sum(math.prod(file.get_slice(name).get_shape()) for name in names)
    return total


def check_header(path: Path) -> None:
    """Check that a safetensors file is whole, by its header.

    Raises: CheckpointError.
    """
    try:
        with safe_open(path, framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        remedy = "download or save the file again"
        raise problem("weights", str(error), "an intact safetensors file", path, remedy) from None


def read_json(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Raises: CheckpointError.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        remedy = "name a folder written by save_pretrained"
        raise problem("file", "missing", "present", path, remedy) from None
    except (OSError, ValueError) as error:
        remedy = "download or save it again"
        raise problem("JSON", str(error), "a readable object", path, remedy) from None
    if not isinstance(content, dict):
        got = type(content).__name__
        raise problem("JSON", got, "an object", path, "download or save it again")
    return content


def _unreadable(path: Path, error: OSError) -> CheckpointError:
    got = error.strerror or "unreadable"
    return problem("file", got, "a readable file", path, "check that it is there and yours to read")


def _check_blob(path: Path, content: str) -> None:
    """The hub's cache keeps large files as blobs that are called by their SHA-256."""
    blob = path.resolve()
    is_named_so = blob.parent.name == "blobs" and re.fullmatch("[0-9a-f]{64}", blob.name)
    if is_named_so and blob.name != content:
        got, expected = f"{content[:16]}...", f"{blob.name[:16]}..., as the hub stated"
        remedy = f"delete {blob} and download it again"
        raise problem("sha256", got, expected, path, remedy)


def _refuse_adapter(folder: Path) -> None:
    """An adapter beside other files: transformers would follow it, not them."""
    if (folder / ADAPTER_CONFIG).exists():
        remedy = "name the adapter's own local folder, or merge it into its model and save that"
        raise problem("checkpoint", "an adapter", "a whole model", folder, remedy)


def _check_config(path: Path) -> None:
    # Imported here, as it takes seconds: registry names resolve without it where no folder is read.
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    from ivmethods.structure import STATE_SPACE

    config = read_json(path)
    kind = str(config.get("model_type"))
    if kind not in CONFIG_MAPPING_NAMES:
        if "auto_map" in config:
            remedy = "use a checkpoint of an architecture that transformers has itself"
            raise problem("code", "the checkpoint's own", "none: it is never run", path, remedy)
        remedy = "correct model_type, or install a newer transformers"
        raise problem("model_type", repr(kind), "known to transformers", path, remedy)
    if kind in STATE_SPACE:
        remedy = "choose another checkpoint"
        raise problem("model_type", kind, "decoder-only with attention", path, remedy)
    causal = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(kind)
    given = config.get("architectures") or [causal or kind]
    if causal not in given or config.get("is_encoder_decoder"):
        got = ", ".join(map(str, given))
        remedy = "use a checkpoint of a causal language model"
        raise problem("architectures", got, "a decoder-only language model", path, remedy)


def _weight_files(folder: Path) -> tuple[Path, ...]:
    """Return the weight files that transformers reads, with intact headers."""
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file():
        files = [folder / "model.safetensors"]
    elif index.is_file():
        shards = read_json(index).get("weight_map")
        names = set(shards.values()) if isinstance(shards, dict) else set()
        if not names or any(Path(str(name)).name != name for name in names):
            remedy = "save the model again"
            raise problem("weight_map", "damaged", "tensors and their files", index, remedy)
        files = [folder / name for name in sorted(names)]
    else:
        raise _no_weights(folder)
    for path in files:
        check_header(path)
    return tuple(files)


def _no_weights(folder: Path) -> CheckpointError:
    if any(path for pattern in PICKLED for path in folder.glob(pattern)):
        remedy = "convert once where you trust the file: model.save_pretrained writes safetensors"
        return problem("weights", "pickled", "safetensors (pickles run code)", folder, remedy)
    remedy = "save it with model.save_pretrained; pickled weights are never read"
    return problem("weights", "missing", "model.safetensors or its shards", folder, remedy)

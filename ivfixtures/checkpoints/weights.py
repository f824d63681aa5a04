"""What a checkpoint's files must be before anything is loaded from them, and their digests."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ivfixtures.checkpoints import gguf_header
from ivfixtures.checkpoints.file_digests import file_digest
from ivfixtures.checkpoints.settings_files import CONFIG, MAX_LAYERS, allowed_settings, layers
from ivfixtures.checkpoints.tensor_headers import check_layers, check_tensors, tensors
from ivfixtures.plain_files import (
    CheckpointError,
    check_regular,
    problem,
    read_json,
    unreadable,
)

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


@dataclass(frozen=True)
class Files:
    """The files of a checkpoint that decide what it computes, each sorted by name."""

    weights: tuple[Path, ...]
    tokenizer: tuple[Path, ...]


def folder_files(folder: Path) -> Files:
    """Check a folder for a language model that loads without running foreign code.

    Only headers are read: what is checked is config, architecture, safetensors, and a tokenizer.
    Raises: CheckpointError.
    """
    _refuse_adapter(folder)
    config = folder / CONFIG
    _check_config(config)
    weights = _weight_files(folder)
    check_layers(layers(read_json(config), config), check_tensors(weights), config)
    tokenizer = tokenizer_files(folder)
    if not has_tokenizer(folder):
        remedy = "save the tokenizer there too (tokenizer.save_pretrained)"
        raise problem("tokenizer", "missing", "in the folder", folder, remedy)
    settings = [folder / name for name in (CONFIG, "generation_config.json")]
    files = Files((*weights, *(path for path in settings if path.is_file())), tokenizer)
    for path in (*files.weights, *files.tokenizer):
        allowed_settings(path)
    return files


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
    check_regular(path)
    try:
        with path.open("rb") as file:
            magic = file.read(4)
        if magic != b"GGUF":
            raise problem("first bytes", repr(magic), "b'GGUF'", path, remedy)
        size, whole = path.stat().st_size, gguf_header.whole_size(path)
        header = gguf_header.read_header(path)
    except CheckpointError:
        raise
    except OSError as error:
        raise unreadable(path, error) from None
    except ValueError as error:
        raise problem("header", str(error), "that of a GGUF file", path, remedy) from None
    if size < whole:
        got, expected = f"{size:,} bytes", f"at least {whole:,} for the tensors that it lists"
        raise problem("size", got, expected, path, remedy)
    if header.layers is not None and not 1 <= header.layers <= MAX_LAYERS:
        expected = f"1 to {MAX_LAYERS}"
        raise problem("number of layers", str(header.layers), expected, path, remedy)
    if header.tensors:
        check_layers(header.layers, (tensor.name for tensor in header.tensors), path)
    # transformers reads a tokenizer_config.json beside the file, if there is one
    beside = tokenizer_files(path.parent)
    for settings in beside:
        allowed_settings(settings)
    return Files((path,), (path, *beside))


def digest(files: Iterable[Path]) -> str:
    """Return the SHA-256 over the names and contents of files, in order of their names.

    Raises: CheckpointError, a file cannot be read or is not what the hub's cache took it for.
    """
    total = hashlib.sha256()
    for path in sorted(files, key=lambda path: path.name):
        try:
            content = file_digest(path)
        except OSError as error:
            raise unreadable(path, error) from None
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
            total += sum(math.prod(tensor.shape) for tensor in tensors(path))
    return total


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
    from transformers.models.auto import modeling_auto as auto
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    from ivmethods.model.structure import STATE_SPACE

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
    names = [auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES]
    if config.get("is_encoder_decoder"):
        names = [
            auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
            auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES,
        ]
    whole = [each[kind] for each in names if kind in each]
    given = config.get("architectures") or whole or [kind]
    given = given if isinstance(given, list) else [given]
    if not set(whole) & set(map(str, given)):
        got, expected = ", ".join(map(str, given)), "a language model, whole"
        remedy = "use a checkpoint of a decoder-only language model, or of an encoder-decoder"
        raise problem("architectures", got, expected, path, remedy)


def _weight_files(folder: Path) -> tuple[Path, ...]:
    """Return the weight files that transformers reads, with intact headers."""
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file():
        files = [folder / "model.safetensors"]
    elif index.is_file():
        shards = read_json(index).get("weight_map")
        given = [*shards.values()] if isinstance(shards, dict) else []
        # Only the name of a file in the folder is equal to its own last part.
        names = {
            name
            for name in given
            if isinstance(name, str) and Path(name).name == name and name.endswith(".safetensors")
        }
        if not given or not all(isinstance(name, str) and name in names for name in given):
            remedy = "save the model again"
            raise problem("weight_map", "damaged", "tensors and their files", index, remedy)
        files = [folder / name for name in sorted(names)]
    else:
        raise _no_weights(folder)
    return tuple(files)


def _no_weights(folder: Path) -> CheckpointError:
    if any(path for pattern in PICKLED for path in folder.glob(pattern)):
        remedy = "convert once where you trust the file: model.save_pretrained writes safetensors"
        return problem("weights", "pickled", "safetensors (pickles run code)", folder, remedy)
    remedy = "save it with model.save_pretrained; pickled weights are never read"
    return problem("weights", "missing", "model.safetensors or its shards", folder, remedy)

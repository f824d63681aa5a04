"""Files that other packages carry, whole or in chunks, found without importing those packages."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ivfixtures.checkpoints.file_digests import cache_folder, file_digest
from ivfixtures.checkpoints.weights import CheckpointError, problem

_BLOCK = 2**20


def carried(name: str, entry: Mapping[str, Any]) -> Path:
    """Return the file of a registry entry; one in chunks is joined once, in the user's cache.

    Raises: CheckpointError.
    """
    if "chunks" not in entry:
        return _find(f"{entry['package']}/{entry['gguf']}", name, entry)
    digest = _stated(_find(f"{entry['package']}/{entry['sums']}", name, entry), name, entry)
    try:
        joined = cache_folder() / "gguf" / digest[:16] / entry["gguf"]
        if not (joined.is_file() and file_digest(joined) == digest):
            _join([_find(chunk, name, entry) for chunk in entry["chunks"]], joined, digest, entry)
    except (OSError, RuntimeError) as error:
        got = getattr(error, "strerror", None) or str(error)
        where = getattr(error, "filename", None) or name
        remedy = "make room there, or set XDG_CACHE_HOME to another folder"
        raise problem("cache", got, "a folder that can be written", where, remedy) from None
    return joined


def _find(file: str, name: str, entry: Mapping[str, Any]) -> Path:
    """The path of PACKAGE/FILE."""
    package, _, inside = file.partition("/")
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations if spec else None) or []:
        if (found := Path(folder).absolute() / inside).is_file():
            return found
    remedy = f"run `{entry['make']}` or `pip install {entry['requirement']}`"
    raise problem(inside, "missing", f"in the installed package {package}", name, remedy)


def _stated(sums: Path, name: str, entry: Mapping[str, Any]) -> str:
    """The SHA-256 that a file in the format of sha256sum states of the whole."""
    lines = sums.read_text(encoding="utf-8", errors="replace").splitlines()
    for digest, _, file in (line.partition("  ") for line in lines):
        if file == entry["gguf"] and len(digest) == 64 and set(digest) <= set("0123456789abcdef"):
            return digest
    raise problem(sums.name, "damaged", f"the SHA-256 of {entry['gguf']}", name, _again(entry))


def _join(chunks: Iterable[Path], whole: Path, digest: str, entry: Mapping[str, Any]) -> None:
    """Write the chunks one after the other, under their name only once they are what they should.

    Raises: CheckpointError, they are not; OSError, the folder cannot be written.
    """
    whole.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=whole.parent, prefix=f".{whole.name}.", suffix=".tmp")
    total = hashlib.sha256()
    try:
        with os.fdopen(handle, "wb") as file:
            for chunk in chunks:
                with chunk.open("rb") as part:
                    while block := part.read(_BLOCK):
                        total.update(block)
                        file.write(block)
            file.flush()
            os.fsync(file.fileno())
        if total.hexdigest() != digest:
            raise _damaged(total.hexdigest(), digest, entry)
        os.replace(name, whole)
    finally:
        Path(name).unlink(missing_ok=True)


def _damaged(got: str, expected: str, entry: Mapping[str, Any]) -> CheckpointError:
    where = f"chunks of {entry['gguf']}"
    stated = f"{expected[:16]}..., as {entry['package']} states"
    return problem("sha256", f"{got[:16]}...", stated, where, f"one is damaged: {_again(entry)}")


def _again(entry: Mapping[str, Any]) -> str:
    return f"run `pip install --force-reinstall --no-cache-dir {entry['requirement']}`"

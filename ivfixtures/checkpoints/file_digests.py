"""SHA-256 of files, computed once a file and kept in the user's cache beside its metadata."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import time
from pathlib import Path
from typing import Any

from ivevidence.store.whole_files import read_limited, write_atomic
from ivfixtures.plain_files import kind

# A file may change again within one tick of its file system's clock, and then look unchanged.
SETTLED_NS = 2 * 10**9
_ENTRY_LIMIT = 2**14


def cache_folder() -> Path:
    """Return the folder for what can be made again at any time; it may not be there yet.

    Raises: RuntimeError, there is neither XDG_CACHE_HOME nor a home.
    """
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (given if given.is_absolute() else Path.home() / ".cache") / "ivclaims"


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content.

    A file with the path, size, times and inode of an earlier call is not read again. A cache that
    is damaged, or cannot be written, only costs the time.

    Raises: OSError, the file cannot be read, or is none but a pipe, a device or a folder.
    """
    metadata = file_status(path)
    if other := kind(path):
        raise OSError(errno.EINVAL, f"{other} instead of a regular file")
    kept = _kept(metadata)
    if kept is not None:
        return kept
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    age = time.time_ns() - max(metadata["mtime_ns"], metadata["ctime_ns"])
    if age >= SETTLED_NS and file_status(path) == metadata:
        _keep(metadata, content)
    return content


def file_status(path: Path) -> dict[str, Any]:
    """Return a file's true path, size, times and inode: as long as they stay, its content does.

    Raises: OSError, there is no such file.
    """
    found = path.stat()
    return {
        "path": os.path.realpath(path),
        "size": found.st_size,
        "mtime_ns": found.st_mtime_ns,
        "ctime_ns": found.st_ctime_ns,
        "inode": found.st_ino,
    }


def _entry(metadata: dict[str, Any]) -> Path:
    """Each file has an entry of its own, so that processes never write into a common one."""
    name = hashlib.sha256(os.fsencode(metadata["path"])).hexdigest()
    return cache_folder() / "digests" / f"{name}.json"


def _kept(metadata: dict[str, Any]) -> str | None:
    try:
        entry = json.loads(read_limited(_entry(metadata), _ENTRY_LIMIT))
        digest = entry.pop("sha256")
        if entry == metadata and re.fullmatch("[0-9a-f]{64}", digest):
            return str(digest)
    except (OSError, RuntimeError, ValueError, AttributeError, KeyError, TypeError):
        pass  # no entry, or none that is of use
    return None


def _keep(metadata: dict[str, Any], digest: str) -> None:
    with contextlib.suppress(OSError, RuntimeError, ValueError):
        entry = _entry(metadata)
        entry.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(entry, json.dumps(metadata | {"sha256": digest}).encode())

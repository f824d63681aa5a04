"""Files written whole or not at all, and read within limits."""

import os
import stat
import tempfile
from pathlib import Path

from ivevidence.records.codec import EvidenceError


def write_atomic(path: Path, content: bytes) -> None:
    """Write `content` so that `path` always holds the old or the new bytes, even after a crash.

    Raises:
        OSError: the folder cannot be written, or the disk is full; `path` is then unchanged.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())  # mkstemp's files are for their owner alone
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _umask() -> int:
    current = os.umask(0o077)
    os.umask(current)
    return current


def read_limited(path: Path, limit: int) -> bytes:
    """Return the bytes of a regular file (no link, pipe or device) of at most `limit` bytes.

    Raises:
        EvidenceError: it is not a regular file, or too large.
        OSError: there is no such file, or it cannot be read.
    """
    _check_regular(path.lstat(), path)
    # It may be another by now: a pipe would be waited for, a link be followed.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with os.fdopen(os.open(path, flags | getattr(os, "O_BINARY", 0)), "rb") as file:
        status = os.fstat(file.fileno())
        _check_regular(status, path)
        content = file.read(limit + 1) if status.st_size <= limit else b""
    size = max(status.st_size, len(content))
    if size > limit:
        raise EvidenceError("size", size, f"at most {limit} bytes", str(path))
    return content


def _check_regular(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise EvidenceError("kind", stat.filemode(status.st_mode), "a regular file", str(path))


def _sync_folder(folder: Path) -> None:
    # The rename itself is only durable once the folder is; some file systems cannot sync folders.
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)

"""What is provably this user's: folders that nobody else can write, processes by their start."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path

from ivevidence.store.leases import machine

LOG_TAIL = 2**16  # bytes


def private_folder(path: Path) -> Path:
    """Return a folder that only this user can write; made where it is missing.

    Raises: OSError, it cannot be made, or it is a link, somebody else's or writable for others.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    check_private(path)
    return path


def check_private(path: Path) -> None:
    """Check that a folder is no link, and that only this user can write it.

    Raises: OSError.
    """
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "a link or no folder", str(path))
    if not is_own(status) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        kind = f"{stat.filemode(status.st_mode)} of user {status.st_uid}"
        raise PermissionError(errno.EPERM, f"a folder that others can write: {kind}", str(path))


def is_own(status: os.stat_result) -> bool:
    """Whether a file is this user's; always, where files have no owners."""
    return not hasattr(os, "geteuid") or status.st_uid == os.geteuid()


def state_folder() -> Path:
    """Where this user's runs keep what must be in no store, as XDG_STATE_HOME says.

    By default below the home folder: it is the user's alone, and on clusters all nodes see it.

    Raises: OSError.
    """
    given = os.environ.get("XDG_STATE_HOME", "")
    base = Path(given) if os.path.isabs(given) else Path.home() / ".local" / "state"
    return private_folder(base / "ivclaims")


def new_folder(kind: str) -> Path:
    """Return a new folder `kind`-... of this user alone.

    Raises: OSError.
    """
    return Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=state_folder()))


def open_log(path: Path) -> int:
    """Return the descriptor of an emptied file to write: no link, and no name of another file.

    Raises: OSError.
    """
    flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    handle = os.open(path, flags, 0o600)
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode) or not is_own(status) or status.st_nlink != 1:
        os.close(handle)
        raise PermissionError(errno.EPERM, "no file of this user alone", str(path))
    os.ftruncate(handle, 0)
    return handle


def log_tail(path: Path) -> list[str]:
    """The last lines of a log; none where it is no regular file or cannot be read."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        with os.fdopen(os.open(path, flags), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return []
            file.seek(max(0, status.st_size - LOG_TAIL))
            return file.read(LOG_TAIL).decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def identity(process: int | str) -> str | None:
    """What no other process is called: its boot and container, its number and when it started.

    None where it is no running process of this user, or the system does not tell.
    """
    folder = Path("/proc", str(process))
    try:
        # The name of the program, in brackets, may hold anything.
        state, *fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
        if not is_own(folder.stat()) or state in ("Z", "X"):
            return None
    except (OSError, ValueError):
        return None
    return f"{machine()} {process} {fields[18]}"

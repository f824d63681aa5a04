"""Small files of strangers: regular ones only, of bounded size and depth, or one line of error."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from ivfixtures.errors import LineError, error_line

# The index of a model with a million tensors has about 100 MB.
_JSON_LIMIT = 200_000_000


class CheckpointError(LineError, ValueError):
    """A checkpoint that is unknown, refused or damaged, in one line that says what to do."""


def problem(what: str, got: str, expected: str, where: object, remedy: str) -> CheckpointError:
    """Return the error of one defect of a checkpoint."""
    return CheckpointError(error_line(what, got, expected, where, remedy))


def kind(path: Path) -> str | None:
    """Return what a path is instead of a regular file (links are followed); None, if it is one.

    Opening a pipe waits for ever, and opening a device may do anything: ask before.
    Raises: OSError, there is nothing.
    """
    mode = path.stat().st_mode
    return None if stat.S_ISREG(mode) else stat.filemode(mode)


def check_regular(path: Path) -> None:
    """Check that a path is a regular file, or a link to one.

    Raises: CheckpointError.
    """
    try:
        other = kind(path)
    except OSError as error:
        raise unreadable(path, error) from None
    if other:
        raise problem("kind", other, "a regular file", path, "put the file itself there")


def unreadable(path: Path, error: OSError) -> CheckpointError:
    """Return the error of a file that is not there or cannot be read."""
    got = error.strerror or "unreadable"
    return problem("file", got, "a readable file", path, "check that it is there and yours to read")


def read_json(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Raises: CheckpointError.
    """
    if not path.exists():
        remedy = "name a folder written by save_pretrained"
        raise problem("file", "missing", "present", path, remedy)
    check_regular(path)
    remedy = "download or save it again"
    try:
        if (size := path.stat().st_size) > _JSON_LIMIT:
            raise problem("size", f"{size:,} bytes", f"at most {_JSON_LIMIT:,}", path, remedy)
        content = json.loads(path.read_bytes())
    except CheckpointError:
        raise
    except RecursionError:
        got = "nested too deeply"
        raise problem("JSON", got, "a readable object", path, remedy) from None
    except (OSError, ValueError) as error:
        raise problem("JSON", str(error), "a readable object", path, remedy) from None
    if not isinstance(content, dict):
        raise problem("JSON", type(content).__name__, "an object", path, remedy)
    return content

"""Versions of what measures and judges."""

import functools
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

LIBRARIES = (
    *("ivclaims", "torch", "transformers", "tokenizers", "nnsight", "numpy", "scipy"),
    "scikit-learn",
)


def environment(libraries: Sequence[str]) -> dict[str, Any]:
    """Versions of what a cell was judged with."""
    return {
        "versions": {name: _version(name) for name in libraries},
        "python": platform.python_version(),
        "git": _git_commit(),
    }


_version = functools.cache(version)  # a run has thousands of cells


@functools.cache
def _git_commit() -> str | None:
    folder = Path(__file__).parents[2]
    if not (folder / ".git").exists():
        return None
    result = subprocess.run(  # noqa: S603 - a constant command
        ["git", "-C", str(folder), "rev-parse", "HEAD"],  # noqa: S607 - git of the user's PATH
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stdout.strip() or None

"""Where a cell's numbers come from, and how to get them again."""

import platform
import shlex
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ivfixtures.bench import Bench

LIBRARIES = ("ivclaims", "torch", "transformers", "nnsight", "numpy", "scipy")


def provenance(bench: Bench) -> dict[str, Any]:
    """Digests, versions, device and dtype of a bench's measurements."""
    options = bench.options
    return {
        **bench.digests,
        "task": bench.task.digest,
        "task file": bench.task.source,
        "device": options.device,
        "dtype": options.dtype,
        "versions": {name: version(name) for name in LIBRARIES},
        "python": platform.python_version(),
        "git": _git_commit(),
    }


def command(bench: Bench, nodeid: str) -> str:
    """The command that judges the cell again, from any folder."""
    path, _, rest = nodeid.partition("::")
    cell = ["--pyargs", f"claims.{Path(path).stem}::{rest}"]
    checkpoint = ["--checkpoint", bench.checkpoint.name]
    return shlex.join(["pytest", *cell, *checkpoint, *bench.options.arguments()])


def _git_commit() -> str | None:
    folder = Path(__file__).parent.parent
    if not (folder / ".git").exists():
        return None
    result = subprocess.run(  # noqa: S603 - a constant command
        ["git", "-C", str(folder), "rev-parse", "HEAD"],  # noqa: S607 - git of the user's PATH
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stdout.strip() or None

"""Where a cell's numbers come from, and how to get them again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ivfixtures.measuring.environment import LIBRARIES, environment

if TYPE_CHECKING:
    from ivfixtures.data.of_checkpoint import CheckpointData
    from ivfixtures.data.settings import Settings


def provenance(parts: Sequence[CheckpointData], settings: Settings) -> dict[str, Any]:
    """Digests of a cell's data, versions, and the device and dtype of its measurements."""
    return {
        **_digests(parts),
        "device": settings.device,
        "dtype": settings.dtype,
        **environment(LIBRARIES),
    }


def command(selection: Sequence[str]) -> str:
    """The command that judges a cell again, of the words after `pytest`."""
    return shlex.join(["pytest", *selection])


def prompting(parts: Sequence[CheckpointData]) -> dict[str, str | None]:
    """What is written around the prompts of each checkpoint, named where there are several."""
    by_name = {part.checkpoint.name: part.prompting for part in parts}
    return {
        what + (f" {name}" if len(by_name) > 1 else ""): text
        for name, texts in by_name.items()
        for what, text in texts.items()
    }


def _digests(parts: Sequence[CheckpointData]) -> dict[str, str]:
    """The digests of each checkpoint and its data, named where there are several."""
    several = len(parts) > 1
    found: dict[str, str] = {}
    for part in parts:
        of, task = (f" {part.checkpoint.name}", f" {part.name}") if several else ("", "")
        found |= {name + of: digest for name, digest in part.digests.items()}
        found |= {name + task: digest for name, digest in part.sources_of_data.items()}
    return found

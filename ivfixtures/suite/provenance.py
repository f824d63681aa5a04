"""Where a cell's numbers come from, and how to get them again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool

from ivfixtures.measuring.environment import LIBRARIES, environment

if TYPE_CHECKING:
    from ivfixtures.measuring.bench import Bench


def provenance(benches: Sequence[Bench]) -> dict[str, Any]:
    """Digests, versions, device and dtype of the benches' measurements."""
    options = benches[0].options
    return {
        **_digests(benches),
        "device": options.device,
        "dtype": options.dtype,
        **environment(LIBRARIES),
    }


def parameters(
    benches: Sequence[Bench], is_discovery: Bool[np.ndarray, " sample"]
) -> dict[str, Any]:
    """What a cell was judged with, that is not in its claim; of tasks, the first one's."""
    bench = benches[0]
    return {
        "samples": len(bench.items),
        "orders": list(range(1, bench.options.order + 1)),
        "seed": bench.options.seed,
        "protocol": "paper",
        "instruction": bench.task.instruction,
        "control instruction": bench.task.contrast_instruction,
        "picking samples": np.flatnonzero(is_discovery).tolist(),
        **_chats(benches),
    }


def command(selection: Sequence[str]) -> str:
    """The command that judges a cell again, of the words after `pytest`."""
    return shlex.join(["pytest", *selection])


def _digests(benches: Sequence[Bench]) -> dict[str, str]:
    """The digests of each checkpoint and task, named where there are several."""
    several = len(benches) > 1
    found: dict[str, str] = {}
    for bench in benches:
        of, task = (f" {bench.checkpoint.name}", f" {bench.task.name}") if several else ("", "")
        found |= {name + of: digest for name, digest in bench.digests.items()}
        found |= {f"task{task}": bench.task.digest, f"task file{task}": bench.task.source}
    return found


def _chats(benches: Sequence[Bench]) -> dict[str, str | None]:
    """Digest of the chat template's text and the system prompt, None where none was used.

    Of each checkpoint, named where there are several.
    """
    chats = {bench.checkpoint.name: bench.chat for bench in benches}
    found: dict[str, str | None] = {}
    for name, chat in chats.items():
        of = f" {name}" if len(chats) > 1 else ""
        found["chat template" + of] = chat.template_digest if chat else None
        found["system prompt" + of] = chat.system if chat else None
    return found

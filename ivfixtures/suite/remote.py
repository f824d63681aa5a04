"""Runs on NDIF: what --remote asks of options, key, host and checkpoints before anything runs."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any

from nnsight import CONFIG
from nnsight.ndif import status

from ivfixtures.checkpoints.registry import Checkpoint
from ivfixtures.errors import error_line
from ivfixtures.suite.declared_options import DEVICE, DTYPES

# What evidence says of a remote run's device and dtype.
REMOTE_DEVICE, REMOTE_DTYPE = "NDIF", "as NDIF serves it"
_TASK = "text-generation"  # what nnsight calls causal language models


def on_ndif(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint as one whose weights stay on NDIF.

    Raises: ValueError if NDIF cannot have it: it is no whole model of the hub.
    """
    if Path(checkpoint.source).is_absolute() or checkpoint.adapter:
        raise _refusal(
            *("--checkpoint", checkpoint.name, "a hub id org/name[@revision] that NDIF serves"),
            "leave out --remote, or name one",
        )
    return replace(checkpoint, remote=True)


def require_ndif(checkpoints: Sequence[Checkpoint], *, device: str, dtype: str) -> None:
    """See that the checkpoints can be run on NDIF.

    Raises: ValueError if device or dtype are chosen, there is no API key, NDIF is out of reach, or
        one of the checkpoints is not running there.
    """
    for option, got, default in (("--device", device, DEVICE), ("--dtype", dtype, DTYPES[0])):
        if got != default:
            raise _refusal(option, got, "left out", "NDIF chooses its own")
    if not CONFIG.API.APIKEY:
        remedy = "get one at https://login.ndif.us and set NDIF_API_KEY, or run `nnsight login`"
        raise _refusal("NDIF_API_KEY", "None", "the key of an account", remedy)
    with redirect_stderr(io.StringIO()):  # it says there what is said below
        answer = status(raw=True)
    if not answer:
        remedy = "check the network and NDIF_HOST"
        raise _refusal(CONFIG.API.HOST, "out of reach", "the address of an NDIF service", remedy)
    running = [one for one in answer.get("deployments", {}).values() if _is_running(one)]
    served = sorted({str(one.get("repo_id")) for one in running})
    for checkpoint in checkpoints:
        if not any(_is_of(one, checkpoint) for one in running):
            remedy = f"choose one of {', '.join(served) or 'them, once there are any'}"
            expected = f"running on {CONFIG.API.HOST}"
            raise _refusal("--checkpoint", checkpoint.name, expected, remedy)


def _is_running(deployment: dict[str, Any]) -> bool:
    """Whether requests for the plain model reach the deployment."""
    return (
        deployment.get("application_state") == "RUNNING"
        and deployment.get("task") in (None, _TASK)
        and not deployment.get("trust_remote_code")
    )


def _is_of(deployment: dict[str, Any], checkpoint: Checkpoint) -> bool:
    revision = deployment.get("revision") or "main"
    same = deployment.get("repo_id") == checkpoint.source
    return same and revision == (checkpoint.revision or "main")


def _refusal(what: str, got: str, expected: str, remedy: str) -> ValueError:
    return ValueError(error_line(what, got, expected, "--remote", remedy))

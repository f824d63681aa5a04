"""Checkpoints of the hub: their files, read from its cache where they are there, and revisions."""

import functools
from pathlib import Path

from ivfixtures.plain_files import CheckpointError, problem

# Everything a folder is checked for; subfolders and other formats stay on the hub.
_HUB_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")
_HUB_PASSED_OVER = ("*/*", "consolidated*")
_HUB_WEIGHTS = ("*.safetensors", "*.index.json")
# Addresses of hubs that did not answer this process.
_OUT_OF_REACH: set[str] = set()
_WITHIN_REACH = "within reach, as its cache does not hold the whole checkpoint"
_FETCH = ", or run `hf download {}` where the hub is in reach"
_LOG_IN = "set HF_TOKEN or run `hf auth login`"


def download(hub_id: str, revision: str | None, *, weights: bool = True) -> Path:
    """Return the local folder of a hub checkpoint, downloaded unless the cache holds it.

    revision: a branch, tag or commit; None: the main branch. weights: whether they are wanted, too.
    The hub is asked once for each, and after it was out of reach, not at all.
    Raises: CheckpointError if it is neither in the cache nor within reach.
    """
    from huggingface_hub import constants

    where = (constants.ENDPOINT, constants.HF_HUB_OFFLINE, str(constants.HF_HUB_CACHE))
    outcome = _outcome(hub_id, revision, weights, *where)
    if isinstance(outcome, str):
        raise CheckpointError(outcome)
    return outcome


def completing(hub_id: str) -> str:
    """Return how to complete what the cache holds of a checkpoint; nothing if the hub was asked."""
    from huggingface_hub import constants

    if not constants.HF_HUB_OFFLINE and constants.ENDPOINT not in _OUT_OF_REACH:
        return ""
    return (
        f"; the hub's cache may hold a part only: run `hf download {hub_id}` where it is in reach"
    )


@functools.cache
def _outcome(
    hub_id: str, revision: str | None, weights: bool, endpoint: str, offline: bool, _cache: str
) -> Path | str:
    """The folder of a checkpoint, or the line that says why there is none."""
    from huggingface_hub import errors, snapshot_download

    asked_before = endpoint in _OUT_OF_REACH
    try:
        folder = snapshot_download(
            hub_id,
            revision=revision,
            allow_patterns=list(_HUB_FILES),
            ignore_patterns=[*_HUB_PASSED_OVER, *(() if weights else _HUB_WEIGHTS)],
            local_files_only=asked_before,
        )
    except Exception as error:  # the client's errors have no common class
        if asked_before:
            got, remedy = "out of reach when it was asked before", f"check the network{_FETCH}"
            where = f"{hub_id}@{revision}" if revision else hub_id
            return str(problem("hub", got, _WITHIN_REACH, where, remedy.format(hub_id)))
        chain = (error, error.__cause__)
        if not offline and any(isinstance(one, errors.LocalEntryNotFoundError) for one in chain):
            _OUT_OF_REACH.add(endpoint)
        return str(_refusal(error, hub_id, revision))
    return Path(folder)


def revisions(hub_id: str) -> list[str]:
    """Return the names of a hub checkpoint's branches and tags. The cache does not know them.

    Raises: CheckpointError if the hub is out of reach, or has no such checkpoint.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import OfflineModeIsEnabled

    try:
        found = HfApi().list_repo_refs(hub_id)
    except OfflineModeIsEnabled as error:
        remedy = "unset HF_HUB_OFFLINE, or name each revision"
        expected = "listed by the hub, as its cache does not know them"
        raise problem("revisions", "out of reach", expected, hub_id, remedy) from error
    except Exception as error:  # the client's errors have no common class
        raise _refusal(error, hub_id, None) from error
    return [ref.name for ref in (*found.branches, *found.tags)]


def _refusal(error: Exception, hub_id: str, revision: str | None) -> CheckpointError:
    """What the client's error means, and what to do about it."""
    from huggingface_hub import constants, errors

    where = f"{hub_id}@{revision}" if revision else hub_id
    chain = (error, error.__cause__)
    status = next(filter(None, map(_status, chain)), 0)

    def is_a(*kinds: type[Exception]) -> bool:
        return any(isinstance(one, kinds) for one in chain)

    if is_a(errors.GatedRepoError):
        remedy = f"accept its terms on {constants.ENDPOINT}/{hub_id}, then {_LOG_IN}"
        return problem("access", "gated", "granted to you by its owners", where, remedy)
    if is_a(errors.RepositoryNotFoundError):
        remedy = f"check the name; if it is a private one, {_LOG_IN}"
        return problem("checkpoint", "not found", "one of the hub that you may read", where, remedy)
    if is_a(errors.RevisionNotFoundError):
        expected = "a branch, tag or commit of the checkpoint"
        remedy = f"choose one of {constants.ENDPOINT}/{hub_id}"
        return problem("revision", repr(revision), expected, where, remedy)
    if is_a(errors.OfflineModeIsEnabled):
        expected = "whole in the hub's cache, as HF_HUB_OFFLINE is set"
        remedy = "unset HF_HUB_OFFLINE, or set HF_HOME to the folder of the cache that holds it"
        return problem("checkpoint", _incomplete_or_missing(error), expected, where, remedy)
    if is_a(errors.LocalEntryNotFoundError) or status >= 500:
        got = f"error {status}" if status else _first_line(error.__cause__ or error)
        return problem(
            "hub", got, _WITHIN_REACH, where, "check the network, or name a local folder"
        )
    if status in (401, 403):
        remedy = f"{_LOG_IN}: the present token is not accepted"
        return problem("access", f"refused ({status})", "granted by the hub", where, remedy)
    expected = "a public or cached checkpoint of the hub, or a folder"
    remedy = "check the name, the network and HF_TOKEN"
    return problem("checkpoint", _first_line(error), expected, where, remedy)


def _incomplete_or_missing(error: Exception) -> str:
    return "incomplete" if type(error).__name__ == "IncompleteSnapshotError" else "missing"


def _status(error: BaseException | None) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__

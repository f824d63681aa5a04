"""Checkpoints of the hub: their files, read from its cache where they are there, and revisions."""

from pathlib import Path

from ivfixtures.weights import problem

# Everything a folder is checked for; subfolders and other formats stay on the hub.
_HUB_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")
_HUB_PASSED_OVER = ("*/*", "consolidated*")


def download(hub_id: str, revision: str | None) -> Path:
    """Return the local folder of a hub checkpoint, downloaded unless the cache holds it.

    revision: a branch, tag or commit; None: the main branch.
    Raises: CheckpointError if it is neither in the cache nor within reach.
    """
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            hub_id,
            revision=revision,
            allow_patterns=list(_HUB_FILES),
            ignore_patterns=list(_HUB_PASSED_OVER),
        )
    except Exception as error:  # the client's errors have no common class
        expected = "a public or cached checkpoint of the hub, or a folder"
        remedy = "check the name, the network and HF_TOKEN"
        where = f"{hub_id}@{revision}" if revision else hub_id
        raise problem("checkpoint", _first_line(error), expected, where, remedy) from error
    return Path(folder)


def revisions(hub_id: str) -> list[str]:
    """Return the names of a hub checkpoint's branches and tags. The cache does not know them.

    Raises: CheckpointError if the hub is out of reach, or has no such checkpoint.
    """
    from huggingface_hub import HfApi

    try:
        found = HfApi().list_repo_refs(hub_id)
    except Exception as error:  # the client's errors have no common class
        expected, remedy = "listed by the hub", "check name and network, or name each revision"
        raise problem("revisions", _first_line(error), expected, hub_id, remedy) from error
    return [ref.name for ref in (*found.branches, *found.tags)]


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__

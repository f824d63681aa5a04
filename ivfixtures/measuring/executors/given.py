"""What a job's requests are about: inputs that a controller made, for a process that makes none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ivevidence import digest_json
from ivfixtures.checkpoints.registry import Checkpoint
from ivfixtures.checkpoints.resolving import digests
from ivfixtures.data.of_checkpoint import CheckpointData, inputs_digest
from ivfixtures.measuring.executors.specs import spec, value_of
from ivfixtures.measuring.requests import Request
from ivmethods.method import Inputs, Method


class GivenData(CheckpointData):
    """Inputs by method, as they were made elsewhere; about: further digests of the data."""

    def __init__(
        self, checkpoint: Checkpoint, name: str, count: int, about: Mapping[str, str]
    ) -> None:
        self.checkpoint, self.name, self.count, self._about = checkpoint, name, count, about
        self.by_method: dict[Method, Inputs] = {}

    @property
    def digests(self) -> dict[str, str]:
        """Those of the checkpoint's files here, and of the data."""
        return {**vars(digests(self.checkpoint)), **self._about}

    def inputs(self, method: Method) -> Inputs:
        """Those that were given.

        Raises: KeyError, the controller gave none for this method.
        """
        return self.by_method[method]


def to_job(requests: Mapping[str, Request]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Requests by the digest of their key, and rows of inputs by their digest, as JSON data."""
    rows: dict[str, Any] = {}
    listed = []
    for digest, request in requests.items():
        data, inputs = request.data, request.data.inputs(request.method)
        at = [inputs_digest((some,)) + digest_json([spec(row) for row in some]) for some in inputs]
        rows |= dict(zip(at, ([spec(row) for row in some] for some in inputs), strict=True))
        about = {k: v for k, v in data.digests.items() if k not in vars(digests(data.checkpoint))}
        listed.append(
            {
                "key": digest,
                "method": spec(request.method),
                "inputs": at,
                "checkpoint": spec(data.checkpoint),
                "data": {"name": data.name, "count": data.count, "about": about},
            }
        )
    return listed, rows


def from_job(listed: Sequence[Mapping[str, Any]], rows: Mapping[str, Any]) -> dict[str, Request]:
    """The requests that `to_job` told.

    Raises: ValueError, a type cannot be imported here.
    """
    kept: dict[str, GivenData] = {}
    made = {at: [value_of(row, object) for row in some] for at, some in rows.items()}
    found = {}
    for each in listed:
        checkpoint, method = (
            value_of(each["checkpoint"], Checkpoint),
            value_of(each["method"], Method),
        )
        at = digest_json([each["checkpoint"], each["data"]])
        data = kept.setdefault(at, GivenData(checkpoint, **each["data"]))
        data.by_method[method] = tuple(made[rows_at] for rows_at in each["inputs"])
        found[each["key"]] = Request(data, method)
    return found

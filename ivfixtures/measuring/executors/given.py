"""What a job's requests are about: inputs that a controller made, for a process that makes none."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from ivevidence import EvidenceError, digest_json
from ivfixtures.checkpoints.registry import Checkpoint
from ivfixtures.checkpoints.resolving import digests
from ivfixtures.data.of_checkpoint import CheckpointData
from ivfixtures.errors import error_line
from ivfixtures.measuring.executors import ExecutorError
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
    """Requests by the digest of their key, and rows of inputs by their digest, as JSON data.

    Raises: ExecutorError, something cannot be told in JSON.
    """
    rows: dict[str, Any] = {}
    listed = []
    for digest, request in requests.items():
        data, method = request.data, request.method
        try:
            told = [_rows(tuple(some)) for some in data.inputs(method)]
            digest_json(spec(method))
            _require_same(method)
        except (EvidenceError, TypeError) as error:
            kind, expected = type(method).__qualname__, "plain data in frozen dataclasses"
            remedy = "measure it without --executor"
            line = error_line(f"what {kind} is run on", str(error), expected, data.name, remedy)
            raise ExecutorError(line) from None
        rows |= dict(told)
        about = {k: v for k, v in data.digests.items() if k not in vars(digests(data.checkpoint))}
        listed.append(
            {
                "key": digest,
                "method": spec(method),
                "inputs": [at for at, _ in told],
                "checkpoint": spec(data.checkpoint),
                "data": {"name": data.name, "count": data.count, "about": about},
                "kind": type(data).__qualname__,
            }
        )
    return listed, rows


def _require_same(method: Method) -> None:
    """See that a worker gets the very method.

    Raises: TypeError.
    """
    try:
        same = value_of(json.loads(json.dumps(spec(method))), Method)
        if same == method and hash(same) == hash(method):
            return
    except (ValueError, TypeError) as error:
        raise TypeError(str(error)) from None
    raise TypeError(f"fields {dict(vars(method))} that are others as JSON: state their types")


@lru_cache(maxsize=2**8)
def _rows(some: tuple[Any, ...]) -> tuple[str, list[dict[str, Any]]]:
    """Rows by their digest; the same ones, and no copies, for checkpoints of one tokenizer."""
    found = [spec(row) for row in some]
    return digest_json(found), found


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
        at = digest_json([each["checkpoint"], each["data"], each["kind"]])
        data = kept.setdefault(at, GivenData(checkpoint, **each["data"]))
        data.by_method[method] = tuple(made[rows_at] for rows_at in each["inputs"])
        found[each["key"]] = Request(data, method)
    return found

"""Requests: a method on data. Claims need them, the plan looks them up, executors make them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ivfixtures.data.of_checkpoint import CheckpointData
from ivfixtures.errors import NotMeasuredError, error_line
from ivmethods.method import Method


@dataclass(frozen=True)
class Request:
    """A method to be measured on some data."""

    data: CheckpointData
    method: Method


# What a claim needs under one name: a method (on the data of the cell), a request (on other data),
# several by name, or nothing where it does not apply.
Needed = Method | Request | Mapping[Any, "Needed"] | None
# The same, where it depends on the data and on the settings of the claim's pack.
Need = Needed | Callable[[Any, Any], Needed]
Read = Callable[[Request], Any]


def needed(need: Need, data: CheckpointData, settings: Any) -> Needed:
    """What a need is on some data.

    Raises: ValueError, it is nothing that can be needed.
    """
    found = need(data, settings) if callable(need) else need
    if isinstance(found, Method | Request | Mapping | None):
        return found
    expected, remedy = "a method, a request, several by name, or None", "correct the claim's needs"
    raise ValueError(error_line("need", repr(found), expected, data.name, remedy))


def requests(tree: Needed, data: CheckpointData) -> Iterator[Request]:
    """The requests of what is needed; methods are on `data`."""
    if isinstance(tree, Mapping):
        for branch in tree.values():
            yield from requests(branch, data)
    elif tree is not None:
        yield _request(tree, data)


def whole(request: Request) -> Iterator[Request]:
    """What comes before a request, what it is made of, and itself."""
    for method in (*request.method.before(), *request.method.parts()):
        yield from whole(Request(request.data, method))
    yield request


def read_all(
    needs: Mapping[str, Need], data: CheckpointData, settings: Any, read: Read
) -> dict[str, Any]:
    """The results of needs, in the same form.

    Raises: NotMeasuredError, after all were asked for: one is not there.
    """
    missing: list[NotMeasuredError] = []

    def results(tree: Needed) -> Any:
        if isinstance(tree, Mapping):
            return {name: results(branch) for name, branch in tree.items()}
        if tree is None:
            return None
        try:
            return read(_request(tree, data))
        except NotMeasuredError as error:
            missing.append(error)

    found = {name: results(needed(need, data, settings)) for name, need in needs.items()}
    if missing:
        raise missing[0]
    return found


def _request(tree: Method | Request, data: CheckpointData) -> Request:
    return tree if isinstance(tree, Request) else Request(data, tree)

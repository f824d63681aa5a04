"""What measurements were made with: kept with each, and told where those of a cell differ."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ivevidence import Measurement
from ivfixtures.measuring.environment import LIBRARIES, environment
from ivfixtures.measuring.forms import ORIGIN
from ivmethods.model.handles import network

if TYPE_CHECKING:
    from ivmethods.method import Running

# They move the last digits, as every other machine does, and may differ within one run: kept and
# shown, but a note on each cell would hide the notes that matter.
UNNOTED = ("threads", "memory budget")
_SEVERAL = {"device": "on several devices", "attention": "with several kinds of attention"}

Computed = tuple[dict[str, np.ndarray], dict[str, Any]]


def with_origin(
    compute: Callable[[], Computed], device: str, more: Callable[[], Mapping[str, str]] = dict
) -> Callable[[], Computed]:
    """The computation of a measurement on a device, with what it is made with among its facts.

    more: further facts, asked for when it has been computed.
    """

    def computed() -> Computed:
        arrays, info = compute()
        made_with = {**origin(device), "threads": str(torch.get_num_threads()), **more()}
        return arrays, {**info, ORIGIN: made_with}

    return computed


def of_model(running: Running) -> dict[str, str]:
    """How a model was run: its attention, and the memory by which its batches are cut (in GiB)."""
    return {
        "attention": str(getattr(network(running.model).config, "_attn_implementation", None)),
        "memory budget": f"{running.memory_budget / 2**30:.3g} GiB",
    }


@functools.cache
def origin(device: str) -> Mapping[str, str]:
    """The device, the versions of Python and of the libraries that numbers depend on."""
    found = environment(LIBRARIES)
    return {"device": _name(device), "python": found["python"], **found["versions"]}


def together(made: Mapping[str, Measurement]) -> dict[str, str]:
    """What measurements were made with; where they differ, all that there is of a fact."""
    return {fact: ", ".join(values) for fact, values in _by_fact(made).items()}


def differences(made: Mapping[str, Measurement]) -> tuple[str, ...]:
    """A note for each fact in which measurements differ: which, by role, were made with what."""
    notes = []
    for fact, values in _by_fact(made).items():
        if len(values) > 1 and fact not in UNNOTED:
            what = _SEVERAL.get(fact, f"with several versions of {fact}")
            each = "; ".join(f"{value} ({', '.join(roles)})" for value, roles in values.items())
            notes.append(f"measured {what}: {each}")
    return tuple(notes)


def _by_fact(made: Mapping[str, Measurement]) -> dict[str, dict[str, list[str]]]:
    """The roles of each value of each fact; measurements of unknown origin are left out."""
    found: dict[str, dict[str, list[str]]] = {}
    for role, one in made.items():
        for fact, value in one.info.get(ORIGIN, {}).items():
            found.setdefault(fact, {}).setdefault(value, []).append(role)
    return found


def _name(device: str) -> str:
    """What a device is called by its maker; `cpu` and devices elsewhere are called so."""
    if device == "auto" and torch.cuda.is_available():
        found = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return ", ".join(found)
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return device

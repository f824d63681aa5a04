"""Golden numbers: a few of what every method finds on an embedded checkpoint, by version.

    python -m tests.golden

writes those of new versions to tests/golden.json. Numbers that moved under an old version are
refused: raise the method's version first, or mend what moved them.
"""

import hashlib
import json
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from claims.instruction_vectors import needs, probing
from claims.instruction_vectors.settings import Settings
from ivevidence import Measurement, Store
from ivfixtures.checkpoints.registry import resolve
from ivfixtures.data.instructed import InstructedData, behaviour
from ivfixtures.data.paired import PairedData
from ivfixtures.data.tasks import load_tasks
from ivfixtures.measuring import judge
from ivfixtures.measuring.forms import ORIGIN
from ivfixtures.measuring.judge import judge_prompt, read_decision
from ivfixtures.measuring.measurements import Measurements, Reader
from ivfixtures.measuring.requests import Request
from ivmethods.methods import METHODS
from ivmethods.model.methods import Runs
from ivmethods.patching.head_methods import (
    ActivationPatching,
    AttributionPatching,
    PairScores,
)
from ivmethods.patching.methods import AllLayers, LayerSweep
from tests.running import OPTIONS

FILE = Path(__file__).with_name("golden.json")
CHECKPOINT, TASK, SAMPLES, REPHRASINGS = "tiny-olmo2-sft", "adj_ant", 4, 12
SHOWN = 5  # values of an array or fact
# Other threads, BLAS or processors move less; predictions of probes may change for one sample.
RELATIVE, ABSOLUTE, SHARE = 1e-3, 1e-4, 0.02
SHARES = ("share", "fact released")

Numbers = dict[str, Any]
Golden = dict[str, dict[str, Any]]


def measured(folder: Path) -> Golden:
    """The version and the numbers of every method, by measurement."""
    made = {one.key["method"]: one for one in _measurements(Store(folder))}
    found = {
        name: {"version": one.key["method_version"], "numbers": _numbers(one)}
        for name, one in made.items()
    }
    return {**found, "judge": {"version": judge.VERSION, "numbers": _judge()}}


def method_of(name: str) -> str:
    """The method of a measurement."""
    return max(
        (one for one in (*METHODS, judge.FORM.name) if f"{name} ".startswith(f"{one} ")), key=len
    )


def moved(before: Numbers, after: Numbers) -> list[str]:
    """What differs by more than rounding, each in a line."""
    lines = [f"{name}: is in one of both only" for name in sorted(before.keys() ^ after.keys())]
    for name in sorted(before.keys() & after.keys()):
        old, new = before[name], after[name]
        absolute = SHARE if name.startswith(SHARES) else ABSOLUTE
        if not _is_close(old, new, absolute):
            lines.append(f"{name}: {json.dumps(old)} -> {json.dumps(new)}")
    return lines


def main(folder: Path) -> None:
    """Write the numbers of new versions."""
    kept = json.loads(FILE.read_text()) if FILE.exists() else {}
    found = measured(folder)
    refused = [
        f"{name} {line}"
        for name, one in found.items()
        if name in kept and kept[name]["version"] == one["version"]
        for line in moved(kept[name]["numbers"], one["numbers"])
    ]
    if refused:
        sys.exit("\n".join(["these moved under an old version (of ivmethods.methods):", *refused]))
    same = {n: kept[n] for n in found if kept.get(n, {}).get("version") == found[n]["version"]}
    FILE.write_text(json.dumps({**found, **same}, indent=1, sort_keys=True) + "\n")


def _measurements(store: Store) -> Iterator[Measurement]:
    tasks = {
        name: replace(task, rephrasings=task.rephrasings[:REPHRASINGS])
        for name, task in load_tasks().items()
    }
    settings = replace(OPTIONS, tasks=tasks, samples=SAMPLES)
    data = InstructedData(resolve(CHECKPOINT), tasks[TASK], settings)
    merged = Settings(orders=(1, 2), max_paths=2000)
    by_head = replace(merged, path_granularity="head")
    patching = needs.checks(data)
    probes = probing.probes(data, merged)
    residuals = probes.residuals
    asked = [
        Runs(),
        *(
            LayerSweep(name, "paper", 2, patching)
            for name in ("instruction", "contrast", "neutral")
        ),
        needs.released_sweep(data, merged),
        needs.no_op(data, merged),
        AllLayers(),
        needs.controls(data, (1, 3)),
        *(needs.paths(data, merged, k) for k in (1, 2)),
        needs.paths(data, merged, 1, "released"),
        # With k = 2, so many paths that they are drawn.
        *(needs.paths(data, by_head, k) for k in (1, 2)),
        behaviour(data),
        probes,
        residuals,
    ]
    pairs = PairedData(data.checkpoint, data.task, settings)
    on_pairs = [
        PairScores(),
        ActivationPatching("heads"),
        AttributionPatching("heads", "noising", "last"),
    ]
    copied = replace(residuals, untrained=True)
    read = Reader(Measurements(store, device="cpu", dtype="float32", memory_budget=2**28))
    for request in (
        *(Request(data, method) for method in asked),
        *(Request(pairs, method) for method in on_pairs),
        probing.random_probe(data, merged),
        Request(data.untrained(), copied),
    ):
        read(request)
    yield from read.made.values()


def _judge() -> Numbers:
    prompt = judge_prompt("an adjective", "State it.", "red")
    replies = ("yes", "No.", "<think>no</think> Yes, it is.", "yes and no", "maybe")
    return {
        "prompt": hashlib.sha256(prompt.encode()).hexdigest()[:12],
        "decisions": [read_decision(reply) for reply in replies],
    }


def _numbers(one: Any) -> Numbers:
    found: Numbers = {}
    for name, array in one.arrays.items():
        found[f"shape of {name}"] = list(array.shape)
        if array.dtype.kind == "f":
            found[f"mean of {name}"] = _rounded(float(np.nanmean(array)))
            found[name] = [_rounded(float(value)) for value in _spread(array.ravel())]
        else:
            found[f"share: mean of {name}"] = _rounded(float(array.mean()))
    for name, fact in one.info.items():
        if name != ORIGIN:
            found[f"fact {name}"] = [_rounded(leaf) for leaf in _spread([*_leaves(fact)])]
    return found


def _spread(values: Any) -> list[Any]:
    """At most SHOWN of the values, evenly spread over them."""
    at = np.unique(np.linspace(0, len(values) - 1, SHOWN).round().astype(int))
    return [values[i] for i in at]


def _leaves(fact: Any) -> Iterator[Any]:
    if isinstance(fact, Mapping):
        fact = list(fact.values())
    if isinstance(fact, list | tuple):
        for part in fact:
            yield from _leaves(part)
    else:
        yield fact


def _rounded(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    if math.isnan(value):
        return None
    return float(f"{value:.4g}") if abs(value) > ABSOLUTE else 0.0


def _is_close(old: Any, new: Any, absolute: float) -> bool:
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(
            _is_close(a, b, absolute) for a, b in zip(old, new, strict=True)
        )
    if isinstance(old, float) and isinstance(new, float):
        return math.isclose(old, new, rel_tol=RELATIVE, abs_tol=absolute)
    return bool(old == new)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        main(Path(name))

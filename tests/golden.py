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
from types import SimpleNamespace
from typing import Any

import numpy as np

from ivevidence import Measurement, Store
from ivfixtures.checkpoints.registry import resolve
from ivfixtures.checkpoints.resolving import load
from ivfixtures.data.pairs import task_pairs
from ivfixtures.data.tasks import load_tasks
from ivfixtures.measuring import judge, probing, traces
from ivfixtures.measuring.bench import Bench
from ivfixtures.measuring.forms import ORIGIN
from ivfixtures.measuring.judge import judge_prompt, read_decision
from ivmethods.methods import METHODS
from ivmethods.model.handles import wrap
from ivmethods.patching.head_methods import (
    ActivationPatching,
    AttributionPatching,
    HeadNoOp,
    PairScores,
)
from tests.pairs import Unstored

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
    } | _on_pairs()
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
    usual = {
        "samples": SAMPLES, "tasks": tasks, "seed": 0, "device": "cpu", "dtype": "float32",
        "memory_budget": 2**28, "order": 2, "path_granularity": "merged", "max_paths": 2000,
        "chat_template": "never", "system_prompt": None, "remote": False, "elsewhere": False,
    }  # fmt: skip

    def bench(**options: Any) -> Bench:
        settings: Any = SimpleNamespace(**usual | options)
        return Bench(resolve(CHECKPOINT), tasks[TASK], settings, store, lambda _: None)

    one, by_head = bench(), bench(path_granularity="head")
    one.answers()
    one.runs()
    for source in ("instruction", "contrast", "neutral"):
        one.sweep(source)
    one.sweep(protocol="released")
    one.all_layers()
    one.controls((1, 3))
    for k in (1, 2):
        traces.traced(one, k)
    traces.traced(one, 1, "released")
    traces.traced(by_head, 1)
    traces.traced(by_head, 2)  # so many paths that they are drawn
    probing.probes(one)
    probing.random_probe(one)
    yield from one.asked_for.values()
    yield from (by_head.asked_for[f"paths k={k} equation head"] for k in (1, 2))
    residuals = probing.probes_of(one).residuals
    yield one.ask(residuals)
    yield one.untrained().ask(replace(residuals, untrained=True))


def _on_pairs() -> Golden:
    loaded = load(resolve(CHECKPOINT))
    pairs = task_pairs(loaded.tokenizer, load_tasks()[TASK], count=SAMPLES, seed=0)
    data = Unstored(wrap(loaded.model, loaded.tokenizer), pairs)
    found = {}
    for method in (
        PairScores(),
        HeadNoOp("all"),
        ActivationPatching("heads"),
        AttributionPatching("heads", "noising", "last"),
    ):
        arrays, info = method.compute(method.inputs(data), data)
        numbers = _numbers(SimpleNamespace(arrays=arrays, info=info))
        found[method.role] = {"version": method.version, "numbers": numbers}
    return found


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

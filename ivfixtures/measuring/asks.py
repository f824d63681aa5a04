"""What claims ask of a bench, by the names in their markers.

A claim's marker lists its `asks` in the order of its test. A gate (measuring.gates) among them
says whether what stands after it is needed. The plan reads them (docs/scale.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ivfixtures.checkpoints.resolving import config
from ivfixtures.data.tasks import Task
from ivfixtures.measuring import probing
from ivfixtures.measuring.bench import Bench
from ivfixtures.measuring.traces import paths_of
from ivmethods.method import Method
from ivmethods.model.methods import Runs
from ivmethods.patching.methods import RANDOM_DRAWS, AllLayers, Controls
from ivmethods.probes.methods import LayerProbe


@dataclass(frozen=True)
class Want:
    """A method that a cell asks a bench for.

    is_open: whether its parameters depend on what others find, so that it has no key yet.
    """

    bench: Bench
    method: Method
    is_open: bool = False


Sibling = Callable[[Task], Bench]  # the bench of the checkpoint's other tasks
Ask = Callable[[Bench, Sibling], Iterator[Want]]


def whole(want: Want) -> Iterator[Want]:
    """What a method takes, and itself."""
    for other in (*want.method.before(), *want.method.parts()):
        yield from whole(Want(want.bench, other))
    yield want


def _plain(choose: Callable[[Bench], Method]) -> Ask:
    return lambda bench, sibling: iter([Want(bench, choose(bench))])


def _every_behaviour(bench: Bench, sibling: Sibling) -> Iterator[Want]:
    for task in bench.options.tasks.values():
        other = sibling(task)
        yield Want(other, other.behaviour)


def _sweeps(bench: Bench, sibling: Sibling) -> Iterator[Want]:
    yield Want(bench, bench.layer_sweep())
    yield Want(bench, bench.layer_sweep("contrast" if bench.task.contrast else "neutral"))


def _controls(bench: Bench, sibling: Sibling) -> Iterator[Want]:
    yield Want(bench, Controls((), RANDOM_DRAWS, bench.options.seed), is_open=True)


def _paths(bench: Bench, sibling: Sibling) -> Iterator[Want]:
    for k in bench.options.path_k:
        yield Want(bench, paths_of(bench, k))


def _contrast_paths(bench: Bench, sibling: Sibling) -> Iterator[Want]:
    """Of the contrast task, with the first k, where there is one."""
    if bench.task.contrast:
        contrast = sibling(bench.contrast.task)
        yield Want(contrast, paths_of(contrast, bench.options.path_k[0]))


def _released_paths(bench: Bench, sibling: Sibling) -> Iterator[Want]:
    form = config(bench.checkpoint)
    heads = form.num_attention_heads
    if getattr(form, "num_key_value_heads", heads) == heads:
        yield Want(bench, paths_of(bench, bench.options.path_k[0], "released"))


def _random_probes(bench: Bench, sibling: Sibling) -> Iterator[Want]:
    of = probing.probes_of(bench)
    yield Want(bench.untrained(), LayerProbe(of.instructions, of.seed))


ASKS: Mapping[str, Ask] = {
    "behaviour": _plain(lambda bench: bench.behaviour),
    "behaviour on every task": _every_behaviour,
    "runs": _plain(lambda bench: Runs()),
    "sweeps": _sweeps,
    "released sweep": _plain(lambda bench: bench.layer_sweep(protocol="released")),
    "controls": _controls,
    "all layers": _plain(lambda bench: AllLayers()),
    "paths": _paths,
    "contrast paths": _contrast_paths,
    "released paths": _released_paths,
    "probes": _plain(probing.probes_of),
    "random-weight probes": _random_probes,
}

"""What claims ask of a bench, by the names in their markers, and what it costs to measure.

A claim's marker lists its `asks` in the order of its test. A gate (measuring.gates) among them
says whether what stands after it is needed. The plan reads them (docs/scale.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import comb

from ivfixtures.checkpoints import resolving as checkpoints
from ivfixtures.data.tasks import Task
from ivfixtures.measuring import probing
from ivfixtures.measuring.bench import RANDOM_DRAWS, RELEASED_ORDER, Bench
from ivfixtures.measuring.material import NEUTRAL_SENTENCES, SourceName
from ivfixtures.measuring.traces import attributed, first_start, traced
from ivfixtures.suite.subjects import contrast_of
from ivmethods.patching.checks import CHECKED_SAMPLES
from ivmethods.paths.graph import Semantics
from ivmethods.prompts.protocols import Protocol

# Estimates of work that has no simple formula, in prompts that run through the model.
_CHECKS = 12  # patched by hooks, and padded; beside two sweeps of pairs
_LINEAR_FORM = 3  # the run itself, its maps, and their way back


@dataclass(frozen=True)
class Want:
    """A measurement that a cell needs.

    of: what it is measured with. method: as its key names it. flop: floating-point operations, at
    most; those of weights with activations only. find: asks the bench for it; None where which one
    it is depends on what others find. of_checkpoint: it is the checkpoint's, whatever the task.
    """

    of: Asked
    method: str
    flop: float
    find: Callable[[], object] | None
    of_checkpoint: bool = False


@dataclass(frozen=True)
class Tokens:
    """How many tokens there are in all target prompts, in all instructed ones, and to start from.

    instruction: of the source text. starts: of the instructed prompts, those that paths start at.
    """

    target: int
    instructed: int
    instruction: int
    starts: int

    @classmethod
    def of(cls, bench: Bench) -> Tokens:
        """Count a bench's."""
        samples, first = bench.samples(), first_start(bench)
        instructed = sum(len(sample.instructed) for sample in samples)
        return cls(
            target=sum(len(sample.target) for sample in samples),
            instructed=instructed,
            instruction=len(bench.source()[0].ids),
            starts=instructed - first * len(samples),
        )


class Asked:
    """A bench, and what a plan has to know of it; weights are never loaded.

    sibling: the same of the checkpoint's other tasks. counted: tokens by tokenizer, chat and task;
    what is not in it yet is added.

    Raises: CheckpointError, here and wherever the checkpoint's files are read.
    """

    def __init__(
        self,
        bench: Bench,
        sibling: Callable[[Task], Asked],
        counted: dict[tuple[str, ...], Tokens],
    ) -> None:
        self.bench, self.sibling, self.options = bench, sibling, bench.options
        self.config = checkpoints.config(bench.checkpoint)
        self.parameters = checkpoints.parameters(bench.checkpoint)
        self.layers: int = self.config.num_hidden_layers
        weights, *prompting = bench.digests.values()
        self.identity = (weights, *prompting)
        at = (*prompting, bench.task.digest)
        if at not in counted:
            counted[at] = Tokens.of(bench)
        self.tokens = counted[at]

    @property
    def ranking(self) -> float:
        """FLOP of ranking a vector of the residual stream among all tokens."""
        return 2.0 * self.config.hidden_size * self.config.vocab_size

    def run(self, tokens: float) -> float:
        """FLOP of running tokens through the model: 2 a parameter and token."""
        return 2.0 * self.parameters * tokens

    def sweep(self, order: int, sources: int = 1) -> float:
        """FLOP of sweeps over all target prompts.

        Of all tuples of s layers, C(L, s + 1) blocks are run, as those with the same first layers
        share them.
        """
        blocks = sum(comb(self.layers, size + 1) for size in range(order + 1))
        return sources * self.run(self.tokens.target * blocks / self.layers)


def _behaviour(of: Asked) -> Iterator[Want]:
    # Each token of an answer is a run of all before it; at most, as answers may end sooner.
    passes = of.bench.decoding["new_tokens"]
    tokens = passes * of.tokens.instructed + comb(passes, 2) * len(of.bench.items)
    yield Want(of, "behaviour", of.run(tokens), of.bench.answers)


def _every_behaviour(of: Asked) -> Iterator[Want]:
    for task in of.options.tasks.values():
        yield from _behaviour(of.sibling(task))


def _runs(of: Asked) -> Iterator[Want]:
    yield Want(of, "runs", of.run(of.tokens.target + of.tokens.instructed), of.bench.runs)


def _sweep(of: Asked, source: SourceName, protocol: Protocol) -> Iterator[Want]:
    bench, few = of.bench, CHECKED_SAMPLES / len(of.bench.items)
    order = RELEASED_ORDER if protocol == "released" else of.options.order
    sources = NEUTRAL_SENTENCES if source == "neutral" else 1
    checks = 2 * of.sweep(min(2, of.layers)) + of.run(_CHECKS * of.tokens.target)
    yield Want(of, "checks", few * checks, bench.checks)
    yield Want(of, f"no-op {protocol}", 2 * of.sweep(1), lambda: bench.no_op(protocol))
    flop = of.sweep(order, sources) + of.run(sources * of.tokens.instruction)
    yield Want(of, f"sweep {source} {protocol}", flop, lambda: bench.sweep(source, protocol))


def _sweeps(of: Asked) -> Iterator[Want]:
    yield from _sweep(of, "instruction", "paper")
    yield from _sweep(of, "contrast" if of.bench.task.contrast else "neutral", "paper")


def _released_sweep(of: Asked) -> Iterator[Want]:
    yield from _sweep(of, "instruction", "released")


def _controls(of: Asked) -> Iterator[Want]:
    rows = RANDOM_DRAWS + NEUTRAL_SENTENCES + of.tokens.instruction - 1
    yield Want(of, "controls", of.run(rows * of.tokens.target), None)


def _all_layers(of: Asked) -> Iterator[Want]:
    yield Want(
        of, "all layers", of.run(of.tokens.target + of.tokens.instruction), of.bench.all_layers
    )


def _paths_of(of: Asked, k: int, semantics: Semantics) -> Iterator[Want]:
    bench, forms = of.bench, of.run(_LINEAR_FORM * of.tokens.instructed)
    yield Want(of, "attribution", forms, lambda: attributed(bench))
    granularity = "merged" if semantics == "released" else of.options.path_granularity
    # Backwards from T_last, a layer has at most so many edges into each position.
    every = (1 + k * of.config.num_attention_heads) ** of.layers * len(bench.items)
    flop = forms + of.ranking * min(every, of.tokens.starts * of.options.max_paths)
    yield Want(
        of, f"paths k={k} {semantics} {granularity}", flop, lambda: traced(bench, k, semantics)
    )


def _paths(of: Asked) -> Iterator[Want]:
    for k in of.options.path_k:
        yield from _paths_of(of, k, "equation")


def _contrast_paths(of: Asked) -> Iterator[Want]:
    """Of the contrast task, with the first k, where there is one."""
    if of.bench.task.contrast:
        contrast = contrast_of(of.bench.checkpoint, of.bench.task, of.options.tasks)
        yield from _paths_of(of.sibling(contrast), of.options.path_k[0], "equation")


def _released_paths(of: Asked) -> Iterator[Want]:
    heads = of.config.num_attention_heads
    if getattr(of.config, "num_key_value_heads", heads) == heads:
        yield from _paths_of(of, of.options.path_k[0], "released")


def _probes(of: Asked) -> Iterator[Want]:
    bench, texts = of.bench, probing.rephrasings(of.options).texts
    tokens = of.tokens.instruction * len(texts)
    yield Want(
        *(of, "instruction residuals", of.run(tokens), lambda: probing.residuals(bench, texts)),
        of_checkpoint=True,
    )
    yield Want(of, "probes", 0.0, lambda: probing.probes(bench), of_checkpoint=True)


def _random_probes(of: Asked) -> Iterator[Want]:
    bench, texts = of.bench, probing.rephrasings(of.options).texts
    copy, tokens = probing.untrained(bench), of.tokens.instruction * len(texts)
    name = f"instruction residuals {probing.RANDOM_WEIGHTS}"
    yield Want(
        *(of, name, of.run(tokens), lambda: probing.residuals(copy, texts)), of_checkpoint=True
    )
    yield Want(
        *(of, "random-weight probes", 0.0, lambda: probing.random_probe(bench)), of_checkpoint=True
    )


ASKS: Mapping[str, Callable[[Asked], Iterator[Want]]] = {
    "behaviour": _behaviour,
    "behaviour on every task": _every_behaviour,
    "runs": _runs,
    "headroom": _runs,
    "sweeps": _sweeps,
    "released sweep": _released_sweep,
    "controls": _controls,
    "all layers": _all_layers,
    "paths": _paths,
    "contrast paths": _contrast_paths,
    "released paths": _released_paths,
    "probes": _probes,
    "random-weight probes": _random_probes,
}

"""One checkpoint and task on the bench: all measurements a claim may ask for, through the store."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ivevidence import Measurement, Store, digest_json
from ivfixtures.checkpoints.loading import DTYPES
from ivfixtures.checkpoints.resolving import Checkpoint, config
from ivfixtures.data.tasks import Task
from ivfixtures.errors import LineError, error_line
from ivfixtures.measuring import methods
from ivfixtures.measuring.material import Material, SourceName, inputs_digest
from ivfixtures.measuring.methods import Method
from ivfixtures.measuring.origins import Computed, of_model, with_origin
from ivfixtures.suite.options import Options
from ivmethods.model.behaviour import greedy_answers
from ivmethods.model.metrics import METRICS, NotFiniteError
from ivmethods.model.recording import record, run_scores
from ivmethods.patching.checks import RUNNERS, TOLERANCE, Checks, check, checked_samples, no_op
from ivmethods.patching.controls import effects_of, norm_matched_random
from ivmethods.patching.sweep import LayerTuple, Sweep, sweep
from ivmethods.prompts.protocols import Protocol, Source

RANDOM_DRAWS = 20
RELEASED_ORDER = 2


class CheckpointRefusedError(LineError, RuntimeError):
    """A checkpoint whose activations cannot be patched faithfully, with the numbers."""


class Bench(Material):
    """Measurements on one checkpoint and task. Each is made once and then read from the store."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        task: Task,
        options: Options,
        store: Store,
        progress: Callable[[str], None],
    ) -> None:
        super().__init__(checkpoint, task, options)
        self.store = store
        # By role, what was asked for since it was last cleared: a cell's own.
        self.asked_for: dict[str, Measurement] = {}
        self._measurements: dict[str, Measurement] = {}  # by digest
        self.progress = progress

    def checks(self) -> Checks:
        """Check that the checkpoint can be patched at all, once per checkpoint.

        Raises:
            CheckpointRefusedError: a check fails.
        """
        few = checked_samples(self.samples())

        def compute() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
            found = check(self.model, few, memory_budget=self.memory_budget)
            return {}, {"checks": vars(found)}

        # What a remote model is served in is known only there.
        served = DTYPES.get(self.options.dtype)
        parameters = {"tolerance": TOLERANCE[served]} if served else {}
        measured = self.measure(methods.CHECKS, parameters, compute, inputs=inputs_digest(few))
        checks = Checks(**measured.info["checks"])
        if not checks.passed:
            raise CheckpointRefusedError(
                f"logit differences={checks.no_op:.2g} (no-op), {checks.hook_parity:.2g} "
                f"({checks.oracle}), {checks.padding:.2g} (padding), but should be 0 (no-op) and "
                f"at most {checks.tolerance:g} [{self.checkpoint.name}]; its activations cannot be "
                "patched faithfully "
                + ("there" if self.options.remote else "here: try --dtype float32 or --device cpu")
            )
        return checks

    def answers(self) -> list[str]:
        """Greedy answers to the instructed prompts.

        Raises:
            CheckpointRefusedError: a logit is NaN or infinite.
        """

        def compute() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
            samples = self.samples()  # their tokens are checked before the model is loaded
            budget = self.memory_budget
            texts = greedy_answers(self.model, samples, **self.decoding, memory_budget=budget)
            return {}, {"answers": texts}

        return list(self.measure(methods.BEHAVIOUR, self.decoding, compute).info["answers"])

    def runs(self) -> Mapping[str, np.ndarray]:
        """Metrics of the unpatched runs, `target` and `instructed`, each [metric, sample]."""

        def compute() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
            samples = self.samples()
            prompts = {
                "target": [sample.target for sample in samples],
                "instructed": [sample.instructed for sample in samples],
            }
            budget = self.memory_budget
            return {
                name: run_scores(self.model, samples, ids, memory_budget=budget).numpy()
                for name, ids in prompts.items()
            }, {}

        return self.measure(methods.RUNS, {}, compute).arrays

    def sweep(self, source: SourceName = "instruction", protocol: Protocol = "paper") -> Sweep:
        """Effects of every tuple of layers; those of several sources are averaged over them.

        The no-op control runs with every protocol's sweeps.

        Raises:
            CheckpointRefusedError: the no-op control is not null.
        """
        order = RELEASED_ORDER if protocol == "released" else self.options.order
        texts = self.source(source, protocol)

        def compute() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
            results = []
            for number, text in enumerate(texts, start=1):
                label = f"sweep from {source} {number}, protocol {protocol}"
                results.append(self._sweep(self._residual(text), protocol, order, label))
            effects = torch.stack([result.effects for result in results]).mean(dim=0)
            arrays = {
                "effects": effects.numpy(),
                "target": results[0].target.numpy(),
                "degenerate": results[0].degenerate.numpy(),
            }
            tuples = [list(t) for t in results[0].tuples]
            return arrays, {"tuples": tuples, "runner": self.checks().runner}

        self.no_op(protocol)
        found = self.measure(
            *(methods.SWEEP, {"protocol": protocol, "order": order}, compute),
            inputs=inputs_digest(self.samples(protocol), texts),
            of=f"{source} {protocol}",
        )
        tensors = {name: torch.from_numpy(array) for name, array in found.arrays.items()}
        tuples = tuple(tuple(t) for t in found.info["tuples"])
        return Sweep(tuples, tensors["effects"], tensors["target"], tensors["degenerate"])

    def no_op(self, protocol: Protocol = "paper") -> float:
        """Largest change of an answer's logit when the target's own residuals are written.

        Every layer alone, on every sample.

        Raises:
            CheckpointRefusedError: it is not null.
        """
        runner = self.checks().runner

        def compute() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
            effects = no_op(
                self.model,
                self.samples(protocol),
                runner=RUNNERS[runner],
                memory_budget=self.memory_budget,
            )
            return {"effects": effects.numpy()}, {"runner": runner}

        inputs = inputs_digest(self.samples(protocol))
        found = self.measure(
            methods.NO_OP, {"protocol": protocol}, compute, inputs=inputs, of=protocol
        )
        largest = float(np.abs(found.arrays["effects"]).max())
        if largest != 0:
            raise CheckpointRefusedError(
                f"no-op effect={largest:.2g}, but should be 0 [{self.checkpoint.name}, "
                f"{self.task.name}]; patching itself changes this model"
            )
        return largest

    def all_layers(self) -> np.ndarray:
        """Effects of patching every layer with the own instruction, [metric, sample]."""
        sources = self.source()

        def compute() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
            own = self._residual(sources[0])
            return {"effects": self._effects(own[None], tuple(range(len(own))))[:, :, 0]}, {}

        inputs = inputs_digest(self.samples(), sources)
        return self.measure(methods.ALL_LAYERS, {}, compute, inputs=inputs).arrays["effects"]

    def controls(self, layers: LayerTuple) -> Mapping[str, np.ndarray]:
        """Effects of other vectors at the same site and tuple, each [metric, sample, draw].

        `random`: norm-matched random vectors. `positions`: the residuals of every other position of
        the instruction, in order. `neutral`: T_last residuals of neutral sentences.
        """
        instruction = self.source()[0]
        neutral = self.source("neutral")
        parameters = {"layers": list(layers), "draws": RANDOM_DRAWS, "seed": self.options.seed}

        def compute() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
            own = self._residual(instruction)
            every = range(instruction.start, len(instruction.ids))
            others = [p for p in every if p != instruction.position]
            written = {
                "random": norm_matched_random(own, draws=RANDOM_DRAWS, seed=self.options.seed),
                "neutral": torch.stack([self._residual(source) for source in neutral]),
            }
            if others:
                written["positions"] = record(self.model, instruction.ids, positions=others)
            return {name: self._effects(vectors, layers) for name, vectors in written.items()}, {}

        found = self.measure(
            *(methods.CONTROLS, parameters, compute),
            inputs=inputs_digest(self.samples(), [instruction], neutral),
            sizes={"draw": RANDOM_DRAWS, "neutral": len(neutral)},
            of=str(layers),
        )
        arrays = dict(found.arrays)
        arrays.setdefault("positions", np.zeros((len(METRICS), len(self.items), 0), np.float32))
        return arrays

    def _effects(self, vectors: Tensor, layers: LayerTuple) -> np.ndarray:
        found = effects_of(
            self.model, self.samples(), vectors, layers, memory_budget=self.memory_budget
        )
        return found.numpy()

    def _residual(self, source: Source) -> Tensor:
        return record(self.model, source.ids, positions=[source.position])[0]

    def _sweep(self, vector: Tensor, protocol: Protocol, order: int, label: str) -> Sweep:
        samples = self.samples(protocol)
        return sweep(
            self.model,
            samples,
            vector.expand(len(samples), *vector.shape),
            order=order,
            memory_budget=self.memory_budget,
            runner=RUNNERS[self.checks().runner],
            progress=lambda done: self.progress(
                f"{self.checkpoint.name} {self.task.name}: {label}, {done}/{len(samples)} samples"
            ),
        )

    def finite(self, compute: Callable[[], Computed]) -> Callable[[], Computed]:
        """The computation of a measurement, refused in one line where the model has no numbers.

        That is where it meets NaN or infinity, or a run has more tokens than it knows positions.
        It raises CheckpointRefusedError then, so that nothing is stored.
        """

        def computed() -> Computed:
            try:
                return compute()
            except NotFiniteError as error:
                where = f"{self.checkpoint.name}, {self.task.name}, {self.options.dtype}"
                line = error_line(error.quantity, error.got, "finite", where, self._remedy)
                raise CheckpointRefusedError(line) from None
            except IndexError as error:
                # Of an embedding; as token ids have been looked at, it is that of positions.
                if "index out of range in self" not in str(error):
                    raise
                known = getattr(config(self.checkpoint), "max_position_embeddings", "fewer")
                remedy = "shorten the prompts or the accepted answers, or choose another checkpoint"
                where = f"{self.checkpoint.name}, {self.task.name}"
                line = error_line("tokens of a run", "more", f"at most {known}", where, remedy)
                raise CheckpointRefusedError(line) from None

        return computed

    @property
    def _remedy(self) -> str:
        if self.options.remote:
            return "choose another checkpoint"
        if self.options.dtype == "float32":
            return "its weights are damaged, or too large for float32: get the checkpoint anew"
        return "try --dtype float32" + (" or bfloat16" if self.options.dtype == "float16" else "")

    def measure(
        self,
        method: Method,
        parameters: Mapping[str, Any],
        compute: Callable[[], tuple[dict[str, np.ndarray], dict[str, Any]]],
        *,
        inputs: str | None = None,
        sizes: Mapping[str, int] | None = None,
        of: str = "",
        is_part: bool = False,
    ) -> Measurement:
        """The stored measurement of a method with its parameters; computed if there is none.

        compute: its arrays, and what else there is to know about them as JSON. inputs: digest of
        what the model is run on; by default the samples of the paper's protocol. sizes: of the
        result's axes, those known beforehand. of: tells measurements of one method apart for
        people. is_part: only another measurement is made of it: no cell refers to it.
        """
        key: dict[str, Any] = {
            **self.digests,
            "inputs": inputs or inputs_digest(self.samples()),
            "method": f"{method.name} {of}".rstrip(),
            "method_version": method.version,
            "parameters": dict(parameters),
            "dtype": self.options.dtype,
        }
        digest = digest_json(key)
        made = self._measurements.get(digest)
        if made is None:
            known = {"metric": len(METRICS), "sample": len(self.items), **(sizes or {})}
            facts = partial(of_model, self) if method.runs_model else dict
            computed = with_origin(self.finite(compute), self.options.device, facts)
            made = self.store.measure(key, computed, partial(method.check, known))
        if is_part:
            return made
        self._measurements[digest] = made
        return self.note(key["method"], made)

    def note(self, role: str, made: Measurement) -> Measurement:
        """Note what a cell asked for; of two in one role, the second is known by its digest."""
        if self.asked_for.get(role, made).digest != made.digest:
            role = f"{role} {made.digest[:12]}"
        self.asked_for[role] = made
        return made

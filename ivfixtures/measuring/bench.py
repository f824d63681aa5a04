"""One checkpoint and task on the bench: methods are asked for, measured once, and stored."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from ivevidence import Measurement, Store, digest_json
from ivfixtures.checkpoints import resolving
from ivfixtures.checkpoints.loading import DTYPES
from ivfixtures.checkpoints.resolving import Checkpoint
from ivfixtures.data.tasks import Task, made_tasks
from ivfixtures.errors import LineError, error_line
from ivfixtures.measuring.forms import Form
from ivfixtures.measuring.material import Material, inputs_digest
from ivfixtures.measuring.origins import Computed, of_model, with_origin
from ivfixtures.measuring.settings import Settings
from ivmethods.method import Measured, Method, Running, Size, SourceName
from ivmethods.model.methods import Behaviour, Runs
from ivmethods.model.metrics import METRICS, NotFiniteError
from ivmethods.patching.check_methods import NoOp, PatchingChecks
from ivmethods.patching.checks import TOLERANCE
from ivmethods.patching.methods import (
    RANDOM_DRAWS,
    RELEASED_ORDER,
    AllLayers,
    Controls,
    LayerSweep,
)
from ivmethods.patching.sweep import LayerTuple, Sweep
from ivmethods.prompts.protocols import Protocol


class CheckpointRefusedError(LineError, RuntimeError):
    """A checkpoint whose activations cannot be patched faithfully, with the numbers."""


class Bench(Material, Running):
    """Measurements on one checkpoint and task. Each is made once and then read from the store."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        task: Task,
        options: Settings,
        store: Store,
        show: Callable[[str], None],
    ) -> None:
        super().__init__(checkpoint, task, options)
        self.store, self.show = store, show
        # By role, what was asked for since it was last cleared: a cell's own.
        self.asked_for: dict[str, Measurement] = {}
        self._measurements: dict[str, Measurement] = {}  # by digest

    def of_task(self, task: Task) -> "Bench":
        """The bench of another task."""
        return Bench(self.checkpoint, task, self.options, self.store, self.show)

    @property
    def contrast(self) -> "Bench":
        """The bench of the task's contrast, also where the checkpoint was made without it."""
        name = str(self.task.contrast)
        return self.of_task(
            made_tasks((name,))[name] if self.checkpoint.tasks else self.options.tasks[name]
        )

    def untrained(self) -> "Bench":
        """The bench of a copy of the checkpoint whose weights are random, by the run's seed."""
        checkpoint = replace(self.checkpoint, untrained=self.options.seed)
        return Bench(checkpoint, self.task, self.options, self.store, self.show)

    # ------------------------------------------------------------------------------ any method

    def key(self, method: Method) -> dict[str, Any]:
        """All that a measurement depends on: it is known before anything is measured."""
        return {
            **self.digests,
            "inputs": inputs_digest(*method.inputs(self)),
            "method": method.role,
            "method_version": method.version,
            "parameters": method.parameters,
            "dtype": self.options.dtype,
        }

    def get(self, method: Method) -> Measurement:
        """The measurement of a method, noted as the cell's own, after what comes before it.

        Raises:
            CheckpointRefusedError: the result says that the checkpoint is not to be measured, or it
                has no numbers.
        """
        for other in method.before():
            self.get(other)
        return self.note(method.role, self._checked(method))

    def ask(self, method: Method) -> Measurement:
        """The same as a part of another measurement: no cell refers to it."""
        return self._checked(method)

    def progress(self, text: str) -> None:
        """Show how far the work on this checkpoint and task is."""
        self.show(f"{self.checkpoint.name} {self.task.name}: {text}")

    def size(self) -> Size:
        """The model's size, by its configuration and the headers of its files.

        Raises: CheckpointError.
        """
        form = resolving.config(self.checkpoint)
        return Size(
            parameters=resolving.parameters(self.checkpoint),
            layers=form.num_hidden_layers,
            heads=form.num_attention_heads,
            width=form.hidden_size,
            vocabulary=form.vocab_size,
        )

    def note(self, role: str, made: Measurement) -> Measurement:
        """Note what a cell asked for; of two in one role, the second is known by its digest."""
        if self.asked_for.get(role, made).digest != made.digest:
            role = f"{role} {made.digest[:12]}"
        self.asked_for[role] = made
        return made

    def _checked(self, method: Method) -> Measurement:
        made = self._made(method)
        options = self.options
        of = Measured(self.checkpoint.name, self.task.name, options.dtype, options.remote)
        if line := method.refusal(made, of):
            raise CheckpointRefusedError(line)
        return made

    def _made(self, method: Method) -> Measurement:
        key = self.key(method)
        digest = digest_json(key)
        if digest not in self._measurements:
            inputs = method.inputs(self)
            sizes = {"metric": len(METRICS), "sample": len(self.items), **method.sizes(inputs)}
            facts = partial(of_model, self) if method.runs_model else dict
            compute = self._finite(lambda: method.compute(inputs, self))
            computed = with_origin(compute, self.options.device, facts)
            self._measurements[digest] = self.store.measure(
                key, computed, partial(Form.of(method).check, sizes)
            )
        return self._measurements[digest]

    def _finite(self, compute: Callable[[], Computed]) -> Callable[[], Computed]:
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
                known = getattr(
                    resolving.config(self.checkpoint), "max_position_embeddings", "fewer"
                )
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

    # ------------------------------------------------------- methods with the run's own options

    @property
    def checks(self) -> PatchingChecks:
        """The checks of patching; what a remote model is served in is known only there."""
        served = DTYPES.get(self.options.dtype)
        return PatchingChecks(TOLERANCE[served] if served else None)

    @property
    def behaviour(self) -> Behaviour:
        """Greedy answers, as long as the task's may be."""
        return Behaviour(**self.decoding)

    def layer_sweep(
        self, source: SourceName = "instruction", protocol: Protocol = "paper"
    ) -> LayerSweep:
        """The sweep of the run's orders; the released scripts have pairs."""
        order = RELEASED_ORDER if protocol == "released" else self.options.order
        return LayerSweep(source, protocol, order, self.checks)

    def answers(self) -> list[str]:
        """Greedy answers to the instructed prompts."""
        return list(self.get(self.behaviour).info["answers"])

    def runs(self) -> Mapping[str, np.ndarray]:
        """Metrics of the unpatched runs, `target` and `instructed`, each [metric, sample]."""
        return self.get(Runs()).arrays

    def sweep(self, source: SourceName = "instruction", protocol: Protocol = "paper") -> Sweep:
        """Effects of every tuple of layers; those of several sources are averaged over them."""
        made = self.get(self.layer_sweep(source, protocol))
        tensors = {name: torch.from_numpy(array) for name, array in made.arrays.items()}
        tuples = tuple(tuple(t) for t in made.info["tuples"])
        return Sweep(tuples, tensors["effects"], tensors["target"], tensors["degenerate"])

    def no_op(self, protocol: Protocol = "paper") -> float:
        """Largest change of an answer's logit when the target's own residuals are written."""
        made = self.get(NoOp(protocol, self.checks))
        return float(np.abs(made.arrays["effects"]).max())

    def all_layers(self) -> np.ndarray:
        """Effects of patching every layer with the own instruction, [metric, sample]."""
        return self.get(AllLayers()).arrays["effects"]

    def controls(self, layers: LayerTuple) -> Mapping[str, np.ndarray]:
        """Effects of other vectors at the same site and tuple, each [metric, sample, draw]."""
        made = self.get(Controls(layers, RANDOM_DRAWS, self.options.seed))
        arrays = dict(made.arrays)
        arrays.setdefault("positions", np.zeros((len(METRICS), len(self.items), 0), np.float32))
        return arrays

"""Measurements: methods on data are asked for, measured once, and kept in the store."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

from nnsight import TransformersModel

from ivevidence import Measurement, Store, digest_json
from ivfixtures.checkpoints import resolving
from ivfixtures.checkpoints.resolving import Checkpoint, load, release
from ivfixtures.data.of_checkpoint import CheckpointData, inputs_digest
from ivfixtures.errors import LineError, error_line
from ivfixtures.measuring.forms import Form
from ivfixtures.measuring.origins import Computed, of_model, with_origin
from ivfixtures.measuring.requests import Request
from ivmethods.method import Measured, Method, Running
from ivmethods.model.handles import network, wrap
from ivmethods.model.memory import free_bytes
from ivmethods.model.metrics import METRICS, NotFiniteError


class CheckpointRefusedError(LineError, RuntimeError):
    """A checkpoint whose activations cannot be patched faithfully, with the numbers."""


class Measurements:
    """What is measured on this device, in this dtype; each once and then read from the store.

    memory_budget: bytes of one forward pass, None for what is free then. show: progress.
    """

    def __init__(
        self,
        store: Store,
        *,
        device: str,
        dtype: str,
        memory_budget: int | None = None,
        show: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.store, self.device, self.dtype = store, device, dtype
        self.memory_budget, self.show = memory_budget, show
        self._kept: dict[str, Measurement] = {}  # by digest
        self._digests: dict[Request, str] = {}

    def key(self, request: Request) -> dict[str, Any]:
        """All that a measurement depends on: it is known before anything is measured."""
        data, method = request.data, request.method
        require_value(method)
        kind = type(method)
        # Those of others may have the name of one of ours.
        is_ours = kind.__module__.startswith("ivmethods.")
        whose = {} if is_ours else {"module": kind.__module__, "class": kind.__qualname__}
        return {
            **data.digests,
            **whose,
            "inputs": inputs_digest(data.inputs(method)),
            "method": method.role,
            "method_version": method.version,
            "parameters": method.parameters,
            "dtype": self.dtype,
        }

    def digest(self, request: Request) -> str:
        """The digest of the key, by which the store has the measurement."""
        if request not in self._digests:
            self._digests[request] = digest_json(self.key(request))
        return self._digests[request]

    def get(self, request: Request) -> Measurement:
        """The measurement, made or read.

        Raises:
            CheckpointRefusedError: the result says that the checkpoint is not to be measured, or it
                has no numbers.
        """
        data, method = request.data, request.method
        made = self._made(request)
        where = Measured(data.checkpoint.name, data.name, self.dtype, data.checkpoint.remote)
        if line := method.refusal(made, where):
            raise CheckpointRefusedError(line)
        return made

    def forget(self) -> None:
        """Let go of what is in memory; the store has it."""
        self._kept.clear()
        self._digests.clear()

    def _made(self, request: Request) -> Measurement:
        digest = self.digest(request)
        if digest not in self._kept:
            data, method = request.data, request.method
            inputs, execution = data.inputs(method), Execution(self, data)
            sizes = {"metric": len(METRICS), "sample": data.count, **method.sizes(inputs)}
            facts = partial(of_model, execution) if method.runs_model else dict
            compute = _finite(execution, lambda: method.compute(inputs, execution))
            computed = with_origin(compute, self.device, facts)
            check = partial(Form.of(method).check, sizes)
            self._kept[digest] = self.store.measure(self.key(request), computed, check)
        return self._kept[digest]


def require_value(method: Method) -> None:
    """See that a method's fields are all that it depends on.

    Raises: ValueError, its class is no frozen dataclass itself, or has no name or version.
    """
    kind = type(method)
    made = vars(kind).get("__dataclass_params__")
    if made is None or not made.frozen:
        expected, remedy = "a frozen dataclass itself", "put @dataclass(frozen=True) above it"
        raise ValueError(error_line("method", kind.__qualname__, expected, kind.__module__, remedy))
    for what, wanted in (("name", str), ("version", int)):
        if not isinstance(got := getattr(method, what, None), wanted):
            expected, remedy = f"of type {wanted.__name__}", f"state `{what}: ClassVar = ...`"
            quantity = f"{what} of {kind.__qualname__}"
            raise ValueError(error_line(quantity, repr(got), expected, kind.__module__, remedy))


class Reader:
    """Reads the measurements of one cell, after what comes before each, and notes them."""

    def __init__(self, measurements: Measurements) -> None:
        self.measurements = measurements
        self.made: dict[Request, Measurement] = {}

    def __call__(self, request: Request) -> Any:
        """The result of a request, as its method reads it."""
        for method in request.method.before():
            self(Request(request.data, method))
        self.made[request] = self.measurements.get(request)
        return request.method.read(self.made[request])


class Execution(Running):
    """What a method runs with: the model of the data's checkpoint."""

    def __init__(self, measurements: Measurements, data: CheckpointData) -> None:
        self.measurements, self.data = measurements, data

    @property
    def model(self) -> TransformersModel:
        """The checkpoint's model, which nnsight runs; loaded once per process."""
        return model_of(self.data.checkpoint, self.measurements.device, self.measurements.dtype)

    @cached_property
    def memory_budget(self) -> int:
        """Bytes that one forward pass may take."""
        devices = {weight.device for weight in network(self.model).parameters()}
        return self.measurements.memory_budget or free_bytes(devices)

    def progress(self, text: str) -> None:
        """Show how far the work on this checkpoint and task is."""
        self.measurements.show(f"{self.data.checkpoint.name} {self.data.name}: {text}")

    def ask(self, method: Method) -> Measurement:
        """The measurement of another method on the same data, as a part of this one."""
        return self.measurements.get(Request(self.data, method))


_in_use: dict[tuple[Checkpoint, str, str], TransformersModel] = {}


def model_of(checkpoint: Checkpoint, device: str, dtype: str) -> TransformersModel:
    """The checkpoint's model; what was measured before is let go first, as two may not fit."""
    key = (checkpoint, device, dtype)
    if key not in _in_use:
        _in_use.clear()
        release()
        loaded = load(checkpoint, device=device, dtype=dtype)
        remote, revision = checkpoint.remote, checkpoint.revision
        _in_use[key] = wrap(loaded.model, loaded.tokenizer, remote=remote, revision=revision)
    return _in_use[key]


def _finite(execution: Execution, compute: Callable[[], Computed]) -> Callable[[], Computed]:
    """The computation of a measurement, refused in one line where the model has no numbers.

    That is where it meets NaN or infinity, or a run has more tokens than it knows positions. It
    raises CheckpointRefusedError then, so that nothing is stored.
    """
    data, dtype = execution.data, execution.measurements.dtype
    name = f"{data.checkpoint.name}, {data.name}"

    def computed() -> Computed:
        try:
            return compute()
        except NotFiniteError as error:
            remedy = _remedy(dtype, remote=data.checkpoint.remote)
            line = error_line(error.quantity, error.got, "finite", f"{name}, {dtype}", remedy)
            raise CheckpointRefusedError(line) from None
        except IndexError as error:
            # Of an embedding; as token ids have been looked at, it is that of positions.
            if "index out of range in self" not in str(error):
                raise
            form = resolving.config(data.checkpoint)
            known = getattr(form, "max_position_embeddings", "fewer")
            remedy = "shorten the prompts or the accepted answers, or choose another checkpoint"
            line = error_line("tokens of a run", "more", f"at most {known}", name, remedy)
            raise CheckpointRefusedError(line) from None

    return computed


def _remedy(dtype: str, *, remote: bool) -> str:
    if remote:
        return "choose another checkpoint"
    if dtype == "float32":
        return "its weights are damaged, or too large for float32: get the checkpoint anew"
    return "try --dtype float32" + (" or bfloat16" if dtype == "float16" else "")

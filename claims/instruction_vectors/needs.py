"""What claims of this pack need: methods with the run's settings, on a task's data."""

from claims.instruction_vectors.settings import Settings
from ivfixtures.checkpoints import resolving
from ivfixtures.checkpoints.loading import DTYPES
from ivfixtures.data.instructed import InstructedData, behaviour
from ivfixtures.measuring.requests import Request
from ivmethods.method import SourceName
from ivmethods.patching.check_methods import NoOp, PatchingChecks
from ivmethods.patching.checks import TOLERANCE
from ivmethods.patching.methods import RANDOM_DRAWS, RELEASED_ORDER, Controls, LayerSweep
from ivmethods.patching.sweep import LayerTuple
from ivmethods.paths.graph import Semantics
from ivmethods.paths.methods import Paths


def checks(data: InstructedData) -> PatchingChecks:
    """The checks of patching; what a remote model is served in is known only there."""
    served = DTYPES.get(data.settings.dtype)
    return PatchingChecks(TOLERANCE[served] if served else None)


def sweep(data: InstructedData, settings: Settings) -> LayerSweep:
    """The sweep of the own instruction."""
    return LayerSweep("instruction", "paper", settings.order, checks(data))


def control_sweep(data: InstructedData, settings: Settings) -> LayerSweep:
    """The sweep of the contrast instruction; where there is none, of neutral sentences."""
    source: SourceName = "contrast" if data.task.contrast else "neutral"
    return LayerSweep(source, "paper", settings.order, checks(data))


def released_sweep(data: InstructedData, settings: Settings) -> LayerSweep:
    """The sweep of the released scripts, which have pairs."""
    return LayerSweep("instruction", "released", RELEASED_ORDER, checks(data))


def no_op(data: InstructedData, settings: Settings) -> NoOp:
    """The largest change when the target's own residuals are written."""
    return NoOp("paper", checks(data))


def controls(data: InstructedData, layers: LayerTuple = ()) -> Controls:
    """Other vectors at a tuple."""
    return Controls(layers, RANDOM_DRAWS, data.settings.seed)


def every_behaviour(data: InstructedData, settings: Settings) -> dict[str, Request]:
    """Greedy answers on every task of the run whose prompts the checkpoint can take."""
    found = {}
    for name, task in data.settings.tasks.items():
        other = data if name == data.name else data.of_task(task)
        try:
            other.samples()
        except ValueError:
            continue
        found[name] = Request(other, behaviour(other))
    return found


def sub_position(data: InstructedData) -> int | None:
    """Position of the last token of the task's sub-instruction, if it has one."""
    sub = data.task.sub_instruction
    return None if sub is None else data.position_of(sub)


def first_start(data: InstructedData) -> int:
    """Position before T_inst, or before the sub-instruction's end: paths start there and after."""
    sub = sub_position(data)
    return max(0, (data.samples()[0].t_inst if sub is None else sub) - 1)


def paths(
    data: InstructedData,
    settings: Settings,
    k: int | None = None,
    semantics: Semantics = "equation",
) -> Paths:
    """Paths of all tokens from the one before T_inst on, or before the sub-instruction's."""
    granularity = "merged" if semantics == "released" else settings.path_granularity
    k = settings.path_k[0] if k is None else k
    first = first_start(data)
    return Paths(k, semantics, granularity, first, settings.max_paths, data.settings.seed)


def paths_by_k(data: InstructedData, settings: Settings) -> dict[int, Paths]:
    """Those of every k."""
    return {k: paths(data, settings, k) for k in settings.path_k}


def contrast_paths(data: InstructedData, settings: Settings) -> Request | None:
    """Those of the contrast task, where there is one, with the first k."""
    if data.task.contrast is None:
        return None
    return Request(data.contrast, paths(data.contrast, settings))


def released_paths(data: InstructedData, settings: Settings) -> Paths | None:
    """Those of the released scripts, where they can be run on the checkpoint."""
    method = paths(data, settings, semantics="released")
    config = resolving.config(data.checkpoint)
    return None if method.runs_on(config, data.checkpoint.remote) else method

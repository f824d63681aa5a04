"""Gates of claims as the plan has them: whether a cell goes on, by what is known of it now."""

from collections.abc import Callable

from ivfixtures.checkpoints import resolving as checkpoints
from ivfixtures.measuring import probing
from ivfixtures.measuring.bench import Bench
from ivfixtures.suite.cells import Cell
from ivmethods.model.layouts import LAYOUTS

Gate = Callable[[Cell], bool]


def competence(cell: Cell) -> bool:
    """As `Cell.require_competence`."""
    return not any(part.incompetence() for part in cell.parts)


def headroom(smallest: float) -> Gate:
    """As `Cell.require_headroom`."""
    return lambda cell: not any(part.saturation(smallest) for part in cell.parts)


def order(least: int) -> Gate:
    """As `Cell.require_order`."""
    return lambda cell: cell.bench.options.order >= least


def linear_form(cell: Cell) -> bool:
    """As `Cell.require_linear_form`, of all benches and without a model."""
    return all(map(_has_layout, cell.benches))


def contrast(cell: Cell) -> bool:
    """As `Cell.require_contrast`."""
    return cell.bench.task.contrast is not None


def rephrasings(cell: Cell) -> bool:
    """Whether the task can be probed."""
    return probing.lacking(cell.bench) is None


def weights_here(cell: Cell) -> bool:
    """Whether a copy with random weights can be run."""
    return not cell.bench.options.remote


def _has_layout(bench: Bench) -> bool:
    return not bench.options.remote and checkpoints.config(bench.checkpoint).model_type in LAYOUTS

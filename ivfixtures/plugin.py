"""The pytest plugin: options, and the `cell` fixture that claims are judged with.

It is loaded in every pytest session of an environment, so it imports torch, transformers and
nnsight only where claims are judged. (nnsight also adds a `save` to all objects, which breaks
plugins that are imported after it.)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import claims

if TYPE_CHECKING:
    from ivfixtures.bench import Bench
    from ivfixtures.cells import Cell

DEFAULT_REPORT = "reports/claims.html"
CLAIMS_FOLDER = Path(claims.__file__).parent
RUN_NAME = "ivclaims-run"
DTYPES = ("float32", "bfloat16", "float16")
ORDERS = ("1", "1,2", "1,2,3")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options; every default stands here and nowhere else."""
    group = parser.getgroup("ivclaims", "claims of a paper about language models")
    add = group.addoption
    add(
        "--checkpoint",
        action="append",
        default=[],
        metavar="NAME",
        help="judge this checkpoint: a registry name, hub id, folder or GGUF file; repeatable",
    )
    add(
        "--family",
        action="append",
        default=[],
        metavar="NAME",
        help="judge the checkpoints of this family; repeatable (default: the embedded families)",
    )
    add("--tasks", metavar="DIR", help="read tasks from this folder instead of the packaged ones")
    add("--device", default="cpu", help="torch device (default: cpu)")
    add("--dtype", default="float32", choices=DTYPES, help="dtype of weights (default: float32)")
    add("--samples", type=int, default=100, metavar="N", help="samples a task (default: 100)")
    add(
        "--orders",
        default="1,2,3",
        choices=ORDERS,
        help="sizes of the layer tuples that are patched (default: 1,2,3)",
    )
    add("--seed", type=int, default=0, help="seed of samples and resampling (default: 0)")
    add(
        "--memory-budget",
        type=float,
        metavar="GIB",
        help="memory of one forward pass (default: a quarter of what is free; on CPU 1 at most)",
    )
    add(
        "--store",
        default=".ivclaims",
        metavar="DIR",
        help="folder that keeps measurements for later runs (default: .ivclaims)",
    )
    add(
        "--measure-anyway",
        action="store_true",
        help="measure causal claims even where the checkpoint does not solve the task",
    )
    add(
        "--xfail-refuted",
        action="store_true",
        help="report refuted claims as xfailed: a run whose cells were all judged passes",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; where claims are judged, check the options and ask for a report."""
    config.addinivalue_line("markers", "claim(record, metrics): a claim of a paper, one cell each")
    if not _judges_claims(config):
        return
    from ivfixtures.run import Run

    config.pluginmanager.register(Run(config), RUN_NAME)
    if config.option.htmlpath is None:
        config.option.htmlpath = str(config.invocation_params.dir / DEFAULT_REPORT)
        config.option.self_contained_html = True


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a cell of every checkpoint, task and metric of a claim."""
    marker = metafunc.definition.get_closest_marker("claim")
    if marker is None:
        return
    run = metafunc.config.pluginmanager.get_plugin(RUN_NAME)
    if run is None:
        raise pytest.UsageError(
            f"arguments={metafunc.config.args}, but should name the claims "
            f"[{metafunc.definition.nodeid}]; run `pytest claims` or `pytest --pyargs claims`"
        )
    cells = [
        pytest.param(
            (checkpoint, task, metric),
            id=f"{checkpoint.label}-{task.name}-{metric}",
            marks=pytest.mark.xdist_group(checkpoint.label),
        )
        for checkpoint in run.options.checkpoints
        for task in run.options.tasks.values()
        for metric in marker.kwargs["metrics"]
    ]
    metafunc.parametrize("cell", cells, indirect=True)


@pytest.fixture(scope="session")
def benches() -> dict[tuple[str, str], Bench]:
    """Benches of the present checkpoint, by checkpoint and task: claims share measurements."""
    return {}


@pytest.fixture
def cell(request: pytest.FixtureRequest, benches: dict[tuple[str, str], Bench]) -> Cell:
    """The cell that a claim's test judges."""
    from ivfixtures.bench import Bench
    from ivfixtures.cells import Cell
    from ivfixtures.run import CELL

    run: Any = request.config.pluginmanager.get_plugin(RUN_NAME)
    checkpoint, task, metric = request.param
    at = (checkpoint.label, task.name)
    if at not in benches:
        for other in [key for key in benches if key[0] != checkpoint.label]:
            del benches[other]
        benches[at] = Bench(checkpoint, task, run.options, run.store, run.show)
    marker = request.node.get_closest_marker("claim")
    request.node.stash[CELL] = Cell(marker.args[0], benches[at], metric, request.node.nodeid)
    return request.node.stash[CELL]


def _judges_claims(config: pytest.Config) -> bool:
    """Whether the arguments name the folder of claims or something in it."""
    for argument in config.args:
        name = argument.split("::")[0]
        if config.option.pyargs and name.split(".")[0] == claims.__name__:
            return True
        if Path(config.invocation_params.dir, name).resolve().is_relative_to(CLAIMS_FOLDER):
            return True
    return False

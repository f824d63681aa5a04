"""The pytest plugin: options, and the `cell` fixture that claims are judged with.

It is loaded in every pytest session of an environment, so it imports torch, transformers and
nnsight only where claims are judged. (nnsight also adds a `save` to all objects, which breaks
plugins that are imported after it.)
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import claims

if TYPE_CHECKING:
    from ivevidence import Claim
    from ivfixtures.bench import Bench
    from ivfixtures.cells import Cell
    from ivfixtures.published.cell import PublishedCell
    from ivfixtures.run import Run
    from ivfixtures.subjects import Subject

DEFAULT_REPORT = "reports/claims.html"
CLAIMS_FOLDER = Path(claims.__file__).parent
# Claims on published numbers: files that are called so need no checkpoint, and so no torch.
PUBLISHED_FILES = "test_published_"
RUN_NAME = "ivclaims-run"
DTYPES = ("float32", "bfloat16", "float16")
ORDERS = ("1", "1,2", "1,2,3")
GRANULARITIES = ("merged", "head")


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
    add(
        "--bigbench",
        metavar="DIR",
        help="add the paper's four BIG-bench tasks, from their JSON files in this folder or, if it "
        "is `hub`, from the hub's data set tasksource/bigbench",
    )
    add("--device", default="cpu", help="torch device (default: cpu)")
    add("--dtype", default="float32", choices=DTYPES, help="dtype of weights (default: float32)")
    add("--samples", type=int, default=100, metavar="N", help="samples a task (default: 100)")
    add(
        "--orders",
        default="1,2,3",
        choices=ORDERS,
        help="sizes of the layer tuples that are patched (default: 1,2,3)",
    )
    add(
        "--path-k",
        default="1,2,3",
        metavar="K,...",
        help="a head passes on from the K positions it attends to most; the first K decides, the "
        "others are shown (default: 1,2,3)",
    )
    add(
        "--max-paths",
        type=int,
        default=2_000_000,
        metavar="N",
        help="draw a token's paths if it has more (default: 2000000)",
    )
    add(
        "--path-granularity",
        default=GRANULARITIES[0],
        choices=GRANULARITIES,
        help="an edge of a path is all heads between two positions, or a single head "
        "(default: merged)",
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
        "--judge",
        metavar="URL",
        help="have valid responses judged at this OpenAI-compatible endpoint, as in "
        "http://localhost:8000/v1; its key is read from IVCLAIMS_JUDGE_KEY",
    )
    add("--judge-model", metavar="NAME", help="the model to ask there")
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
    add(
        "--expect",
        metavar="FILE",
        help="hold the cells to the verdicts in this file: a change of verdict fails",
    )
    add("--write-expect", metavar="FILE", help="write the verdicts of this run into this file")
    add("--expect-new", action="store_true", help="allow cells that --expect has no entry for")
    add("--expect-missing", action="store_true", help="allow entries of --expect without a cell")
    add(
        "--max-drift",
        type=float,
        metavar="X",
        help="fail a cell whose per-sample values moved by significantly more than X, in their "
        "unit, since --expect was written (its values must be in the store)",
    )
    add(
        "--shard",
        metavar="I/N",
        help="judge the I-th of N parts; a checkpoint is never split",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; where claims are judged, check the options and ask for a report."""
    config.addinivalue_line(
        "markers",
        "claim(record, metrics=(None,), per='checkpoint'): a claim of a paper, judged per "
        "checkpoint, pair, family or published",
    )
    named = _named_claims(config)
    if not named:
        return
    from ivfixtures.run import Run

    if config.option.htmlpath is None:
        config.option.htmlpath = str(config.invocation_params.dir / DEFAULT_REPORT)
        config.option.self_contained_html = True
    # Wrong options are reported here, before anything is collected.
    run = Run(config, measures=not all(name.startswith(PUBLISHED_FILES) for name in named))
    config.pluginmanager.register(run, RUN_NAME)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make the cells of a claim: one of every checkpoint, task and metric, or as it says."""
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
        pytest.param(subject, id=subject.id, marks=pytest.mark.xdist_group(subject.group))
        for subject in run.subjects(marker)
    ]
    metafunc.parametrize("cell", cells, indirect=True)


@pytest.fixture(scope="session")
def benches() -> dict[tuple[str, str], Bench]:
    """Benches of the present checkpoint, by checkpoint and task: claims share measurements."""
    return {}


@pytest.fixture
def cell(
    request: pytest.FixtureRequest, benches: dict[tuple[str, str], Bench]
) -> Cell | PublishedCell:
    """The cell that a claim's test judges."""
    from ivfixtures.run import CELL

    run: Any = request.config.pluginmanager.get_plugin(RUN_NAME)
    node = request.node
    claim = node.get_closest_marker("claim").args[0]
    # The id of a file that is named outside of pytest's root folder lacks the file.
    # Under xdist, its end is the group.
    name = node.nodeid.partition("::")[2].removesuffix(f"@{request.param.group}")
    nodeid = f"{node.path.name}::{name}"
    node.stash[CELL] = _cell(claim, request.param, benches, run, nodeid)
    return node.stash[CELL]


def _cell(
    claim: Claim,
    subject: Subject,
    benches: dict[tuple[str, str], Bench],
    run: Run,
    nodeid: str,
) -> Cell | PublishedCell:
    if not subject.checkpoints:
        from ivfixtures.published.cell import PublishedCell

        return PublishedCell(claim, subject, nodeid, run.hearing)
    from ivfixtures.bench import Bench
    from ivfixtures.cells import Cell

    labels = [checkpoint.label for checkpoint in subject.checkpoints]
    for other in [key for key in benches if key[0] not in labels]:
        del benches[other]
    own = []
    for checkpoint, task in product(subject.checkpoints, subject.tasks):
        at = (checkpoint.label, task.name)
        if at not in benches:
            benches[at] = Bench(checkpoint, task, run.options, run.store, run.show)
        benches[at].asked_for.clear()
        own.append(benches[at])
    return Cell(claim, subject, own, nodeid, run.hearing)


def _named_claims(config: pytest.Config) -> list[str]:
    """The last names, of files or folders, of the arguments that are of the folder of claims."""
    found = []
    for argument in config.args:
        name = argument.split("::")[0]
        if config.option.pyargs and name.split(".")[0] == claims.__name__:
            found.append(name.split(".")[-1])
            continue
        path = Path(config.invocation_params.dir, name).resolve()
        if path.is_relative_to(CLAIMS_FOLDER):
            found.append(path.name)
    return found

"""The pytest plugin: options, and the `cell` fixture that claims are judged with.

It is loaded in every pytest session of an environment, so it imports torch, transformers and
nnsight only where claims are judged. (nnsight also adds a `save` to all objects, which breaks
plugins that are imported after it.)
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from ivfixtures.errors import LineError, NotMeasuredError, error_line, printable
from ivfixtures.suite.arguments import check_texts, collect_claims, judges, named_claims
from ivfixtures.suite.declared_options import declare
from ivfixtures.suite.packs import selecting

if TYPE_CHECKING:
    from ivfixtures.suite.run import Run
    from ivfixtures.suite.subjects import JudgedCell, Subject

DEFAULT_REPORT = "reports/claims.html"
# Claims on published numbers: files that are called so need no checkpoint, and so no torch.
PUBLISHED_FILES = "test_published_"
RUN_NAME = "ivclaims-run"
_REFUSAL = ", but should be "  # as in `errors.error_line`
WORKER_NAME = "ivclaims-worker"  # of the plugin that an executor's workers have


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    declare(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; where claims are judged, check the options and ask for a report."""
    config.addinivalue_line(
        "markers",
        "claim(record, on, metrics, gates, needs, then): a claim of a paper, as "
        "ivfixtures.suite.claims.claim declares it",
    )
    if not config.pluginmanager.has_plugin("xdist"):  # which has the marker otherwise
        config.addinivalue_line("markers", "xdist_group: cells of one group share a process")
    named = named_claims(config)
    if not named:
        return
    if not config.pluginmanager.has_plugin("html"):
        remedy = "leave out -p no:html, or install pytest-html"
        line = error_line("plugin html", "missing", "loaded", "pytest", f"{remedy}: it has --html")
        raise pytest.UsageError(line)
    check_texts(config)
    collect_claims(config)
    from ivfixtures.suite.executing import Executing
    from ivfixtures.suite.run import Run

    if config.option.tbstyle == "auto":
        config.option.tbstyle = "short"  # frames of torch and nnsight fill pages otherwise
    if not judges(config):
        config.option.htmlpath = None
    elif config.option.htmlpath is None and not config.pluginmanager.has_plugin(WORKER_NAME):
        config.option.htmlpath = str(config.invocation_params.dir / DEFAULT_REPORT)
        config.option.self_contained_html = True
    # Wrong options are reported here, before anything is collected.
    run = Run(config, measures=not all(name.startswith(PUBLISHED_FILES) for name in named))
    config.pluginmanager.register(run, RUN_NAME)
    if not judges(config):
        run.end_unjudged()
        return
    if config.option.plan:
        from ivfixtures.suite.planning import Planning

        config.pluginmanager.register(Planning(config, run))
        return
    executing = Executing(config, run)
    if executing.is_needed:
        config.pluginmanager.register(executing)


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


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Let what is refused in one line fail its cells with that line alone, no traceback."""
    try:
        return (yield)
    except NotMeasuredError:
        raise
    except Exception as error:
        line = str(error)
        is_claim = pyfuncitem.get_closest_marker("claim") is not None
        is_line = is_claim and "\n" not in line and _REFUSAL in line
        if is_line or isinstance(error, LineError):
            raise pytest.fail.Exception(printable(line), pytrace=False) from None
        raise


@pytest.fixture
def cell(request: pytest.FixtureRequest) -> JudgedCell:
    """The cell that a claim's test judges."""
    from ivfixtures.suite.run import CELL

    run: Any = request.config.pluginmanager.get_plugin(RUN_NAME)
    run.turn_to(request.param)
    node = request.node
    node.stash[CELL] = cell_of(node, request.param, run)
    return node.stash[CELL]


def cell_of(node: Any, subject: Subject, run: Run) -> JudgedCell:
    """The cell of a collected test."""
    marker = node.get_closest_marker("claim")
    # The id of a file that is named outside of pytest's root folder lacks the file.
    # Under xdist, its end is the group.
    name = node.nodeid.partition("::")[2].removesuffix(f"@{subject.group}")
    *words, file = selecting(node.path, node.config.invocation_params.dir)
    selection = (*words, f"{file}::{name}")
    return marker.kwargs["on"].cell(marker, subject, selection, run)

"""Which jobs the selected cells make, and in which folders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from ivevidence.store.places import Folder
from ivfixtures.checkpoints import registry
from ivfixtures.checkpoints.resolving import CheckpointError, digests
from ivfixtures.measuring.environment import LIBRARIES, environment
from ivfixtures.measuring.executors.jobs import Job, JobFolder
from ivfixtures.suite.subjects import Subject
from ivmethods.methods import METHODS

if TYPE_CHECKING:
    from ivfixtures.checkpoints.resolving import Checkpoint
    from ivfixtures.suite.options import Options
    from ivfixtures.suite.run import Run

AWAY_FROM_STORE = ".ivclaims-jobs"


def waves(items: Sequence[pytest.Item], run: Run) -> list[list[JobFolder]]:
    """The jobs of the cells, in waves: those of the second look at what the first measured.

    A job of the first wave has all cells that are about one checkpoint alone, one of the second
    those about several that end with the same one (`Subject.group`). Cells on published numbers
    are in none.
    """
    groups: list[dict[str, list[pytest.Item]]] = [{}, {}]
    for item in items:
        if subject := subject_of(item):
            wave = groups[len(subject.checkpoints) > 1]
            wave.setdefault(subject.group, []).append(item)
    root = _root(run)
    found = [[_job(label, of, run) for label, of in wave.items()] for wave in groups]
    return [[JobFolder(root / job.digest, job) for job in wave] for wave in found if wave]


def subject_of(item: pytest.Item) -> Subject | None:
    """What a cell is about, if it is one that checkpoints are measured for."""
    marker = item.get_closest_marker("claim")
    if marker is None or not isinstance(item, pytest.Function):
        return None
    subject = cast(Subject, item.callspec.params["cell"])
    return subject if subject.checkpoints else None


def _root(run: Run) -> Path:
    place = run.store.place
    if isinstance(place, Folder):
        # Each user's own: they need not trust whom they share a store with.
        own = f"jobs-{os.geteuid()}" if hasattr(os, "geteuid") else "jobs"
        return place.path.absolute() / own
    return run.folder / AWAY_FROM_STORE


def _job(label: str, items: Sequence[pytest.Item], run: Run) -> Job:
    subjects = [subject for subject in map(subject_of, items) if subject]
    checkpoints = tuple(dict.fromkeys(c for subject in subjects for c in subject.checkpoints))
    options = run.options
    return Job(
        label=label,
        arguments=(
            *_collecting(run.config),
            *_selecting(checkpoints, run.config),
            *options.arguments(),
            *_storing(run),
        ),
        cells=tuple(item.nodeid for item in items),
        folder=str(run.folder),
        inputs=_inputs(checkpoints, options),
    )


def _collecting(config: pytest.Config) -> list[str]:
    """Arguments that give the cells the same node ids, and keep reports and other workers away."""
    option = config.option
    named = ["--pyargs"] if option.pyargs else []
    settings = ["-c", str(config.inipath)] if config.inipath else []
    loaded = dict.fromkeys([*option.plugins, "no:cacheprovider"])
    plugins = [word for name in loaded for word in ("-p", name)]
    return [
        *(*named, *config.args, *settings, "--rootdir", str(config.rootpath)),
        *("-o", "addopts=", "--import-mode", option.importmode, *plugins),
    ]


def _selecting(checkpoints: Sequence[Checkpoint], config: pytest.Config) -> list[str]:
    """Arguments that select the checkpoints: several, through the names that made them a family."""
    if len(checkpoints) == 1:
        return ["--checkpoint", checkpoints[0].name]
    names = {checkpoint.name for checkpoint in checkpoints}

    def making(option: str, given: Iterable[str], members: Any) -> list[str]:
        found = [one for one in given if names & {c.name for c in members(one)}]
        return [word for one in found for word in (option, one)]

    single, families = config.getoption("--checkpoint"), config.getoption("--family")
    return [
        *making("--checkpoint", single, registry.expand),
        *making("--family", families, registry.family),
    ]


def _storing(run: Run) -> list[str]:
    place, budget = run.store.place, run.config.getoption("--memory-budget")
    where = str(place.path.absolute()) if isinstance(place, Folder) else str(place)
    return ["--store", where, *(["--memory-budget", str(budget)] if budget else [])]


def _inputs(checkpoints: Sequence[Checkpoint], options: Options) -> dict[str, Any]:
    """What measurements depend on and the arguments do not say."""
    return {
        "checkpoints": {checkpoint.name: _digests(checkpoint) for checkpoint in checkpoints},
        "tasks": {name: task.digest for name, task in options.every_task.items()},
        "methods": {name: method.version for name, method in METHODS.items()},
        "versions": environment(LIBRARIES)["versions"],
    }


def _digests(checkpoint: Checkpoint) -> dict[str, str] | None:
    try:
        return vars(digests(checkpoint))
    except CheckpointError:
        return None  # the worker says so of each cell

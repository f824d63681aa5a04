"""Options of a run, checked before anything is loaded."""

import math
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from ivfixtures.checkpoints import resolving as registry
from ivfixtures.checkpoints.resolving import Checkpoint
from ivfixtures.data.bigbench import load_bigbench
from ivfixtures.data.endpoint import read_endpoint
from ivfixtures.data.settings import Settings
from ivfixtures.data.tasks import Task, TaskError, load_tasks
from ivfixtures.suite.declared_options import EXECUTORS
from ivfixtures.suite.remote import REMOTE_DEVICE, REMOTE_DTYPE, on_ndif, require_ndif

EMBEDDED_FAMILIES = ("tiny-olmo2", "tiny-olmo2-planted", *registry.planted_families())


@dataclass(frozen=True, kw_only=True)
class Options(Settings):
    """What a run of the suite judges, and how.

    families: by name, each in stage order. Checkpoints that were named singly make the families of
    which they are two or more, and otherwise families of their own.
    """

    checkpoints: tuple[Checkpoint, ...]
    families: dict[str, tuple[Checkpoint, ...]]
    tasks_folder: Path | None
    bigbench: str | None

    def of(self, checkpoint: Checkpoint) -> "Options":
        """The options of one checkpoint: one that was made for some tasks has these alone."""
        return replace(self, tasks=dict(self.tasks_of(checkpoint)))

    @property
    def every_task(self) -> dict[str, Task]:
        """The tasks of all checkpoints."""
        return {n: t for c in self.checkpoints for n, t in self.of(c).tasks.items()} | self.tasks

    @property
    def settings(self) -> dict[str, Any]:
        """The options that verdicts depend on, by name."""
        return {
            "--samples": self.samples,
            "--chat-template": self.chat_template,
            "--system-prompt": self.system_prompt,
            "--seed": self.seed,
            "--dtype": self.dtype,
            "--judge-model": self.judge.model if self.judge else None,
            "--measure-anyway": self.measure_anyway,
        }

    def arguments(self) -> list[str]:
        """Command-line arguments that measure the same again, but for the checkpoint."""
        folder = ["--tasks", str(self.tasks_folder)] if self.tasks_folder else []
        bigbench = ["--bigbench", self.bigbench] if self.bigbench else []
        anyway = ["--measure-anyway"] if self.measure_anyway else []
        system = [] if self.system_prompt is None else [f"--system-prompt={self.system_prompt}"]
        judge = ["--judge", self.judge.url, "--judge-model", self.judge.model] if self.judge else []
        return [
            *folder,
            *bigbench,
            *("--samples", str(self.samples), "--chat-template", self.chat_template, *system),
            *("--seed", str(self.seed)),
            *(["--remote"] if self.remote else ["--device", self.device, "--dtype", self.dtype]),
            *judge,
            *anyway,
        ]


def read_options(config: pytest.Config) -> Options:
    """Read and check the options; anything wrong is one line and nothing has been loaded yet.

    Raises:
        pytest.UsageError: an option, checkpoint name or task file is not what it should be.
    """
    get = config.getoption
    try:
        folder = Path(get("--tasks")) if get("--tasks") else None
        device, dtype, remote = get("--device"), get("--dtype"), get("--remote")
        elsewhere = get("--executor") != EXECUTORS[0] or get("--plan")
        checkpoints, families = _chosen(get("--checkpoint"), get("--family"))
        if remote:
            checkpoints = tuple(map(on_ndif, checkpoints))
            families = {name: tuple(map(on_ndif, some)) for name, some in families.items()}
            require_ndif(checkpoints, device=device, dtype=dtype)
        return Options(
            checkpoints=checkpoints,
            families=families,
            tasks=_tasks(folder, get("--bigbench")),
            tasks_folder=folder,
            bigbench=get("--bigbench"),
            device=REMOTE_DEVICE if remote else device if elsewhere else _device(device),
            dtype=REMOTE_DTYPE if remote else dtype,
            remote=remote,
            samples=_at_least("--samples", get("--samples"), 4),
            chat_template=get("--chat-template"),
            system_prompt=_system_prompt(get("--system-prompt"), get("--chat-template")),
            seed=_at_least("--seed", get("--seed"), 0),
            memory_budget=_memory_budget(get("--memory-budget")),
            judge=read_endpoint(get("--judge"), get("--judge-model")),
            measure_anyway=get("--measure-anyway"),
        )
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None


def _chosen(
    names: list[str], families: list[str]
) -> tuple[tuple[Checkpoint, ...], dict[str, tuple[Checkpoint, ...]]]:
    """The checkpoints to judge, each once, and the families that they make."""
    if not names and not families:
        families = list(EMBEDDED_FAMILIES)
    expanded = {name: registry.expand(name) for name in names}
    single = [checkpoint for members in expanded.values() for checkpoint in members]
    whole = {name: registry.family(name) for name in families}
    found = whole | {name: members for name, members in expanded.items() if len(members) > 1}
    named = {checkpoint.name: checkpoint for checkpoint in single}
    for name in registry.families():
        members = tuple(named[member] for member in registry.members(name) if member in named)
        if len(members) > 1:
            found.setdefault(name, members)
    for checkpoint in single:
        if not any(checkpoint in members for members in found.values()):
            found[checkpoint.name] = (checkpoint,)
    checkpoints = dict.fromkeys([*single, *(c for members in whole.values() for c in members)])
    return tuple(checkpoints), found


def _tasks(folder: Path | None, bigbench: str | None) -> dict[str, Task]:
    tasks = load_tasks(folder)
    added = load_bigbench(bigbench, folder) if bigbench else {}
    if twice := sorted(tasks.keys() & added.keys()):
        raise TaskError(
            f"task={twice[0]}, but should be defined once [{folder} and --bigbench]; rename it in "
            "tasks.toml"
        )
    return tasks | added


def _system_prompt(text: str | None, chat_template: str) -> str | None:
    if text is not None and chat_template == "never":
        raise ValueError(
            f"--system-prompt={text!r}, but should be left out [--chat-template never]; only chat "
            "templates have a place for it"
        )
    return text


def _device(name: str) -> str:
    if name == "auto":
        if find_spec("accelerate") is None:
            raise ValueError(
                "--device=auto, but should be one device without accelerate [environment]; "
                "pip install 'ivclaims[devices]'"
            )
        return name
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"--device={name}, but should be a device of this machine [{reason}]; try --device cpu"
        ) from None
    return name


def _at_least(option: str, value: int, least: int) -> int:
    if value < least:
        raise ValueError(f"{option}={value}, but should be at least {least} [command line]")
    return value


def _memory_budget(gib: float | None) -> int | None:
    if gib is None:
        return None
    if not 0 < gib < math.inf:
        raise ValueError(
            f"--memory-budget={gib}, but should be above 0 GiB and finite [command line]"
        )
    return int(gib * 2**30)

"""Options of a run, checked before anything is loaded."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from ivfixtures import checkpoints as registry
from ivfixtures.checkpoints import Checkpoint
from ivfixtures.plugin import ORDERS
from ivfixtures.tasks import Task, load_tasks

EMBEDDED_FAMILIES = ("tiny-olmo2", "tiny-olmo2-planted")


@dataclass(frozen=True)
class Options:
    """What a run of the suite judges, and how."""

    checkpoints: tuple[Checkpoint, ...]
    tasks: dict[str, Task]
    tasks_folder: Path | None
    device: str
    dtype: str
    samples: int
    order: int
    seed: int
    memory_budget: int
    store: Path
    measure_anyway: bool
    xfail_refuted: bool

    def arguments(self) -> list[str]:
        """Command-line arguments that measure the same again, but for the checkpoint."""
        folder = ["--tasks", str(self.tasks_folder)] if self.tasks_folder else []
        anyway = ["--measure-anyway"] if self.measure_anyway else []
        return [
            *folder,
            *("--samples", str(self.samples), "--orders", ORDERS[self.order - 1]),
            *("--seed", str(self.seed), "--device", self.device, "--dtype", self.dtype),
            *anyway,
        ]


def read_options(config: pytest.Config) -> Options:
    """Read and check the options; anything wrong is one line and nothing has been loaded yet.

    Raises:
        pytest.UsageError: an option, checkpoint name or task file is not what it should be.
    """
    get = config.getoption
    try:
        device, samples = str(get("--device")), _at_least("--samples", get("--samples"), 4)
        folder = Path(get("--tasks")) if get("--tasks") else None
        return Options(
            checkpoints=_checkpoints(get("--checkpoint"), get("--family")),
            tasks=load_tasks(folder),
            tasks_folder=folder,
            device=_device(device),
            dtype=get("--dtype"),
            samples=samples,
            order=len(get("--orders").split(",")),
            seed=_at_least("--seed", get("--seed"), 0),
            memory_budget=_memory_budget(get("--memory-budget"), device),
            store=Path(config.invocation_params.dir, get("--store")),
            measure_anyway=get("--measure-anyway"),
            xfail_refuted=get("--xfail-refuted"),
        )
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None


def _checkpoints(names: list[str], families: list[str]) -> tuple[Checkpoint, ...]:
    if not names and not families:
        families = list(EMBEDDED_FAMILIES)
    found = [registry.resolve(name) for name in names]
    found += [checkpoint for name in families for checkpoint in registry.family(name)]
    return tuple(dict.fromkeys(found))


def _device(name: str) -> str:
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


def _memory_budget(gib: float | None, device: str) -> int:
    if gib is not None:
        if not gib > 0:
            raise ValueError(f"--memory-budget={gib}, but should be above 0 GiB [command line]")
        return int(gib * 2**30)
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // 4
    meminfo = Path("/proc/meminfo")
    lines = meminfo.read_text().splitlines() if meminfo.is_file() else []
    free = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return min(2**30, (free or [2**32])[0] // 4)

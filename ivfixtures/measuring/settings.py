"""What measurements are made with, beside checkpoint and task."""

from collections.abc import Mapping
from dataclasses import dataclass

from ivfixtures.checkpoints.resolving import Checkpoint
from ivfixtures.data.tasks import Task, made_tasks
from ivfixtures.measuring.endpoint import Endpoint
from ivmethods.paths.graph import Granularity


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a run measures with.

    judge: who judges answers, if anyone. chat_template: one of CHAT_MODES; system_prompt: of the
    chats, None for the template's. device: `auto` spreads a model over all devices. remote: all
    checkpoints run on NDIF. memory_budget: bytes of one forward pass, None for what is free then.
    elsewhere: an executor measures, or nobody: device and weights are not looked at here.
    """

    tasks: dict[str, Task]
    device: str
    dtype: str
    remote: bool
    samples: int
    chat_template: str
    system_prompt: str | None
    order: int
    path_k: tuple[int, ...]
    path_granularity: Granularity
    max_paths: int
    seed: int
    memory_budget: int | None
    judge: Endpoint | None
    measure_anyway: bool
    elsewhere: bool = False

    def tasks_of(self, checkpoint: Checkpoint) -> Mapping[str, Task]:
        """Those of a run, or the tasks that a checkpoint was made for, whatever the run's are."""
        return made_tasks(checkpoint.tasks) if checkpoint.tasks else self.tasks

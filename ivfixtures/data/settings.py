"""What data is made with, and how it is measured."""

from collections.abc import Mapping
from dataclasses import dataclass

from ivfixtures.checkpoints.resolving import Checkpoint
from ivfixtures.data.endpoint import Endpoint
from ivfixtures.data.tasks import Task, made_tasks


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a run measures with.

    judge: who judges answers, if anyone. chat_template: one of CHAT_MODES; system_prompt: of the
    chats, None for the template's. device: `auto` spreads a model over all devices. remote: all
    checkpoints run on NDIF. memory_budget: bytes of one forward pass, None for what is free then.
    """

    tasks: dict[str, Task]
    device: str
    dtype: str
    remote: bool
    samples: int
    chat_template: str
    system_prompt: str | None
    seed: int
    memory_budget: int | None
    judge: Endpoint | None
    measure_anyway: bool

    def tasks_of(self, checkpoint: Checkpoint) -> Mapping[str, Task]:
        """Those of a run, or the tasks that a checkpoint was made for, whatever the run's are."""
        return made_tasks(checkpoint.tasks) if checkpoint.tasks else self.tasks

"""Data of embedded checkpoints and what is measured on them, where no run of pytest asks."""

from dataclasses import replace
from typing import Any

from ivevidence import Store
from ivfixtures.checkpoints.resolving import resolve
from ivfixtures.data.instructed import InstructedData
from ivfixtures.data.tasks import load_tasks
from ivfixtures.measuring.measurements import Measurements, Reader
from ivfixtures.measuring.requests import Request
from ivmethods.method import Method
from tests.running import OPTIONS

CHECKPOINT = "tiny-olmo2-sft"


def data_of(task: str = "adj_ant", checkpoint: str = CHECKPOINT, **changed: Any) -> InstructedData:
    """A packaged task's data; `changed` settings of a run."""
    tasks = load_tasks()
    settings = replace(OPTIONS, **{"tasks": tasks} | changed)
    return InstructedData(resolve(checkpoint), tasks[task], settings)


class Measured:
    """Measurements in a store, each read as claims are given it."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __call__(self, data: InstructedData, method: Method) -> Any:
        """The result of a method, after what comes before it."""
        return Reader(self.measurements(data))(Request(data, method))

    def measurements(self, data: InstructedData) -> Measurements:
        """What measures the data, by their settings."""
        dtype = data.settings.dtype
        return Measurements(self.store, device="cpu", dtype=dtype, memory_budget=2**28)

"""A pack of a stranger whose measurements fail as IVCLAIMS_FAULT says, a wave each.

`kill LABEL`: a measurement of that checkpoint ends the process. `full`: the store is. `slow`: they
take long. `count FOLDER`: what is measured leaves a file there; `linger FOLDER`: and takes longer.
`told FOLDER`: the worker leaves there which packages it has imported.
"""

import errno
import os
import shutil
import signal
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from ivevidence.store.places import Folder
from ivmethods.errors import NotRunnableError
from ivmethods.method import Array, Method

FAULT = "IVCLAIMS_FAULT"
KIND, _, DETAIL = os.environ.get(FAULT, "").partition(" ")
PAPER = """
from ivfixtures.suite.papers import Paper

PAPER = Paper(name="faults", title="Faults", arxiv="0000.00000")
"""
TEST = """
from faults.methods import Step
from faults.paper import PAPER
from ivevidence.records.cells import Decision
from ivfixtures.measuring.inquiry import Gate, Then
from ivfixtures.suite.claims import claim
from ivfixtures.suite.kinds import Instructed

TEXTS = dict.fromkeys(("title", "section", "quote", "estimand", "rule"), "Faults")
CLAIM = PAPER.claim("steps", level="L0", **TEXTS, thresholds={}, quantifier="all")


def step(number):
    return lambda data, settings: Step(f"{data.checkpoint.label} {data.name}", number)


@claim(
    CLAIM,
    on=Instructed(),
    metrics=("rr",),
    gates=[Gate("first", lambda data, settings, first: None, {"first": step(1)})],
    needs={"second": step(2)},
    then={"third": Then(lambda inquiry, second: step(3)(inquiry.data, None), like=step(3))},
)
def test_steps(cell, second, third):
    cell.conclude(Decision("supported", f"{second} and {third}", ()))
"""


def write_pack(folder):
    """Write the pack into a folder of its name."""
    folder.mkdir()
    for name, text in {"__init__": "", "paper": PAPER, "test_steps": TEST}.items():
        (folder / f"{name}.py").write_text(text)
    shutil.copy(__file__, folder / "methods.py")
    return folder


@dataclass(frozen=True)
class Step(Method):
    """A number, measured on a loaded model."""

    of: str
    number: int

    name: ClassVar = "step"
    forms: ClassVar = {"value": Array("float32", "")}

    @property
    def label(self):
        return str(self.number)

    def compute(self, inputs, running):
        if KIND == "kill" and self.of.startswith(DETAIL):
            os.kill(os.getpid(), signal.SIGKILL)
        if KIND == "cannot" and self.number:
            raise NotRunnableError("weights=elsewhere, but should be here [steps]; move them")
        if KIND == "slow":
            time.sleep(600)
        if KIND in ("count", "linger"):
            Path(DETAIL, f"{self.of} {self.number}.{uuid.uuid4().hex}").touch()
            time.sleep(2.5 if KIND == "linger" else 0.2)
        if KIND == "told":
            names = {name.partition(".")[0] for name in sys.modules}
            Path(DETAIL, uuid.uuid4().hex).write_text("\n".join(names))
        return {"value": np.float32(running.model.config.vocab_size + self.number)}, {}

    def read(self, result):
        return float(result.arrays["value"])


if KIND == "full":
    write = Folder.write

    def full(self, name, content):
        if name.endswith((".json", ".safetensors")):
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, name, content)

    Folder.write = full

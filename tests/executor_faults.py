"""A plugin of pytest for the workers of an executor: they fail as IVCLAIMS_FAULT says.

`kill LABEL`: a measurement of that checkpoint ends the process. `full`: the store is. `slow`: they
take long. `count FOLDER`: what is measured leaves a file there; `linger FOLDER`: and takes longer.
"""

import errno
import os
import signal
import time
import uuid
from pathlib import Path

import pytest

FAULT = "IVCLAIMS_FAULT"


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    kind, _, detail = os.environ.get(FAULT, "").partition(" ")
    if not kind or not config.pluginmanager.has_plugin("ivclaims-worker"):
        return
    from ivfixtures.measuring.bench import Bench

    from ivevidence.store.measurements import Store
    from ivevidence.store.places import Folder

    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    runs, write, compute = Bench.runs, Folder.write, Store._compute

    def killing(self):
        if self.checkpoint.label == detail:
            os.kill(os.getpid(), signal.SIGKILL)
        return runs(self)

    def full(self, name, content):
        if name.endswith((".json", ".safetensors")):
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, name, content)

    def slow(self):
        time.sleep(600)

    def counting(self, digest, *arguments):
        Path(detail, f"{digest}.{uuid.uuid4().hex}").touch()
        time.sleep(2.5 if kind == "linger" else 0.2)
        return compute(self, digest, *arguments)

    if kind == "kill":
        patch.setattr(Bench, "runs", killing)
    if kind == "full":
        patch.setattr(Folder, "write", full)
    if kind == "slow":
        patch.setattr(Bench, "runs", slow)
    if kind in ("count", "linger"):
        patch.setattr(Store, "_compute", counting)

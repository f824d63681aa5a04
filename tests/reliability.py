"""What tests of reliability share: a run that nothing happened to, and how others compare."""

import contextlib
import json
import shutil
from dataclasses import replace

import torch

from ivevidence import read_evidence
from tests.running import PAIRS, printed, write_tasks

ONE = ("claims.instruction_vectors.test_localization",)
# What is warned of is an error only where our own tests are run so.
MEASURED = ("--measure-anyway", *PAIRS, "--xfail-refuted", "-W", "default")


@contextlib.contextmanager
def one_thread():
    """Run torch on one thread, as another number of them rounds otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def lasting_tasks(base):
    """The tasks of all tests below a folder."""
    folder = base / "words"
    return folder if folder.exists() else write_tasks(folder)


def undisturbed(judge, base):
    """A folder with store, evidence and expectations of a run; made where it is not there yet."""
    folder = base / "undisturbed"
    if not folder.exists():
        files = ("--html", folder / "c.html", "--write-expect", folder / "expected.json")
        judge(*MEASURED, *files, "--store", folder / "store", only=ONE)
    return folder


def taken_over(folder, into):
    """The evidence of an undisturbed run, whose store and expectations are copied."""
    shutil.copytree(folder / "store", into / ".ivclaims")
    shutil.copy(folder / "expected.json", into)
    return read_evidence(folder / "c.evidence.json")


def found(evidence):
    """What evidence says that does not depend on when, where and from what it was made."""
    cells = []
    for cell in evidence.cells:
        provenance = {k: v for k, v in cell.provenance.items() if k not in ("seconds", "git")}
        cells.append(replace(cell, provenance=provenance, comparison=None).to_json())
    return cells, evidence.errors, evidence.run["planned"], evidence.run["interrupted"]


def evidence(pytester):
    return read_evidence(pytester.path / "reports" / "claims.evidence.json")


def stored(pytester):
    """The store's measurements: the paths of their records, by method and inputs."""
    paths = {}
    for path in (pytester.path / ".ivclaims").glob("*.json"):
        key = json.loads(path.read_text())["key"]
        if "method" in key:  # values that were kept for expectations have none
            paths[key["method"], key["inputs"]] = path
    return paths


def clean(result):
    """Whether a run ended in good order, with no more than its own lines."""
    text = printed(result)
    return "INTERNALERROR" not in text and "Traceback" not in text

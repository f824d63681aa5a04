"""Runs of the suite whose files are full, read-only, damaged or hostile; a clock that jumps."""

import errno
import json
import os
import pickle
import re
import resource
import shutil
import signal
import struct
import time
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest
from safetensors import numpy as safetensors

from ivevidence import digest_json, read_evidence
from ivevidence.store import ARRAYS_LIMIT, RECORD_LIMIT
from tests.suite import printed, write_tasks

ONE = ("claims.test_localization",)
MEASURED = ("--measure-anyway", "--orders", "1,2", "--xfail-refuted")


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """The tasks of all tests of this file."""
    return write_tasks(tmp_path_factory.mktemp("words") / "tasks")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Store, evidence and expectations of a run that nothing happened to; filled by the first."""
    return tmp_path_factory.mktemp("undisturbed")


@pytest.fixture
def before(judge, pytester, undisturbed):
    """The evidence of that run; its store and expectations lie in the test's folder."""
    if not (undisturbed / "evidence.json").exists():
        files = ("--html", undisturbed / "c.html", "--write-expect", undisturbed / "expected.json")
        judge(*MEASURED, *files, "--store", undisturbed / "store", only=ONE)
    shutil.copytree(undisturbed / "store", pytester.path / ".ivclaims")
    shutil.copy(undisturbed / "expected.json", pytester.path)
    return read_evidence(undisturbed / "evidence.json")


def evidence(pytester):
    return read_evidence(pytester.path / "reports" / "evidence.json")


def found(evidence):
    """What evidence says that does not depend on when, where and from what it was made."""
    cells = []
    for cell in evidence.cells:
        provenance = {k: v for k, v in cell.provenance.items() if k != "seconds"}
        cells.append(replace(cell, provenance=provenance, comparison=None).to_json())
    return cells, evidence.errors, evidence.run["planned"], evidence.run["interrupted"]


def stored(pytester):
    """The store's measurements by method and task: the paths of their records."""
    paths = {}
    for path in (pytester.path / ".ivclaims").glob("*.json"):
        key = json.loads(path.read_text())["key"]
        if "method" in key:
            paths[key["method"], key["task"]] = path
    return paths


def clean(result):
    """Whether the run ended in good order, with no more than its own lines."""
    text = printed(result)
    return "INTERNALERROR" not in text and "Traceback" not in text


@pytest.fixture
def full(monkeypatch):
    """Let the disk be full for files whose names match a pattern."""
    real = os.fsync

    def fill(pattern):
        def fsync(handle):
            if fnmatch(os.readlink(f"/proc/self/fd/{handle}"), pattern):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(handle)

        monkeypatch.setattr(os, "fsync", fsync)

    return fill


@pytest.mark.parametrize("name", ["evidence.json", "claims.html", "e.json"])
def test_a_full_disk_is_told_with_the_file_and_what_to_do(judge, pytester, before, full, name):
    folder = pytester.path if name == "e.json" else pytester.path / "reports"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("of an earlier run")
    full(f"*/.{name}.*")
    result = judge(*MEASURED, "--write-expect", "e.json", only=ONE)
    assert result.ret == 1
    assert clean(result)
    result.stdout.fnmatch_lines(
        [f"not written: */{name} (*No space left on device*); when that is mended, run again"]
    )
    assert "2 refuted" in printed(result) or "inconclusive" in printed(result)
    assert (folder / name).read_text() == "of an earlier run"
    left = {path.name for path in (pytester.path / "reports").iterdir()} | {"e.json"}
    assert left == {"evidence.json", "claims.html", "e.json"}

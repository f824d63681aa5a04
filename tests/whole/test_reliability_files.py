"""Runs of the suite whose files are full, read-only, damaged or hostile; a clock that jumps."""

import contextlib
import errno
import hashlib
import json
import os
import pickle
import resource
import shutil
import signal
import struct
import time
from fnmatch import fnmatch
from pathlib import Path

import pytest

import ivfixtures.measuring.measurements  # noqa: F401 - lest runs in this process import their own
import ivmethods.methods  # noqa: F401
from ivevidence import EvidenceError, canonical_json, digest_json
from ivevidence.compare.expectations import read_expectations
from ivevidence.store.measurements import ARRAYS_LIMIT, RECORD_LIMIT
from ivmethods.model.methods import Runs
from tests.reliability import (
    MEASURED,
    ONE,
    clean,
    evidence,
    found,
    lasting_tasks,
    one_thread,
    stored,
    taken_over,
    undisturbed,
)
from tests.running import printed


@pytest.fixture(autouse=True)
def same_rounding():
    """Let runs be equal to the bit."""
    with one_thread():
        yield


@pytest.fixture
def tasks(tmp_path_factory):
    """The tasks of all tests, so that measurements can be shared."""
    return lasting_tasks(tmp_path_factory.getbasetemp())


@pytest.fixture
def before(judge, pytester, tmp_path_factory):
    """The evidence of an undisturbed run; its store and expectations lie in the test's folder."""
    return taken_over(undisturbed(judge, tmp_path_factory.getbasetemp()), pytester.path)


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


@pytest.mark.parametrize("name", ["claims.evidence.json", "claims.html", "e.json"])
def test_a_full_disk_is_told_with_the_file_and_what_to_do(judge, pytester, before, full, name):
    folder = pytester.path if name == "e.json" else pytester.path / "reports"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("of an earlier run")
    full(f"*/.{name}.*")
    result = judge(*MEASURED, "--write-expect", "e.json", only=ONE)
    assert result.ret == 1
    assert clean(result)
    result.stdout.fnmatch_lines(
        [f"not written: */{name} (No space left on device); when that is mended, run again"]
    )
    assert "2 refuted" in printed(result) or "inconclusive" in printed(result)
    assert (folder / name).read_text() == "of an earlier run"
    left = {path.name for path in (pytester.path / "reports").iterdir()} | {"e.json"}
    assert left == {"claims.evidence.json", "claims.html", "e.json"}


def test_a_write_that_stops_halfway_leaves_no_half_file(judge, pytester, before):
    shutil.rmtree(pytester.path / ".ivclaims")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, hard))
    try:
        result = judge(*MEASURED, only=ONE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert result.ret == 1
    assert clean(result)
    result.stdout.fnmatch_lines(
        [
            "*StoreWarning: measurements are not kept for later runs: *File too large*",
            "2 inconclusive",
            "not written: */claims.evidence.json (File too large); when that is mended, run again",
            "not written: */claims.html (File too large); when that is mended, run again",
        ]
    )
    assert "Generated html report" not in printed(result)
    assert not list((pytester.path / "reports").iterdir())
    assert not list((pytester.path / ".ivclaims").glob(".*"))
    again = judge(*MEASURED, only=ONE)
    assert again.ret == 0
    assert found(evidence(pytester)) == found(before)
    assert 0 < evidence(pytester).run["measured"] < before.run["measured"]


def test_a_measurement_that_cannot_be_kept_is_a_warning_and_its_cell_is_judged(
    judge, pytester, before, full
):
    shutil.rmtree(pytester.path / ".ivclaims")
    full("*.safetensors.*")
    result = judge(*MEASURED, only=ONE)
    assert result.ret == 0
    assert printed(result).count("StoreWarning: ") == 1
    result.stdout.fnmatch_lines(["*not kept for later runs: *No space left*free some space*"])
    assert found(evidence(pytester)) == found(before)
    assert not stored(pytester)


def test_a_store_that_cannot_be_made_is_one_line_before_anything_is_measured(judge, pytester):
    (pytester.path / "file").write_text("")
    result = judge(*MEASURED, "--store", "file/store", only=ONE)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in printed(result).splitlines() if "--store" in line]
    assert "but should be a folder" in line


def test_a_store_that_can_only_be_read_is_read(judge, pytester, before, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for name in ("create", "write"):
        monkeypatch.setattr(f"ivevidence.store.places.Folder.{name}", refuse)
    result = judge(*MEASURED, only=ONE)
    assert result.ret == 0
    assert "StoreWarning" not in printed(result)
    assert found(evidence(pytester)) == found(before)
    assert evidence(pytester).run["measured"] == 0


def test_a_clock_that_jumps_changes_nothing(judge, pytester, before, monkeypatch):
    offsets = [0.0, -86400.0, 3e7, -5e9]
    real, calls = time.time, []

    def jumping():
        calls.append(1)
        return real() + offsets[len(calls) % len(offsets)]

    for number, path in enumerate(sorted((pytester.path / ".ivclaims").iterdir())):
        os.utime(path, (0, 0) if number % 2 else (4e9, 4e9))
    monkeypatch.setattr("time.time", jumping)
    monkeypatch.setattr("_pytest.timing.time", jumping)
    result = judge(*MEASURED, "--expect", "expected.json", only=ONE)
    monkeypatch.undo()
    assert calls
    assert clean(result)
    result.stdout.fnmatch_lines(["*2 as expected", "measurements: nothing measured again, 20 re*"])
    assert found(evidence(pytester)) == found(before)


def _deep(path):
    path.write_text("[" * 10_000_000)


def _wide(path):
    path.write_text("[" + "[]," * 300_000 + "[]]")


def _link(path):
    outside = path.parents[1] / f"{path.name}.outside"
    shutil.move(path, outside)
    path.symlink_to(outside)


def _folder(path):
    path.unlink()
    path.mkdir()


def _pipe(path):
    path.unlink()
    os.mkfifo(path)


def _huge(path):
    with path.open("wb") as file:
        file.truncate((RECORD_LIMIT if path.suffix == ".json" else ARRAYS_LIMIT) + 1)


def _pickled(path):
    path.write_bytes(pickle.dumps(Trap(str(path.parents[1] / "executed"))))


def _truncated(path):
    path.write_bytes(path.read_bytes()[:-9])


def _flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _petabytes(path):
    """A header that agrees with its digest and claims more than there is."""
    arrays = {"effects": {"dtype": "F32", "shape": [2**48], "data_offsets": [0, 2**50]}}
    header = json.dumps(arrays).encode()
    _sealed(path, struct.pack("<Q", len(header)) + header)


def _endless(path):
    _sealed(path, struct.pack("<Q", 2**62))


def _sealed(path, content):
    """Put a file of arrays under a record that is intact."""
    path.write_bytes(content)
    record = json.loads(path.with_suffix(".json").read_text())
    del record["sha256"]
    record["arrays_sha256"] = hashlib.sha256(content).hexdigest()
    record["sha256"] = digest_json(record)
    path.with_suffix(".json").write_text(canonical_json(record))


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


RECORDS = (_deep, _wide, _link, _folder, _pipe, _huge, _pickled, _truncated, _flipped)
ARRAYS = (_petabytes, _endless, _link, _folder, _pipe, _huge, _pickled, _truncated, _flipped)


def test_what_is_damaged_or_hostile_in_a_store_is_measured_again(judge, pytester, before):
    paths = [path for _, path in sorted(stored(pytester).items())]
    spoiled = paths[: len(RECORDS) + len(ARRAYS)]
    for path, spoil in zip(spoiled, RECORDS, strict=False):
        spoil(path)
    for path, spoil in zip(spoiled[len(RECORDS) :], ARRAYS, strict=True):
        spoil(path.with_suffix(".safetensors"))
    outside = {path: path.read_bytes() for path in pytester.path.glob("*.outside")}
    memory, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    result = judge(*MEASURED, "--expect", "expected.json", only=ONE)
    assert time.monotonic() - start < 30
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 500_000  # KiB
    assert clean(result)
    assert "2 as expected" in printed(result)
    assert found(evidence(pytester)) == found(before)
    assert evidence(pytester).run["measured"] == len(spoiled)
    said = printed(result).count("stored measurement is damaged, so it is measured again: ")
    assert said == len(spoiled)
    assert len(outside) == 2
    assert {path: path.read_bytes() for path in outside} == outside
    assert not (pytester.path / "executed").exists()


def test_leases_that_lead_elsewhere_are_not_followed(judge, pytester, before):
    outside = pytester.path / "outside"
    outside.write_text("of somebody else")
    for path in stored(pytester).values():
        path.unlink()
        path.with_suffix(".lease").symlink_to(outside)
    judge(*MEASURED, only=ONE)
    assert found(evidence(pytester)) == found(before)
    assert outside.read_text() == "of somebody else"


def test_links_in_the_place_of_results_are_replaced(judge, pytester, before):
    outside = pytester.path / "outside"
    outside.write_text("of somebody else")
    (pytester.path / "reports").mkdir()
    for name in ("claims.evidence.json", "claims.html"):
        (pytester.path / "reports" / name).symlink_to(outside)
    judge(*MEASURED, only=ONE)
    assert outside.read_text() == "of somebody else"
    assert found(evidence(pytester)) == found(before)


def test_measurements_of_another_version_are_not_taken(judge, pytester, before, monkeypatch):
    """And only those of the method that has another version."""
    monkeypatch.setattr(Runs, "version", 0)
    judge(*MEASURED, only=ONE)
    after = evidence(pytester)
    assert after.run["measured"] == len({cell.task for cell in after.cells})
    for one, other in zip(before.cells, after.cells, strict=True):
        differing = {*one.measurements.items()} ^ {*other.measurements.items()}
        assert {role for role, _ in differing} == {"runs"}


def test_measurements_of_other_weights_or_tokenizers_are_not_taken(
    judge, pytester, before, checkpoint
):
    for name in ("config.json", "tokenizer_config.json"):
        other = pytester.path / f"another-{name.split('_')[0]}"
        shutil.copytree(checkpoint, other)
        content = json.loads((other / name).read_text())
        (other / name).write_text(json.dumps({**content, "nothing": 1}))
    others = [word for path in pytester.path.glob("another-*") for word in ("--checkpoint", path)]
    judge(*MEASURED, *others, "-k", "another and adj_ant", only=ONE)
    taken = {digest for cell in before.cells for digest in cell.measurements.values()}
    cells = evidence(pytester).cells
    assert len(cells) == 2
    for cell in cells:
        assert taken.isdisjoint(cell.measurements.values())
        taken |= {*cell.measurements.values()}


def test_values_of_expectations_that_are_no_values_of_the_cell_are_refused(judge, pytester, before):
    path = pytester.path / "expected.json"
    good = path.read_text()
    first, second = (
        entry["values"] for entry in next(iter(json.loads(good)["cells"].values())).values()
    )
    sweep = before.cells[0].measurements["sweep instruction paper"]
    for values, said in [
        (sweep, "values='another measurement', but should be the values of *expected.json*"),
        (second, "values='instruction_vectors/*adj_comp*', but should be the values of *adj_ant*"),
        ("../" * 10, "*digest=*but should be 64 hexadecimal digits*expected.json*"),
    ]:
        path.write_text(good.replace(first, values, 1))
        result = judge(*MEASURED, "--expect", "expected.json", "--max-drift", "0.1", only=ONE)
        assert result.ret == 4
        result.stderr.fnmatch_lines([f"*ERROR: *{said}"])
        assert len(result.errlines) == 2


def test_damaged_expectations_are_one_line_before_anything_is_measured(judge, pytester, before):
    path = pytester.path / "expected.json"
    content = path.read_bytes()
    changed = bytearray(content)
    changed[content.index(b'"verdict"') + 1] ^= 1
    evidence_file = b'{"schema": 3, "run": {}, "cells": []}'
    for damaged in (content[:-5], content[: len(content) // 2], b"", changed, evidence_file):
        path.write_bytes(damaged)
        result = judge(*MEASURED, "--expect", "expected.json", only=ONE)
        assert result.ret == 4
        result.stderr.fnmatch_lines(["ERROR: *but should be *expected.json*--write-expect"])
        assert len(result.errlines) == 2
        assert not (pytester.path / "reports" / "claims.evidence.json").exists()


def test_any_flipped_bit_of_expectations_is_read_or_refused(pytester, before):
    path = pytester.path / "expected.json"
    content = path.read_bytes()
    for place in range(0, len(content), 3):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        with contextlib.suppress(EvidenceError):
            read_expectations(path)

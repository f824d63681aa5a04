import hashlib
import json
import multiprocessing
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivevidence import EvidenceError, canonical_json, digest_json
from ivfixtures.checkpoints import file_digests
from ivfixtures.checkpoints.file_digests import file_digest
from ivfixtures.checkpoints.resolving import CheckpointError, digests, resolve
from ivfixtures.checkpoints.weights import digest, folder_files

FORK = multiprocessing.get_context("fork")

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(plain)
def test_a_digest_survives_json_and_ignores_the_order_of_keys(value):
    def shuffled(item):
        if isinstance(item, dict):
            return {key: shuffled(item[key]) for key in reversed(item)}
        return [shuffled(part) for part in item] if isinstance(item, list) else item

    assert digest_json(json.loads(canonical_json(value))) == digest_json(value)
    assert digest_json(shuffled(value)) == digest_json(value)


@pytest.mark.parametrize("value", [{1: 2}, [float("nan")], {"a": float("inf")}, {"a": {2}}, b"x"])
def test_what_has_no_single_json_text_is_refused(value):
    with pytest.raises(EvidenceError):
        digest_json(value)


def test_different_values_have_different_digests():
    values = [{"a": 1}, {"a": "1"}, {"a": 1.0}, {"a": True}, {"a": None}, {"b": 1}, [], {}, [[]]]
    assert len({digest_json(value) for value in values}) == len(values)


# Digests of files


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty cache, into which digests of files go however young they are."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(file_digests, "SETTLED_NS", 0)
    return tmp_path / "cache" / "ivclaims" / "digests"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"before")
    return path


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def unread(monkeypatch):
    """From now on, a file that is read is an error."""
    monkeypatch.setattr("hashlib.file_digest", lambda *_: pytest.fail("a file was read"))


def test_the_cache_of_a_test_is_not_the_developers(tmp_path_factory):
    assert file_digests.cache_folder().is_relative_to(tmp_path_factory.getbasetemp())


@pytest.mark.parametrize("given", ["", "relative/folder"])
def test_the_cache_is_in_the_users_home_unless_another_is_named(given, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", given)
    assert file_digests.cache_folder() == tmp_path / ".cache" / "ivclaims"


def test_the_second_call_reads_no_file(cache, file, monkeypatch):
    link = file.with_name("link")
    link.symlink_to(file)
    assert file_digest(file) == sha256(b"before")
    (entry,) = cache.iterdir()
    assert json.loads(entry.read_text())["path"] == str(file)
    unread(monkeypatch)
    assert file_digest(file) == file_digest(link) == sha256(b"before")


def test_the_digests_of_a_checkpoint_are_read_once_a_machine(cache, checkpoint, monkeypatch):
    digests.cache_clear()
    first = digests(resolve(str(checkpoint)))
    digests.cache_clear()
    unread(monkeypatch)
    assert digests(resolve(str(checkpoint))) == first


def test_a_file_that_was_changed_in_place_is_read_again(cache, file):
    before = file.stat()
    assert file_digest(file) == sha256(b"before")
    with file.open("r+b") as opened:
        opened.write(b"after!")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # as rsync and tar do
    assert file.stat().st_size == before.st_size
    assert file_digest(file) == sha256(b"after!")


def test_a_file_that_was_replaced_is_read_again(cache, file):
    before = file.stat()
    assert file_digest(file) == sha256(b"before")
    other = file.with_name("other")
    other.write_bytes(b"after!")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(file)
    assert file_digest(file) == sha256(b"after!")


def test_a_file_that_may_still_change_unseen_is_not_kept(cache, file, monkeypatch):
    monkeypatch.setattr(file_digests, "SETTLED_NS", 10**12)
    assert file_digest(file) == sha256(b"before")
    assert not cache.exists()


def test_a_file_that_changes_while_it_is_read_is_not_kept(cache, file, monkeypatch):
    def slow(opened, name):
        found = digest_of(opened, name)
        file.write_bytes(b"longer than before")
        return found

    digest_of = hashlib.file_digest
    monkeypatch.setattr("hashlib.file_digest", slow)
    file_digest(file)
    assert not cache.exists()


def _foreign(entry):
    entry.write_text(json.dumps(json.loads(entry.read_text()) | {"path": "/other"}))


def _no_digest(entry):
    entry.write_text(json.dumps(json.loads(entry.read_text()) | {"sha256": "0" * 63}))


def _list(entry):
    entry.write_text("[]")


def _number(entry):
    entry.write_text(json.dumps(json.loads(entry.read_text()) | {"sha256": 5}))


def _deep(entry):
    entry.write_text("[" * 9000)


def _link(entry):
    entry.unlink()
    entry.symlink_to("/dev/zero")


def _folder(entry):
    entry.unlink()
    entry.mkdir()


def _bytes(entry):
    entry.write_bytes(b"\xff\x00")


@pytest.mark.parametrize(
    "damage", [_foreign, _no_digest, _list, _number, _deep, _link, _folder, _bytes]
)
def test_a_damaged_entry_is_passed_over(cache, file, damage):
    file_digest(file)
    (entry,) = cache.iterdir()
    damage(entry)
    assert file_digest(file) == sha256(b"before")
    assert [path.name for path in cache.iterdir()] == [entry.name]  # nothing half-written


def test_a_cache_that_cannot_be_written_is_no_error(cache, file):
    cache.parent.parent.write_text("a file where the folder should be")
    assert file_digest(file) == file_digest(file) == sha256(b"before")


def test_without_a_home_there_is_no_cache_and_no_error(file, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert file_digest(file) == sha256(b"before")


def test_processes_share_the_cache(cache, tmp_path, monkeypatch):
    contents = {tmp_path / str(i): bytes([i]) * 1000 for i in range(30)}
    for path, content in contents.items():
        path.write_bytes(content)
    expected = [sha256(content) for content in contents.values()]
    with FORK.Pool(4) as pool:
        found = pool.map(_all_digests, [list(contents)] * 8)
    assert found == [expected] * 8
    assert len(list(cache.iterdir())) == len(contents)
    unread(monkeypatch)
    assert _all_digests(contents) == expected


def _all_digests(paths):
    return [file_digest(path) for path in paths]


def test_a_file_that_cannot_be_read_is_one_line(checkpoint, tmp_path):
    folder = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    found = resolve(str(folder))
    files = folder_files(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"file=No such file.*tokenizer\.json"):
        digest(files.tokenizer)
    with pytest.raises(CheckpointError, match="tokenizer=missing"):
        digests(found)

import errno
import json
import multiprocessing
import os
import resource
import signal
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from ivevidence import EvidenceError, Store, StoreWarning, canonical_json, digest_json
from ivevidence.files import write_atomic

KEY = {"weights": "9c" * 32, "method": "sweep", "version": 1, "parameters": {"orders": [1, 2]}}
DTYPES = (
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint64",
    "float16",
    "float32",
    "float64",
)
FORK = multiprocessing.get_context("fork")


def compute():
    return {"effects": np.arange(12.0).reshape(3, 4)}, {"samples": 3}


def unreachable():
    raise AssertionError("measured again")


def paths(folder: Path) -> tuple[Path, Path]:
    digest = digest_json(KEY)
    return folder / f"{digest}.safetensors", folder / f"{digest}.json"


@given(
    st.dictionaries(
        st.text(max_size=6).filter(lambda name: name != "__metadata__"),
        st.sampled_from(DTYPES).flatmap(
            lambda dtype: arrays_of.arrays(
                st.sampled_from([np.dtype(dtype), np.dtype(dtype).newbyteorder(">")]),
                arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
            )
        ),
        max_size=3,
    )
)
@settings(deadline=None, max_examples=60)
def test_arrays_come_back_bit_for_bit(tmp_path_factory, arrays):
    folder = tmp_path_factory.mktemp("store")
    first = Store(folder).measure(KEY, lambda: (arrays, {}))
    again = Store(folder).measure(KEY, unreachable)
    assert set(arrays) == set(first.arrays) == set(again.arrays)
    for name, array in arrays.items():
        for kept in (first.arrays[name], again.arrays[name]):
            assert kept.shape == array.shape
            assert kept.dtype == array.dtype.newbyteorder("=")
            assert kept.tobytes() == array.astype(array.dtype.newbyteorder("=")).tobytes()


def test_a_view_that_is_not_contiguous_is_kept_as_it_reads(tmp_path):
    array = np.arange(24.0).reshape(4, 6)[::2, ::-3].T
    Store(tmp_path).measure(KEY, lambda: ({"a": array}, {}))
    np.testing.assert_array_equal(Store(tmp_path).measure(KEY, unreachable).arrays["a"], array)


def test_a_measurement_is_computed_once_and_then_reused(tmp_path):
    store, later = Store(tmp_path), Store(tmp_path)
    first = store.measure(KEY, compute)
    again = store.measure(KEY, unreachable)
    much_later = later.measure(dict(reversed(KEY.items())), unreachable)
    assert (first.reused, again.reused, much_later.reused) == (False, True, True)
    assert (store.measured, store.reused, later.measured, later.reused) == (1, 1, 0, 1)
    assert first.info == again.info == {"samples": 3}
    assert first.digest == again.digest == digest_json(KEY)
    assert later.find(first.digest).key == KEY


def test_another_version_or_parameter_is_another_measurement(tmp_path):
    store = Store(tmp_path)
    for key in (KEY, {**KEY, "version": 2}, {**KEY, "parameters": {"orders": [1]}}):
        assert not store.measure(key, compute).reused
    assert store.measured == 3


def test_info_is_the_same_when_fresh_and_when_reused(tmp_path):
    info = {"shape": (3, 4), "gap": np.float32(0.5), "bad": float("nan")}
    first = Store(tmp_path).measure(KEY, lambda: ({}, info))
    assert first.info == Store(tmp_path).measure(KEY, unreachable).info
    assert first.info == {"shape": [3, 4], "gap": 0.5, "bad": None}


@pytest.mark.parametrize(
    "array", [np.array(["a"]), np.array([None]), np.array([1j]), np.array([b""])]
)
def test_arrays_without_a_portable_form_are_refused(tmp_path, array):
    with pytest.raises(EvidenceError, match=r"array='a: .*but should be booleans"):
        Store(tmp_path).measure(KEY, lambda: ({"a": array}, {}))


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(
    "damage", ["truncate", "empty", "flip", "junk", "remove", "link", "folder"]
)
def test_a_damaged_file_is_measured_again(tmp_path, which, damage):
    Store(tmp_path).measure(KEY, compute)
    path = paths(tmp_path)[which]
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    changed = {"truncate": content[:-5], "empty": b"", "flip": flipped, "junk": b"\xff" * 99}
    path.unlink()
    if damage in changed:
        path.write_bytes(changed[damage])
    elif damage == "link":
        (tmp_path / "elsewhere").write_bytes(content)
        path.symlink_to(tmp_path / "elsewhere")
    elif damage == "folder":
        path.mkdir()
    store = Store(tmp_path)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        measurement = store.measure(KEY, compute)
    assert not measurement.reused
    np.testing.assert_array_equal(measurement.arrays["effects"], compute()[0]["effects"])
    if damage != "remove":
        assert "damaged" in str(said[0].message)
    if damage != "folder":
        assert Store(tmp_path).measure(KEY, unreachable).reused
    if damage == "link":
        assert (tmp_path / "elsewhere").read_bytes() == content


def test_every_flipped_bit_is_noticed(tmp_path):
    Store(tmp_path).measure(KEY, compute)
    for path in paths(tmp_path):
        content = path.read_bytes()
        for place in range(len(content)):
            changed = bytearray(content)
            changed[place] ^= 1 << place % 8
            path.write_bytes(changed)
            found = Store(tmp_path).find(digest_json(KEY))
            assert (
                found is None
                or found.arrays["effects"].tolist() == compute()[0]["effects"].tolist()
            )
            assert found is None or (found.key, found.info) == (KEY, {"samples": 3})
        path.write_bytes(content)
    assert Store(tmp_path).measure(KEY, unreachable).reused


def test_a_record_of_another_key_is_not_accepted(tmp_path):
    other = {**KEY, "method": "another"}
    Store(tmp_path).measure(other, lambda: ({"effects": np.zeros(3)}, {}))
    for path in list(tmp_path.glob("*.safetensors")) + list(tmp_path.glob("*.json")):
        path.rename(path.with_name(path.name.replace(digest_json(other), digest_json(KEY))))
    with pytest.warns(StoreWarning, match="sha256 of key"):
        measurement = Store(tmp_path).measure(KEY, compute)
    assert not measurement.reused
    assert measurement.arrays["effects"].shape == (3, 4)


@pytest.mark.parametrize(
    "change", [{"schema": 2}, {"extra": 1}, {"key": []}, {"info": None}, {"arrays_sha256": 5}]
)
def test_a_foreign_record_that_agrees_with_itself_is_not_accepted(tmp_path, change):
    Store(tmp_path).measure(KEY, compute)
    record_path = paths(tmp_path)[1]
    record = json.loads(record_path.read_text()) | change
    del record["sha256"]
    record["sha256"] = digest_json(record)
    record_path.write_text(canonical_json(record))
    assert Store(tmp_path).find(digest_json(KEY)) is None


@pytest.mark.parametrize(
    "digest", ["", "..", "../" * 20 + "etc", "a" * 63, "A" * 64, "a" * 64 + "\n"]
)
def test_a_digest_that_could_lead_elsewhere_is_refused(tmp_path, digest):
    with pytest.raises(EvidenceError, match="64 hexadecimal digits"):
        Store(tmp_path).find(digest)


def _measure_slowly(folder: Path, counter: Path, barrier) -> None:
    def slowly():
        with counter.open("a") as file:
            file.write("x")
        barrier.wait(timeout=0.3) if barrier.n_waiting else None
        return compute()

    barrier.wait(timeout=10)
    Store(folder).measure(KEY, slowly)


def test_two_processes_measure_the_same_key_once(tmp_path):
    barrier = FORK.Barrier(4)
    workers = [
        FORK.Process(target=_measure_slowly, args=(tmp_path / "s", tmp_path / "count", barrier))
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert (tmp_path / "count").read_text() == "x"


def _die_in_compute(folder: Path) -> None:
    Store(folder).measure(KEY, lambda: os.kill(os.getpid(), signal.SIGKILL))


def _die_between_the_writes(folder: Path) -> None:
    import ivevidence.store

    write = ivevidence.store.write_atomic

    def write_then_die(path, content):
        write(path, content)
        os.kill(os.getpid(), signal.SIGKILL)

    ivevidence.store.write_atomic = write_then_die
    Store(folder).measure(KEY, compute)


def _die_before_the_rename(folder: Path) -> None:
    os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    Store(folder).measure(KEY, compute)


@pytest.mark.parametrize(
    "death", [_die_in_compute, _die_between_the_writes, _die_before_the_rename]
)
def test_a_killed_process_loses_only_the_measurement_in_flight(tmp_path, death):
    other = {**KEY, "method": "another"}
    Store(tmp_path).measure(other, compute)
    worker = FORK.Process(target=death, args=(tmp_path,))
    worker.start()
    worker.join(20)
    assert worker.exitcode == -signal.SIGKILL
    store = Store(tmp_path)
    assert store.measure(other, unreachable).reused
    assert store.find(digest_json(KEY)) is None
    assert not store.measure(KEY, compute).reused
    assert Store(tmp_path).measure(KEY, unreachable).reused
    assert not list(tmp_path.glob(".*.tmp"))


def test_an_interrupted_measurement_frees_its_lock_and_leaves_nothing(tmp_path):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path).measure(KEY, interrupted)
    assert not Store(tmp_path).measure(KEY, compute).reused


def _refuse_to_write(number: int):
    def write(path, content):
        raise OSError(number, os.strerror(number), str(path))

    return write


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_store_that_cannot_be_written_gives_results_and_one_warning(
    tmp_path, monkeypatch, number
):
    monkeypatch.setattr("ivevidence.store.write_atomic", _refuse_to_write(number))
    store = Store(tmp_path)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        first = store.measure(KEY, compute)
        store.measure({**KEY, "version": 2}, compute)
    assert [warning.category for warning in said] == [StoreWarning]
    assert "not kept" in str(said[0].message)
    assert "\n" not in str(said[0].message)
    assert first.arrays["effects"].shape == (3, 4)
    assert store.measure(KEY, unreachable).reused, "kept for the life of the store"
    assert not list(tmp_path.glob("*.json"))


def test_a_folder_that_cannot_be_made_gives_results_and_one_warning(tmp_path):
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file" / "store")
    with pytest.warns(StoreWarning, match="not kept"):
        assert store.measure(KEY, compute).info == {"samples": 3}


def test_an_intact_measurement_is_reused_from_a_store_that_cannot_be_locked(tmp_path, monkeypatch):
    Store(tmp_path).measure(KEY, compute)
    monkeypatch.setattr("filelock.FileLock.acquire", _refuse_to_write(errno.EROFS))
    assert Store(tmp_path).measure(KEY, unreachable).reused


def _measure_on_a_small_disk(folder: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    with pytest.warns(StoreWarning, match="not kept"):
        big = Store(folder).measure(KEY, lambda: ({"a": np.ones(10_000)}, {}))
    assert big.arrays["a"].sum() == 10_000


def test_a_write_that_stops_halfway_leaves_no_file(tmp_path):
    worker = FORK.Process(target=_measure_on_a_small_disk, args=(tmp_path,))
    worker.start()
    worker.join(20)
    assert worker.exitcode == 0
    assert [path.suffix for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_written_files_are_as_readable_as_the_umask_allows(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write_atomic(tmp_path / "file", b"content")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode

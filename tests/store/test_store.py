import errno
import json
import logging
import multiprocessing
import os
import resource
import signal
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from ivevidence import EvidenceError, Store, StoreWarning, canonical_json, digest_json, open_place
from ivevidence.store.leases import LAPSE
from ivevidence.store.places import Bucket, Folder
from ivevidence.store.whole_files import write_atomic

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


KINDS = ("folder", "memory", "file")


def new_place(kind: str, folder: Path):
    """An empty place; `folder` is one that no other test uses."""
    if kind == "folder":
        return Folder(folder / "store")
    if kind == "memory":
        return Bucket(f"memory://{folder}/store")
    (folder / "store").mkdir()
    return Bucket(f"file://{folder}/store")


@pytest.fixture(params=KINDS)
def place(request, tmp_path):
    return new_place(request.param, tmp_path)


@pytest.fixture(params=["folder", "file"])
def shared_place(request, tmp_path):
    """A place that other processes see."""
    return new_place(request.param, tmp_path)


@pytest.fixture
def lapse(monkeypatch):
    """Let leases lapse soon, though not while a busy machine is slow to renew them."""
    monkeypatch.setattr("ivevidence.store.leases.LAPSE", 0.6)
    monkeypatch.setattr("ivevidence.store.leases.BEAT", 0.02)
    return 0.6


def names(digest: str = digest_json(KEY)) -> tuple[str, str]:
    return f"{digest}.safetensors", f"{digest}.json"


def lease() -> str:
    return f"{digest_json(KEY)}.lease"


def content_of(place) -> dict[str, bytes]:
    return {name: place.read(name, 10**6) for name in place.names()}


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
@pytest.mark.parametrize("kind", KINDS)
def test_arrays_come_back_bit_for_bit(kind, tmp_path_factory, arrays):
    place = new_place(kind, tmp_path_factory.mktemp("store"))
    first = Store(place).measure(KEY, lambda: (arrays, {}))
    again = Store(place).measure(KEY, unreachable)
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


def test_a_measurement_is_computed_once_and_then_reused(place):
    store, later = Store(place), Store(place)
    first = store.measure(KEY, compute)
    again = store.measure(KEY, unreachable)
    much_later = later.measure(dict(reversed(KEY.items())), unreachable)
    assert (first.reused, again.reused, much_later.reused) == (False, True, True)
    assert (store.measured, store.reused, later.measured, later.reused) == (1, 1, 0, 1)
    assert first.info == again.info == {"samples": 3}
    assert first.digest == again.digest == digest_json(KEY)
    assert later.find(first.digest).key == KEY
    assert later.info(first.digest) == first.info
    assert store.digests() == {first.digest}


def test_files_are_the_same_in_every_kind_of_place(tmp_path):
    found = []
    for kind in KINDS:
        (tmp_path / kind).mkdir()
        place = new_place(kind, tmp_path / kind)
        Store(place).measure(KEY, compute)
        found.append(content_of(place))
    assert found[0] == found[1] == found[2]
    assert set(found[0]) == set(names()), "no lease is left"


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


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("change", [lambda c: c[:-5], lambda c: b"", lambda c: b"\xff" * 99, None])
def test_a_damaged_object_is_measured_again(place, which, change):
    Store(place).measure(KEY, compute)
    good = content_of(place)
    place.remove(names()[which])
    if change:
        place.write(names()[which], change(good[names()[which]]))
        with pytest.warns(StoreWarning, match="damaged, so it is measured again"):
            measurement = Store(place).measure(KEY, compute)
    else:
        assert Store(place).digests() == set()
        measurement = Store(place).measure(KEY, compute)
    assert not measurement.reused
    assert content_of(place) == good


def test_every_flipped_bit_is_noticed(tmp_path):
    place = Folder(tmp_path)
    place.write = lambda name, content: (tmp_path / name).write_bytes(content)  # many, so no fsync
    every_flipped_bit_is_noticed(place)


def test_every_flipped_bit_is_noticed_at_a_url(tmp_path):
    every_flipped_bit_is_noticed(Bucket(f"memory://{tmp_path}"))


def every_flipped_bit_is_noticed(place):
    Store(place).measure(KEY, compute)
    for name in names():
        content = place.read(name, 10**6)
        for at in range(len(content)):
            changed = bytearray(content)
            changed[at] ^= 1 << at % 8
            place.write(name, bytes(changed))
            info = Store(place).info(digest_json(KEY))
            assert info is None or info == {"samples": 3}
            found = Store(place).find(digest_json(KEY))
            assert (
                found is None
                or found.arrays["effects"].tolist() == compute()[0]["effects"].tolist()
            )
            assert found is None or (found.key, found.info) == (KEY, {"samples": 3})
        place.write(name, content)
    assert Store(place).measure(KEY, unreachable).reused


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


def _measure_slowly(place, counter: Path, barrier) -> None:
    def slowly():
        with counter.open("a") as file:
            file.write("x")
        barrier.wait(timeout=0.3) if barrier.n_waiting else None
        return compute()

    barrier.wait(timeout=10)
    Store(place).measure(KEY, slowly)


def test_two_processes_measure_the_same_key_once(tmp_path):
    place, barrier = Folder(tmp_path / "s"), FORK.Barrier(4)
    workers = [
        FORK.Process(target=_measure_slowly, args=(place, tmp_path / "count", barrier))
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert (tmp_path / "count").read_text() == "x"


def test_two_threads_measure_the_same_key_once_however_long_it_takes(place, lapse):
    computed, found, begun = [], [], threading.Event()

    def slowly():
        computed.append(1)
        begun.set()
        time.sleep(2 * lapse)
        return compute()

    def measure():
        found.append(Store(place).measure(KEY, slowly))

    threads = [threading.Thread(target=measure) for _ in range(3)]
    threads[0].start()
    assert begun.wait(10)
    for thread in threads[1:]:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(computed) == 1
    assert sorted(measurement.reused for measurement in found) == [False, True, True]
    assert set(place.names()) == set(names())


def _die(*_) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_in_compute(place) -> None:
    Store(place).measure(KEY, _die)


def _die_between_the_writes(place) -> None:
    write = place.write
    place.write = lambda *arguments: _die(write(*arguments))
    Store(place).measure(KEY, compute)


def _die_before_the_rename(place) -> None:
    os.replace = _die
    place.write = place.write if isinstance(place, Folder) else _die
    Store(place).measure(KEY, compute)


@pytest.mark.parametrize(
    "death", [_die_in_compute, _die_between_the_writes, _die_before_the_rename]
)
def test_a_killed_process_loses_only_the_measurement_in_flight(shared_place, death, tmp_path):
    other = {**KEY, "method": "another"}
    Store(shared_place).measure(other, compute)
    worker = FORK.Process(target=death, args=(shared_place,))
    worker.start()
    worker.join(20)
    assert worker.exitcode == -signal.SIGKILL
    assert lease() in shared_place.names()
    store, start = Store(shared_place), time.monotonic()
    assert store.digests() == {digest_json(other)}
    assert store.measure(other, unreachable).reused
    assert store.find(digest_json(KEY)) is None
    assert not store.measure(KEY, compute).reused
    assert time.monotonic() - start < LAPSE / 10, "it is known to be dead"
    assert Store(shared_place).measure(KEY, unreachable).reused
    assert set(shared_place.names()) == {*names(), *names(digest_json(other))}


STRANGERS = {
    "on another machine": b"0" * 32 + b" 999999 elsewhere 0\n",
    "about to write it": b"",
    "of another program": b"\xff junk",
}


@pytest.mark.parametrize("content", STRANGERS.values(), ids=STRANGERS.keys())
def test_a_lease_that_is_not_renewed_lapses_by_the_clock_of_who_waits(place, monkeypatch, content):
    monkeypatch.setattr("ivevidence.store.leases.LAPSE", 0.1)
    place.write(lease(), content)
    if isinstance(place, Folder):
        os.utime(place.path / lease(), (0, 0))  # no reason to think that it is old
    start = time.monotonic()
    assert not Store(place).measure(KEY, compute).reused
    assert 0.1 <= time.monotonic() - start < 5
    assert set(place.names()) == set(names())


def test_a_lease_that_is_renewed_is_waited_for(place, lapse, tmp_path):
    def renew():
        for beat in range(20):
            place.write(lease(), b"0" * 32 + b" 999999 elsewhere %d\n" % beat)
            time.sleep(lapse / 10)
        Store(other).measure(KEY, compute)
        for name in names():
            place.write(name, other.read(name, 10**6))
        place.remove(lease())

    other = Folder(tmp_path / "elsewhere")
    place.write(lease(), b"")
    renewing = threading.Thread(target=renew)
    renewing.start()
    assert Store(place).measure(KEY, unreachable).reused
    renewing.join()


def test_who_was_thought_dead_takes_what_was_published_meanwhile(place):
    def long():
        place.remove(lease())
        Store(place).measure(KEY, lambda: ({"effects": np.full(2, 7.0)}, {"by": "the other"}))
        return compute()

    store = Store(place)
    measurement = store.measure(KEY, long)
    assert measurement.info == {"by": "the other"}
    assert measurement.arrays["effects"].tolist() == [7.0, 7.0]
    assert store.measured == 1
    assert Store(place).measure(KEY, unreachable).info == measurement.info


def test_the_lease_of_who_took_over_is_neither_renewed_nor_removed(place, lapse):
    foreign = b"0" * 32 + b" 999999 elsewhere 0\n"

    def long():
        place.write(lease(), foreign)
        time.sleep(lapse)
        assert place.read(lease(), 100) == foreign
        return compute()

    Store(place).measure(KEY, long)
    assert place.read(lease(), 100) == foreign
    assert Store(place).measure(KEY, unreachable).reused, "a lease keeps nobody from reading"


def test_a_request_to_take_a_lease_that_was_sent_twice_is_one(place, monkeypatch):
    create = type(place).create

    def sent_twice(self, name, content):
        create(self, name, content)
        create(self, name, content)

    monkeypatch.setattr(type(place), "create", sent_twice)
    start = time.monotonic()
    assert not Store(place).measure(KEY, compute).reused
    assert time.monotonic() - start < LAPSE / 10
    assert set(place.names()) == set(names())


@pytest.mark.parametrize("make", ["link", "folder", "pipe", "huge"])
def test_something_strange_in_the_place_of_a_lease_is_left_alone(tmp_path, make):
    path = tmp_path / lease()
    {
        "link": lambda: path.symlink_to(tmp_path / "elsewhere"),
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "huge": lambda: path.write_bytes(b"x" * 10_000),
    }[make]()
    start = time.monotonic()
    Store(tmp_path).measure(KEY, compute)
    assert time.monotonic() - start < LAPSE / 10
    assert path.is_symlink() or path.exists()
    assert not (tmp_path / "elsewhere").exists()
    assert Store(tmp_path).measure(KEY, unreachable).reused


def test_an_interrupted_measurement_frees_its_lease_and_leaves_nothing(place):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Store(place).measure(KEY, interrupted)
    assert place.names() == []
    assert not Store(place).measure(KEY, compute).reused


def _refuse_to_write(number: int):
    def write(self, name, content):
        raise OSError(number, os.strerror(number), name)

    return write


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_a_store_that_cannot_be_written_gives_results_and_one_warning(place, monkeypatch, number):
    monkeypatch.setattr(type(place), "write", _refuse_to_write(number))
    store = Store(place)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        first = store.measure(KEY, compute)
        store.measure({**KEY, "version": 2}, compute)
    assert [warning.category for warning in said] == [StoreWarning]
    assert "not kept" in str(said[0].message)
    assert "\n" not in str(said[0].message)
    assert first.arrays["effects"].shape == (3, 4)
    assert store.measure(KEY, unreachable).reused, "kept for the life of the store"
    assert digest_json(KEY) in store.digests()
    assert store.info(digest_json(KEY)) == {"samples": 3}
    assert place.names() == []


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("part", [0, 20, None])
def test_a_put_that_fails_in_the_middle_is_told_and_measured_again_later(
    tmp_path, monkeypatch, which, part
):
    class CredentialsError(Exception):
        """Of a package that has errors of its own, of several lines."""

    def put(self, path, content, **options):
        if not path.endswith(names()[which]):
            return real(self, path, content, **options)
        if part is not None:
            real(self, path, content[:part], **options)
        raise CredentialsError("the token\n\nhas expired")

    place = Bucket(f"memory://{tmp_path}")
    real = type(place._files).pipe_file
    monkeypatch.setattr(type(place._files), "pipe_file", put)
    store = Store(place)
    with pytest.warns(StoreWarning, match=r"CredentialsError: the token has expired; .*memory:"):
        first = store.measure(KEY, compute)
    assert first.arrays["effects"].shape == (3, 4)
    assert store.measure(KEY, unreachable).reused, "kept for the life of the store"
    monkeypatch.undo()
    assert Store(place).find(digest_json(KEY)) is None
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert not Store(place).measure(KEY, compute).reused
    assert len(said) == (which == 1 and part is not None)
    assert Store(place).measure(KEY, unreachable).reused


def test_a_place_that_is_lost_in_the_middle_of_a_run_is_no_damage(place, monkeypatch):
    def fail(self, *_):
        raise TimeoutError("no answer")

    Store(place).measure(KEY, compute)
    for name in ("read", "write", "create", "remove"):
        monkeypatch.setattr(type(place), name, fail)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert not Store(place).measure(KEY, compute).reused
    assert [str(warning.message).partition(":")[0] for warning in said] == [
        "stored measurement cannot be read, so it is measured again",
        "measurements are not kept for later runs",
    ]


def test_a_folder_that_cannot_be_made_gives_results_and_one_warning(tmp_path):
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file" / "store")
    with pytest.warns(StoreWarning, match="not kept"):
        assert store.measure(KEY, compute).info == {"samples": 3}


@pytest.mark.parametrize("make", [Path.touch, lambda path: path.symlink_to("nowhere")])
def test_something_else_in_the_place_of_the_folder_gives_results_and_one_warning(tmp_path, make):
    make(tmp_path / "store")
    start = time.monotonic()
    with pytest.warns(StoreWarning, match="not kept"):
        assert Store(tmp_path / "store").measure(KEY, compute).info == {"samples": 3}
    assert time.monotonic() - start < LAPSE / 10


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_a_store_without_leases_is_used_all_the_same(place, monkeypatch, number):
    monkeypatch.setattr(type(place), "create", _refuse_to_write(number))
    assert not Store(place).measure(KEY, compute).reused
    assert Store(place).measure(KEY, unreachable).reused


def test_many_are_asked_for_with_one_listing_and_facts_without_arrays(place, monkeypatch):
    keys = [{**KEY, "version": version} for version in range(5)]
    for key in keys[:3]:
        Store(place).measure(key, compute)
    for name in (f"{digest_json(keys[3])}.json", f"{digest_json(keys[4])}.safetensors"):
        place.write(name, b"half of a measurement")
    place.write("notes.json", b"")
    place.write("notes.safetensors", b"")
    calls = []
    for name in ("names", "read"):
        real = getattr(type(place), name)
        monkeypatch.setattr(
            type(place), name, lambda self, *a, f=real: calls.append(a) or f(self, *a)
        )
    store = Store(place)
    digests = store.digests()
    assert digests == {digest_json(key) for key in keys[:3]}
    assert calls == [()]
    assert store.info(digest_json(keys[0])) == {"samples": 3}
    assert [name for name, _ in calls[1:]] == [f"{digest_json(keys[0])}.json"]
    assert store.info(digest_json(keys[3])) is None
    assert store.info("a" * 64) is None
    with pytest.raises(EvidenceError, match="64 hexadecimal digits"):
        store.info("../x")


def test_a_store_that_is_not_there_yet_has_nothing(tmp_path):
    assert Store(tmp_path / "store").digests() == set()
    assert not (tmp_path / "store").exists()


def test_a_place_is_a_folder_or_a_url(tmp_path):
    assert str(open_place("a/b", tmp_path)) == str(tmp_path / "a" / "b")
    assert str(open_place(str(tmp_path), Path("elsewhere"))) == str(tmp_path)
    assert str(open_place("memory://a/b/", tmp_path)) == "memory://a/b/"
    folder = open_place(f"file://{tmp_path}/store", Path("elsewhere"))
    assert isinstance(folder, Folder), "its files can be renamed"
    assert folder.path == tmp_path / "store"


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("info", PermissionError("Forbidden"), "Forbidden"),
        ("pipe_file", PermissionError("Access\n Denied"), "Access Denied"),
        ("pipe_file", FileNotFoundError("The specified bucket does not exist"), "not exist"),
        ("rm_file", RuntimeError("no leave"), "RuntimeError: no leave"),
        ("_strip_protocol", ImportError("Install s3fs to access S3"), "Install s3fs"),
    ],
)
def test_a_url_that_cannot_be_used_is_one_line_when_it_is_opened(
    tmp_path, monkeypatch, caplog, name, error, said
):
    def fail(*_, **__):
        logging.getLogger("package").error("a traceback of many lines")
        raise error

    monkeypatch.setattr(f"fsspec.implementations.memory.MemoryFileSystem.{name}", fail)
    with pytest.raises(EvidenceError, match=said) as refused:
        open_place("memory://bucket/prefix", tmp_path)
    assert "--store='memory://bucket/prefix', but should be" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not caplog.records
    logging.getLogger("package").error("of later")
    assert caplog.records


@pytest.mark.parametrize("there", [True, False])
def test_an_object_that_is_there_is_known_whatever_the_error_is(tmp_path, monkeypatch, there):
    def fail(*_, **__):
        raise RuntimeError("HTTP 412")

    place = Bucket(f"memory://{tmp_path}")
    if there:
        place.write("name", b"content")
    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.pipe_file", fail)
    expected, said = (FileExistsError, "name") if there else (OSError, "RuntimeError: HTTP 412")
    with pytest.raises(expected, match=said):
        place.create("name", b"other")


def test_a_url_that_does_not_give_back_what_was_put_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "fsspec.implementations.memory.MemoryFileSystem.cat_file", lambda *_, **__: b"a login page"
    )
    with pytest.raises(EvidenceError, match="a login page"):
        open_place("memory://bucket", tmp_path)


def test_a_store_that_cannot_be_used_is_refused_before_anything_is_measured(pytester):
    audit = (
        "--pyargs",
        "claims.instruction_vectors.test_published_audit",
        "-p",
        "no:cacheprovider",
    )
    result = pytester.runpytest_inprocess(*audit, "--store", "nonsense://bucket/prefix")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: --store='nonsense://*', but should be a folder, or*"])
    assert len(result.errlines) == 2
    assert not (pytester.path / "reports" / "claims.evidence.json").exists()


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
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_written_files_are_as_readable_as_the_umask_allows(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write_atomic(tmp_path / "file", b"content")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode

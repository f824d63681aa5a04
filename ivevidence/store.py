"""Measurements in a folder, by the digest of what was measured: computed once, checked if read."""

import contextlib
import hashlib
import json
import re
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import numpy as np
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from ivevidence.codec import EvidenceError, to_plain
from ivevidence.digests import canonical_json, digest_json
from ivevidence.files import read_limited, write_atomic

SCHEMA = 1
RECORD_LIMIT = 64 * 2**20
ARRAYS_LIMIT = 8 * 2**30

_FIELDS = {"schema", "key", "info", "arrays_sha256", "sha256"}

Computed = tuple[Mapping[str, np.ndarray], Mapping[str, Any]]


class StoreWarning(UserWarning):
    """Something in a store could not be used or kept; results are right all the same."""


@dataclass(frozen=True, eq=False)
class Measurement:
    """Named arrays and facts about them (`info`), under the digest of their key.

    The key says what was measured: weights, tokenizer, task, method and version, parameters, dtype.
    `reused` tells whether it was read from the store rather than computed.
    """

    digest: str
    key: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]
    info: Mapping[str, Any]
    reused: bool


class Store:
    """A folder of measurements that many processes can share.

    A measurement is two files: `DIGEST.safetensors`, then `DIGEST.json`, which carries the digests
    of the first and of itself. It is written last, so a measurement is there wholly or not at all.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.reused = 0
        self.measured = 0
        self._unkept: dict[str, Measurement] = {}
        self._warned = False
        self._counting = threading.Lock()

    def measure(self, key: Mapping[str, Any], compute: Callable[[], Computed]) -> Measurement:
        """Return the measurement of `key`, computing it only if no intact one is stored.

        Another process that measures the same key is waited for. A result that cannot be stored is
        kept for the life of this object, with a warning.

        Raises:
            EvidenceError: `key` is not plain JSON data, or `compute` returned arrays that have no
                portable form.
        """
        digest = digest_json(key)
        found = self._unkept.get(digest) or self._load(digest)
        if found is None:
            with self._lock(digest):
                found = self._load(digest, warn=True)
                if found is None:
                    return self._compute(digest, key, compute)
        with self._counting:
            self.reused += 1
        return found

    def find(self, digest: str) -> Measurement | None:
        """Return the intact measurement stored under `digest`, or None.

        Raises:
            EvidenceError: `digest` is not 64 lower-case hexadecimal digits.
        """
        return self._unkept.get(digest) or self._load(digest)

    def keep(
        self, key: Mapping[str, Any], arrays: Mapping[str, np.ndarray], info: Mapping[str, Any]
    ) -> None:
        """Keep what was worked out elsewhere, for `find`; counted neither measured nor reused.

        Raises:
            EvidenceError: `key` or `info` is not plain JSON data, or an array has no portable form.
        """
        digest = digest_json(key)
        with self._lock(digest):
            if self._load(digest, warn=True) is None:
                self._put(digest, key, arrays, info)

    def _compute(
        self, digest: str, key: Mapping[str, Any], compute: Callable[[], Computed]
    ) -> Measurement:
        arrays, info = compute()
        with self._counting:
            self.measured += 1
        return self._put(digest, key, arrays, info)

    def _put(
        self,
        digest: str,
        key: Mapping[str, Any],
        arrays: Mapping[str, np.ndarray],
        info: Mapping[str, Any],
    ) -> Measurement:
        portable = {name: _portable(name, array) for name, array in arrays.items()}
        measurement = Measurement(digest, to_plain(key), portable, to_plain(info), reused=False)
        try:
            self._write(measurement)
        except OSError as error:
            self._unkept[digest] = Measurement(
                digest, measurement.key, portable, measurement.info, reused=True
            )
            self._warn_unkept(error)
        return measurement

    def _write(self, measurement: Measurement) -> None:
        arrays_path, record_path = self._paths(measurement.digest)
        for leftover in self.folder.glob(f".{measurement.digest}.*.tmp"):
            leftover.unlink(missing_ok=True)  # of a process killed while it held this lock
        content = safetensors.save(dict(measurement.arrays))
        write_atomic(arrays_path, content)
        record = {
            "schema": SCHEMA,
            "key": measurement.key,
            "info": measurement.info,
            "arrays_sha256": hashlib.sha256(content).hexdigest(),
        }
        record["sha256"] = digest_json(record)
        write_atomic(record_path, canonical_json(record).encode("ascii"))

    def _load(self, digest: str, *, warn: bool = False) -> Measurement | None:
        arrays_path, record_path = self._paths(digest)
        try:
            record = json.loads(read_limited(record_path, RECORD_LIMIT))
            arrays = _checked(digest, record, lambda: read_limited(arrays_path, ARRAYS_LIMIT))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, TypeError, KeyError, RecursionError, SafetensorError) as error:
            if warn:
                message = f"stored measurement is damaged, so it is measured again: {error}"
                warnings.warn(message, StoreWarning, stacklevel=4)
            return None
        return Measurement(digest, record["key"], arrays, record["info"], reused=True)

    def _paths(self, digest: str) -> tuple[Path, Path]:
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise EvidenceError("digest", digest, "64 hexadecimal digits", where=str(self.folder))
        return self.folder / f"{digest}.safetensors", self.folder / f"{digest}.json"

    @contextlib.contextmanager
    def _lock(self, digest: str) -> Iterator[None]:
        lock = filelock.FileLock(self.folder / f"{digest}.lock")
        # A folder that cannot be written cannot be locked either; _compute reports it.
        with contextlib.suppress(OSError, NotImplementedError):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _warn_unkept(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            message = (
                f"measurements are not kept for later runs: {error}; "
                f"free some space or make the folder writable [{self.folder}]"
            )
            warnings.warn(message, StoreWarning, stacklevel=4)


def _checked(digest: str, record: Any, read_arrays: Callable[[], bytes]) -> dict[str, np.ndarray]:
    """Return the arrays of `record` if it is intact and is the measurement of `digest`."""
    if (
        not isinstance(record, dict)
        or set(record) != _FIELDS
        or record["schema"] != SCHEMA
        or not isinstance(record["info"], dict)
    ):
        raise EvidenceError("record", record, f"a measurement of schema {SCHEMA}", digest)
    claimed = record.pop("sha256")
    if claimed != digest_json(record):
        raise EvidenceError("sha256 of record", claimed, digest_json(record), digest)
    if digest_json(record["key"]) != digest:
        raise EvidenceError("sha256 of key", digest_json(record["key"]), digest, digest)
    content = read_arrays()
    found = hashlib.sha256(content).hexdigest()
    if found != record["arrays_sha256"]:
        raise EvidenceError("sha256 of arrays", found, record["arrays_sha256"], digest)
    return safetensors.load(content)


def _portable(name: str, array: np.ndarray) -> np.ndarray:
    array = np.array(array, order="C", copy=True)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if name == "__metadata__" or array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        got, expected = f"{name}: {array.dtype}", "booleans, integers or floats of at most 64 bits"
        raise EvidenceError("array", got, expected)
    return array

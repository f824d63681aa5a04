"""Measurements in a place, by the digest of what was measured: computed once, checked if read."""

import hashlib
import json
import re
import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from ivevidence.records.codec import EvidenceError, to_plain
from ivevidence.records.digests import canonical_json, digest_json
from ivevidence.store.leases import leased
from ivevidence.store.places import Folder, Place, one_line

SCHEMA = 1
RECORD_LIMIT = 64 * 2**20
ARRAYS_LIMIT = 8 * 2**30

_FIELDS = {"schema", "key", "info", "arrays_sha256", "sha256"}
_ABSENT = (FileNotFoundError, NotADirectoryError)
_UNUSABLE = (OSError, ValueError, TypeError, KeyError, RecursionError, SafetensorError)

Computed = tuple[Mapping[str, np.ndarray], Mapping[str, Any]]
# Takes arrays and facts; raises EvidenceError where they are not of the form that is expected.
Check = Callable[[Mapping[str, np.ndarray], Mapping[str, Any]], None]


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
    """Measurements in a place (a folder is one) that many processes and machines can share.

    A measurement is two files: `DIGEST.safetensors`, then `DIGEST.json`, which carries the digests
    of the first and of itself. It is written last, so a measurement is there wholly or not at all.
    That holds without locks: leases only spare work (`leased`).
    """

    def __init__(self, place: Place | Path) -> None:
        self.place: Place = Folder(place) if isinstance(place, Path) else place
        self.reused = 0
        self.measured = 0
        self._unkept: dict[str, Measurement] = {}
        self._warned = False
        self._counting = threading.Lock()

    def measure(
        self, key: Mapping[str, Any], compute: Callable[[], Computed], check: Check | None = None
    ) -> Measurement:
        """Return the measurement of `key`, computing it only if no intact one is stored.

        check: holds what is read, and what is computed, to its form. Another process that measures
        the same key is waited for. Of several that measured it after all, the first to publish is
        taken by all. A result that cannot be stored is kept for the life of this object, with a
        warning.

        Raises:
            EvidenceError: `key` is not plain JSON data, or `compute` returned arrays that have no
                portable form, or not the form that is expected.
        """
        digest = digest_json(key)
        found = self._unkept.get(digest) or self._load(digest, check)
        if found is None:
            with leased(self.place, digest):
                found = self._load(digest, check, warn=True)
                if found is None:
                    return self._compute(digest, key, compute, check)
        with self._counting:
            self.reused += 1
        return found

    def find(self, digest: str, check: Check | None = None) -> Measurement | None:
        """Return the intact measurement stored under `digest`, or None.

        Raises:
            EvidenceError: `digest` is not 64 lower-case hexadecimal digits.
        """
        return self._unkept.get(digest) or self._load(digest, check)

    def info(self, digest: str) -> Mapping[str, Any] | None:
        """Return the facts of the measurement stored under `digest`; its arrays are not read.

        Raises:
            EvidenceError: `digest` is not 64 lower-case hexadecimal digits.
        """
        if digest in self._unkept:
            return self._unkept[digest].info
        _check_digest(digest)
        try:
            return dict(self._record(digest)["info"])
        except _UNUSABLE:
            return None

    def digests(self) -> frozenset[str]:
        """Return the digests of all stored measurements; it takes one listing, and checks nothing.

        To ask for many: `digest_json(key) in digests`.

        Raises:
            OSError: the place cannot be listed.
        """
        names = set(self.place.names())
        records = (name.removesuffix(".json") for name in names if name.endswith(".json"))
        whole = (stem for stem in records if f"{stem}.safetensors" in names and _is_digest(stem))
        return frozenset(whole).union(self._unkept)

    def keep(
        self, key: Mapping[str, Any], arrays: Mapping[str, np.ndarray], info: Mapping[str, Any]
    ) -> None:
        """Keep what was worked out elsewhere, for `find`; counted neither measured nor reused.

        Raises:
            EvidenceError: `key` or `info` is not plain JSON data, or an array has no portable form.
        """
        digest = digest_json(key)
        with leased(self.place, digest):
            if self._load(digest, warn=True) is None:
                self._put(digest, key, arrays, info)

    def _compute(
        self,
        digest: str,
        key: Mapping[str, Any],
        compute: Callable[[], Computed],
        check: Check | None,
    ) -> Measurement:
        arrays, info = compute()
        arrays = dict(sorted(arrays.items()))  # as they are read
        if check:
            try:
                check(arrays, info)
            except EvidenceError as error:
                remedy = "correct the method, or the form that it states"
                raise EvidenceError(
                    error.quantity, error.got, error.expected, error.where, remedy
                ) from None
        with self._counting:
            self.measured += 1
        return self._put(digest, key, arrays, info, check)

    def _put(
        self,
        digest: str,
        key: Mapping[str, Any],
        arrays: Mapping[str, np.ndarray],
        info: Mapping[str, Any],
        check: Check | None = None,
    ) -> Measurement:
        portable = {name: _portable(name, array) for name, array in arrays.items()}
        measurement = Measurement(digest, to_plain(key), portable, to_plain(info), reused=False)
        if published := self._load(digest, check):
            return published  # by another, after this one's lease had lapsed or without any
        try:
            self._write(measurement)
        except OSError as error:
            self._unkept[digest] = Measurement(
                digest, measurement.key, portable, measurement.info, reused=True
            )
            self._warn_unkept(error)
        return measurement

    def _write(self, measurement: Measurement) -> None:
        content = safetensors.save(dict(measurement.arrays))
        self.place.write(f"{measurement.digest}.safetensors", content)
        record = {
            "schema": SCHEMA,
            "key": measurement.key,
            "info": measurement.info,
            "arrays_sha256": hashlib.sha256(content).hexdigest(),
        }
        record["sha256"] = digest_json(record)
        self.place.write(f"{measurement.digest}.json", canonical_json(record).encode("ascii"))

    def _load(
        self, digest: str, check: Check | None = None, *, warn: bool = False
    ) -> Measurement | None:
        _check_digest(digest)
        try:
            record = self._record(digest)
            content = self.place.read(f"{digest}.safetensors", ARRAYS_LIMIT)
            arrays = _checked_arrays(digest, record, content)
            if check:
                check(arrays, record["info"])
        except _ABSENT:
            return None
        except _UNUSABLE as error:
            if warn:
                defect = "cannot be read" if isinstance(error, OSError) else "is damaged"
                message = f"stored measurement {defect}, so it is measured again: {one_line(error)}"
                _warn(message)
            return None
        return Measurement(digest, record["key"], arrays, record["info"], reused=True)

    def _record(self, digest: str) -> dict[str, Any]:
        return _checked_record(digest, json.loads(self.place.read(f"{digest}.json", RECORD_LIMIT)))

    def _warn_unkept(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            message = (
                f"measurements are not kept for later runs: {one_line(error)}; "
                f"free some space or make it writable [{self.place}]"
            )
            _warn(message)


def _warn(message: str) -> None:
    """Warn; where filters make an error of it, show it all the same and go on: nothing is lost."""
    try:
        warnings.warn(message, StoreWarning, stacklevel=5)
    except StoreWarning:
        with warnings.catch_warnings():
            warnings.simplefilter("always", StoreWarning)
            warnings.warn(message, StoreWarning, stacklevel=5)


def _is_digest(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9a-f]{64}", text))


def _check_digest(digest: str) -> None:
    if not _is_digest(digest):
        raise EvidenceError("digest", digest, "64 hexadecimal digits")


def _checked_record(digest: str, record: Any) -> dict[str, Any]:
    """Return `record` if it is intact and of the measurement of `digest`."""
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
    return record


def _checked_arrays(
    digest: str, record: Mapping[str, Any], content: bytes
) -> dict[str, np.ndarray]:
    """Return the arrays of an intact record if they are as it says."""
    found = hashlib.sha256(content).hexdigest()
    if found != record["arrays_sha256"]:
        raise EvidenceError("sha256 of arrays", found, record["arrays_sha256"], digest)
    return dict(sorted(safetensors.load(content).items()))  # it gives them in any order


def _portable(name: str, array: np.ndarray) -> np.ndarray:
    array = np.array(array, order="C", copy=True)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if name == "__metadata__" or array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        got, expected = f"{name}: {array.dtype}", "booleans, integers or floats of at most 64 bits"
        raise EvidenceError("array", got, expected)
    return array

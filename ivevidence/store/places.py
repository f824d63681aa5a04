"""Where a store keeps its files: in a folder, or at a URL that fsspec reaches (`s3://...`)."""

import contextlib
import errno
import logging
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import fsspec
from fsspec.implementations.local import LocalFileSystem

from ivevidence.records.codec import EvidenceError
from ivevidence.store.whole_files import read_limited, write_atomic


class Place(Protocol):
    """Files by name. What cannot be done is an OSError; `str` is what its user calls it."""

    def read(self, name: str, limit: int) -> bytes:
        """Return the content of a file of at most `limit` bytes.

        Raises:
            EvidenceError: it is no file, or too large.
            OSError: there is none (FileNotFoundError), or it cannot be read.
        """

    def write(self, name: str, content: bytes) -> None:
        """Put a file there, in the place of another of its name; wholly or not at all."""

    def create(self, name: str, content: bytes) -> None:
        """Put a file there if none of its name is (FileExistsError).

        Where two do so at once, both may succeed on kinds of places that cannot tell.
        """

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    def tidy(self, stem: str) -> None:
        """Remove what a killed process left of files `stem`.* that it was about to write."""

    def names(self) -> list[str]:
        """Return the names of all files, with one listing."""


class Folder:
    """A folder, local or on a network; made when something is first written."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    def __str__(self) -> str:
        return str(self.path)

    def read(self, name: str, limit: int) -> bytes:
        """Return the content of a regular file, as it is on the server now."""
        return read_limited(self.path / name, limit)

    def write(self, name: str, content: bytes) -> None:
        """Put a file there by renaming one of another name."""
        self._make()
        write_atomic(self.path / name, content)

    def create(self, name: str, content: bytes) -> None:
        """Put a file there if none is: O_EXCL, which NFS has had since version 3."""
        self._make()
        with open(self.path / name, "xb") as file:
            try:
                file.write(content)
                file.flush()
            except OSError:
                self.remove(name)
                raise

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        (self.path / name).unlink(missing_ok=True)

    def tidy(self, stem: str) -> None:
        """Remove files that were to be renamed."""
        for leftover in self.path.glob(f".{stem}.*.tmp"):
            leftover.unlink(missing_ok=True)

    def names(self) -> list[str]:
        """Return the names of all files, with one listing."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return os.listdir(self.path)
        return []

    def _make(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:  # which is said of files in the folder only
            raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(self.path)) from error


class Bucket:
    """A URL that fsspec reaches. An object store puts whole objects: there is no half of one.

    On other file systems a reader may meet half a file; digests tell.

    Raises:
        EvidenceError: a package is missing, or it cannot be reached, written and cleared.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            with _silent_logs(), _one_kind_of_error():
                # Other machines write there too, so that listings must not be remembered.
                options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
                self._files, root = fsspec.core.url_to_fs(url, **options)
                self._root = root.rstrip("/")
                self._probe()
        except OSError as error:
            expected = "a folder, or a URL that can be reached and written"
            advice = "look at its spelling, the packages it needs, the network and your credentials"
            raise EvidenceError("--store", url, expected, one_line(error), advice) from None

    def __str__(self) -> str:
        return self.url

    def read(self, name: str, limit: int) -> bytes:
        """Return the content of an object of at most `limit` bytes."""
        with _one_kind_of_error():
            facts = self._files.info(self._path(name))
            if facts["type"] != "file":
                raise EvidenceError("kind", facts["type"], "a file", self._path(name))
            if facts["size"] > limit:
                expected = f"at most {limit} bytes"
                raise EvidenceError("size", facts["size"], expected, self._path(name))
            return bytes(self._files.cat_file(self._path(name)))

    def write(self, name: str, content: bytes) -> None:
        """Put a whole object there."""
        with _one_kind_of_error():
            self._files.pipe_file(self._path(name), content)

    def create(self, name: str, content: bytes) -> None:
        """Put an object there if none is (`If-None-Match` on S3, generation 0 on GCS)."""
        try:
            with _one_kind_of_error():
                self._files.pipe_file(self._path(name), content, mode="create")
        except OSError as error:
            # Kinds of file systems name this error differently.
            with _one_kind_of_error():
                if self._files.exists(self._path(name)):
                    raise FileExistsError(self._path(name)) from error
            raise

    def remove(self, name: str) -> None:
        """Remove an object, if it is there."""
        with contextlib.suppress(FileNotFoundError), _one_kind_of_error():
            self._files.rm_file(self._path(name))

    def tidy(self, stem: str) -> None:
        """Do nothing: of a whole object that was not put, nothing is left."""

    def names(self) -> list[str]:
        """Return the names of all objects, with one listing."""
        with contextlib.suppress(FileNotFoundError), _one_kind_of_error():
            return [path.rpartition("/")[2] for path in self._files.ls(self._root, detail=False)]
        return []

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _probe(self) -> None:
        name, content = f"probe-{uuid.uuid4().hex}", b"Can this be written?"
        self.write(name, content)
        try:
            if (found := self.read(name, 2 * len(content))) != content:
                raise OSError(f"{found!r} was read where {content!r} was written")
        finally:
            self.remove(name)


def open_place(where: str, base: Path) -> Place:
    """Return the place of a `--store`: a URL, or a folder relative to `base`.

    Raises:
        EvidenceError: a URL that cannot be used. A folder is looked at when it is first used.
    """
    if "://" not in where:
        return Folder(Path(base, where))
    if where.startswith(("file://", "local://")):
        return Folder(Path(LocalFileSystem._strip_protocol(where)))  # its files can be renamed
    return Bucket(where)


def one_line(error: BaseException) -> str:
    """Return what an error says as one short line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."


@contextlib.contextmanager
def _silent_logs() -> Iterator[None]:
    """Some packages log the traceback of what they also raise; one line says it."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _one_kind_of_error() -> Iterator[None]:
    """Every package behind fsspec has errors of its own, for credentials, say."""
    try:
        yield
    except (OSError, EvidenceError):
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error

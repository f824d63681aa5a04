"""Leases: who measures what at the moment, so that others wait instead of measuring it too."""

import contextlib
import os
import platform
import re
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from ivevidence.records.codec import EvidenceError
from ivevidence.store.places import Place

BEAT = 10.0  # seconds between two signs of life
LAPSE = 60.0  # seconds without one
FIRST_PAUSE, LONGEST_PAUSE = 0.01, 1.0

_SIZE_LIMIT = 4096
_UNREADABLE = (OSError, EvidenceError)


@contextlib.contextmanager
def leased(place: Place, stem: str) -> Iterator[None]:
    """Hold the lease `stem`.lease, waiting while another process or thread does.

    It is a file that its holder creates, renews every `BEAT` seconds and removes. Nothing but time
    rests on it: measurements are published whole and are the same whoever makes them, so that two
    holders at once do no harm. That is why it is a file and no lock of the operating system: locks
    on network folders may be missing or outlive their owner, and buckets have none.

    - A holder that was killed holds up others for `LAPSE` seconds at most, and not at all if it
      ran on this machine.
    - No clock is compared with another machine's: who waits watches the content, and takes over
      what has not changed for `LAPSE` seconds of its own. That is well above `BEAT` and what NFS
      clients remember of files.
    - A holder that was merely stopped for so long goes on, and finds what was measured meanwhile.
    - Where no lease can be taken (a place that is full or read-only, something strange of that
      name), the body runs without one.

    What the body is about to make must be looked for once more: it may be why the lease was free.
    """
    name, owner = f"{stem}.lease", f"{uuid.uuid4().hex} {os.getpid()} {machine()}"
    if not _take(place, stem, name, owner):
        yield
        return
    done = threading.Event()
    renewing = threading.Thread(target=_renew, args=(place, name, owner, done), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        done.set()
        renewing.join()
        with contextlib.suppress(*_UNREADABLE):
            if _is_of(owner, _read(place, name)):
                place.remove(name)


def _take(place: Place, stem: str, name: str, owner: str) -> bool:
    seen, since, pause = b"", time.monotonic(), FIRST_PAUSE
    while True:
        try:
            with contextlib.suppress(FileExistsError):
                place.create(name, _content(owner, 0))
                return True
            found = _read(place, name)
            if _is_of(owner, found):
                return True  # a request that was sent twice
            if found != seen:
                seen, since = found, time.monotonic()
            if time.monotonic() - since > LAPSE or _has_died(found):
                place.tidy(stem)
                place.remove(name)
                seen, since = b"", time.monotonic()
        except _UNREADABLE:
            return False
        time.sleep(pause)
        pause = min(1.5 * pause, LONGEST_PAUSE)


def _read(place: Place, name: str) -> bytes:
    """The content of a lease; nothing where it was given back meanwhile."""
    with contextlib.suppress(FileNotFoundError):
        return place.read(name, _SIZE_LIMIT)
    return b""


def _renew(place: Place, name: str, owner: str, done: threading.Event) -> None:
    beat = 0
    while not done.wait(BEAT):
        beat += 1
        with contextlib.suppress(*_UNREADABLE):  # the next beat makes up for it
            if not _is_of(owner, _read(place, name)):
                return  # taken over
            place.write(name, _content(owner, beat))


def _content(owner: str, beat: int) -> bytes:
    return f"{owner} {beat}\n".encode()


def _is_of(owner: str, content: bytes) -> bool:
    return content.startswith(f"{owner} ".encode())


def _has_died(content: bytes) -> bool:
    """Whether it is known that the holder, a process of this machine, is no more."""
    found = re.fullmatch(rb"\w{32} (\d{1,9}) (\S+) \d+\n", content)
    if not found or found[2] != machine().encode() or os.name != "posix":
        return False
    try:
        os.kill(int(found[1]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False


def machine() -> str:
    """Where a process's number means the same process: a boot of a machine, and a container."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(str(os.stat("/proc/self/ns/pid").st_ino))
    return re.sub(r"\s", "-", ":".join(parts))

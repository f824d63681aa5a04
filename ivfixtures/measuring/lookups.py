"""Looking measurements up without making them: what the plan and executors see of a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ivevidence import Measurement, Store, digest_json
from ivevidence.store.measurements import Check, Computed
from ivfixtures.errors import NotMeasuredError
from ivfixtures.measuring.measurements import Measurements, Reader
from ivfixtures.measuring.requests import Request, whole
from ivmethods.errors import NotRunnableError


class ReadOnlyStore(Store):
    """A store of a process that judges and must not measure.

    fresh: digests of what was made for this run, which is not counted as reused. not_runnable: by
    digest, why a method could not be run where it was tried.
    """

    fresh: frozenset[str] = frozenset()
    not_runnable: Mapping[str, str] = MappingProxyType({})

    def measure(
        self, key: Mapping[str, Any], compute: Callable[[], Computed], check: Check | None = None
    ) -> Measurement:
        """Return the measurement of `key`.

        Raises: NotMeasuredError, it is not there; NotRunnableError, it cannot be.
        """
        digest = digest_json(key)
        if digest in self.not_runnable:
            raise NotRunnableError(self.not_runnable[digest])
        found = self.find(digest, check)
        if found is None:
            raise NotMeasuredError(
                f"measurement of {key.get('method')}=missing, but should be in the store "
                f"[{self.place}, {digest[:12]}]",
                digest,
            )
        self.reused += digest not in self.fresh
        return found


class Lookup(Reader):
    """Reads what is in the store, and notes what is asked for.

    stored: digests of what is there. asked: by digest, what was asked for, parts and all. missing:
    what has to be made, without what comes before it and its parts.
    """

    def __init__(self, measurements: Measurements, stored: frozenset[str]) -> None:
        super().__init__(measurements)
        self.stored = stored
        self.asked: dict[str, Request] = {}
        self.missing: dict[str, Request] = {}

    def __call__(self, request: Request) -> Any:
        """The result of a request.

        Raises: NotMeasuredError, it is not there.
        """
        self.look(request)
        try:
            return super().__call__(request)
        except NotMeasuredError:  # it is damaged, or lacks what comes before it
            self.missing[self.measurements.digest(request)] = request
            raise

    def look(self, request: Request) -> None:
        """Note a request without reading its result.

        Raises: NotMeasuredError, it is not there.
        """
        every = {self.measurements.digest(each): each for each in whole(request)}
        self.asked |= {at: each for at, each in every.items() if at not in self.asked}
        if (digest := self.measurements.digest(request)) not in self.stored:
            self.missing[digest] = request
            raise NotMeasuredError(f"{digest[:12]} is not stored", digest)

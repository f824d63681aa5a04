"""An inquiry: what one cell asks for, from its gates to what depends on what was measured.

It is the one description of what a claim needs: a run measures what it reads, the plan looks it up,
and executors are given what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from ivevidence import Decision, Table
from ivfixtures.checkpoints import resolving
from ivfixtures.data.of_checkpoint import CheckpointData
from ivfixtures.errors import NotMeasuredError, error_line
from ivfixtures.measuring.requests import Need, Read, needed, read_all, requests
from ivmethods.errors import NotRunnableError


@dataclass(frozen=True)
class Closed:
    """Why a cell is not judged further, with what shows it.

    data: whose gate it is; None where it is that of all together. advice: what to do about it.
    """

    decision: Decision
    advice: str = ""
    gate: str = ""
    data: CheckpointData | None = None
    tables: Sequence[Table] = ()
    per_sample: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (verdict := self.decision.verdict) not in ("inconclusive", "not_applicable"):
            expected, remedy = "inconclusive or not_applicable", "only a test supports or refutes"
            raise ValueError(error_line("verdict of a gate", verdict, expected, "Closed", remedy))


@dataclass(frozen=True)
class Gate:
    """What has to hold before a cell is measured further.

    closed: from the data and the pack's settings, and the results of `needs` by name, why the cell
    is not judged, or None. of_all: it looks at the data of all parts of a cell at once. passable:
    --measure-anyway goes past it.
    """

    name: str
    closed: Callable[..., Closed | None]
    needs: Mapping[str, Need] = field(default_factory=dict)
    of_all: bool = False
    passable: bool = False


@dataclass(frozen=True)
class Then:
    """A need that depends on results.

    choose: from the inquiry, and results by name, what is needed. like: a method that costs as
    much, by which it is planned while it cannot be known.
    """

    choose: Callable[..., Any]
    like: Need


@dataclass(frozen=True)
class Declared:
    """What a claim's test declares: gates, needs, and what depends on results."""

    gates: Sequence[Gate] = ()
    needs: Mapping[str, Need] = field(default_factory=dict)
    then: Mapping[str, Then] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What is known of an inquiry.

    shown: of each part, what its kind of data shows in every cell. results: of each part.
    passed: gates that were gone past, of each part.
    """

    shown: Sequence[Mapping[str, Any]]
    results: Sequence[Mapping[str, Any]] = ()
    then: Mapping[str, Any] = field(default_factory=dict)
    closed: Closed | None = None
    passed: Sequence[Closed] = ()

    @property
    def arguments(self) -> dict[str, Any]:
        """The results by name; of a cell of several parts, those of each in their order."""
        if len(self.results) == 1:
            return {**self.results[0], **self.then}
        names = self.results[0]
        return {name: tuple(part[name] for part in self.results) for name in names} | {**self.then}


class Inquiry:
    """What a cell asks for: of each of its parts, one after the other.

    parts: the data of a cell: of a checkpoint and task; of each checkpoint of a family, or of both
    tasks of a pair. settings: of the claim's pack. metric: what of the results is judged.
    anyway: whether passable gates are gone past. Results are those of the first part where not all
    are named.
    """

    def __init__(
        self,
        declared: Declared,
        parts: Sequence[Any],
        settings: Any,
        *,
        metric: str | None = None,
        seed: int = 0,
        anyway: bool = False,
    ) -> None:
        self.declared, self.parts, self.settings = declared, tuple(parts), settings
        self.metric, self.seed, self.anyway = metric, seed, anyway

    @property
    def data(self) -> Any:
        """The data of the first part."""
        return self.parts[0]

    def ask(
        self,
        read: Read,
        *,
        unknown: Literal["gates", "all"] | None = None,
        look: Read | None = None,
    ) -> Answer:
        """Read what the cell needs, in order, up to a gate that is closed.

        unknown: where results are not there, what is asked for all the same before the first
        NotMeasuredError is raised: that of further `gates`, or `all` as if the gates were open.
        Of what depends on results, none is raised then. look: asks for what nothing depends on;
        None: that is read, too.

        Raises: NotMeasuredError.
        """
        glance = look or read
        read_needs = read if self.declared.then else glance
        missing: list[NotMeasuredError] = []
        shown: list[dict[str, Any]] = []
        results: list[dict[str, Any]] = []
        passed: list[Closed] = []

        def known(
            needs: Mapping[str, Need], data: Any, reading: Read = glance
        ) -> dict[str, Any] | None:
            try:
                return read_all(needs, data, self.settings, reading)
            except NotMeasuredError as error:
                if not unknown:
                    raise
                missing.append(error)
                return None

        if closed := self._closed_at_once():
            shown = [known(p.shown, p) or {} if runs else {} for p, runs in self._showable()]
            return Answer(shown, closed=closed)
        for part in self.parts:
            shown.append(known(part.shown, part) or {})
            try:
                for gate in self._gates(of_all=False):
                    found = known(gate.needs, part, read)
                    closed = None
                    if found is not None:
                        closed = _outcome(gate, gate.closed(part, self.settings, **found))
                    if closed and not (gate.passable and self.anyway):
                        closed = _named(closed, gate, part)
                        return Answer(self._shown(known), closed=closed, passed=passed)
                    if closed:
                        passed.append(_named(closed, gate, part))
                if not missing or unknown == "all":
                    results.append(known(self.declared.needs, part, read_needs) or {})
            except NotRunnableError as error:
                closed = Closed(Decision("not_applicable", str(error)), data=part)
                return Answer(self._shown(known), closed=closed, passed=passed)
        if missing:
            raise missing[0]
        answer = Answer(shown, results, passed=passed)
        then = {
            name: later.choose(self, **answer.arguments)
            for name, later in self.declared.then.items()
        }
        return Answer(shown, results, known(then, self.data) or {}, passed=passed)

    def methods_like(self) -> Iterator[tuple[str, Any]]:
        """What cannot be known yet, by its name: a request that costs as much."""
        for name, later in self.declared.then.items():
            for request in requests(needed(later.like, self.data, self.settings), self.data):
                yield name, request

    def _closed_at_once(self) -> Closed | None:
        """Why nothing is measured: the methods cannot be run on it, or the parts do not fit."""
        for gate in self._gates(of_all=True):
            if closed := _outcome(gate, gate.closed(self.parts, self.settings)):
                return replace(closed, gate=gate.name)
        for part in self.parts:
            for gate in self._gates(of_all=False):
                if gate.needs or (gate.passable and self.anyway):
                    continue
                if closed := _outcome(gate, gate.closed(part, self.settings)):
                    return _named(closed, gate, part)
        return next(
            filter(None, (self._not_run(part, self.declared.needs) for part in self.parts)), None
        )

    def _not_run(self, part: Any, needs: Mapping[str, Need]) -> Closed | None:
        """Why a method of these cannot be run on a part's model."""
        form, remote = resolving.config(part.checkpoint), part.checkpoint.remote
        for need in needs.values():
            for request in requests(needed(need, part, self.settings), part):
                if reason := request.method.runs_on(form, remote):
                    return Closed(Decision("not_applicable", reason), data=part)
        return None

    def _showable(self) -> Iterator[tuple[Any, bool]]:
        """The parts, and whether what every cell shows of them can be measured."""
        return ((part, self._not_run(part, part.shown) is None) for part in self.parts)

    def _gates(self, *, of_all: bool) -> Iterator[Gate]:
        return (gate for gate in self.declared.gates if gate.of_all == of_all)

    def _shown(self, known: Callable[..., Any]) -> list[dict[str, Any]]:
        return [known(part.shown, part) or {} for part in self.parts]


def _outcome(gate: Gate, closed: Any) -> Closed | None:
    """What a gate said.

    Raises: ValueError, it is neither None nor a Closed.
    """
    if closed is not None and not isinstance(closed, Closed):
        expected, remedy = "None or a Closed", "have it return one"
        raise ValueError(error_line(f"gate {gate.name}", repr(closed), expected, "gates", remedy))
    return closed


def _named(closed: Closed, gate: Gate, data: CheckpointData) -> Closed:
    return replace(closed, gate=gate.name, data=data)

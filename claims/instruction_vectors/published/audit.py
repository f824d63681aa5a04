"""The t-tests of Tables 5-8 decoded to counts, and tested as the paper's sentence means them."""

import functools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from claims.instruction_vectors.published.access import pair_tests, top_tuples
from claims.instruction_vectors.published.rows import PairTest
from ivmethods.statistics.decoding import Decoding, PrintedTest, decode
from ivmethods.statistics.univariate import binomial_p, holm

# Section 5.1: every test is on 100 samples.
SAMPLES = 100

LayerTuple = tuple[int, ...]
Columns = dict[tuple[str, str], tuple["AuditedTest", ...]]


@dataclass(frozen=True)
class Exact:
    """Exact binomial tests of one count; Holm's p-values are over the judged tests of a table.

    p, holm: one-sided, of "on more than half of the samples". below: Holm's p-value of "on less
    than half".
    """

    p: float
    holm: float
    below: float


@dataclass(frozen=True)
class AuditedTest:
    """One test of the paper with the counts that it fits.

    degenerate: why the inequality says nothing about two layers here, "" if it does. least, most:
    the exact tests if every print of the table stood for its smallest count, and for its largest:
    Holm's p-values fall as any count rises (those of `below` rise), so they bound what the real
    counts give. Both are None unless the test is judged: printed, and not degenerate.
    """

    printed: PairTest
    decoding: Decoding | None
    degenerate: str
    least: Exact | None = None
    most: Exact | None = None

    @property
    def judged(self) -> bool:
        """Whether the test is printed and not degenerate."""
        return self.decoding is not None and not self.degenerate

    @property
    def p_bounds(self) -> tuple[float, float] | None:
        """The exact p-values of the largest and of the smallest count; None if not printed."""
        if self.decoding is None:
            return None
        return _binomial_p(self.decoding.most), _binomial_p(self.decoding.least)


@dataclass(frozen=True)
class ListMatch:
    """A column's tuples against the top ten by one metric (Tables 9-16).

    shared: how many of the ten are in both. mismatches: where they differ, as position, the
    column's tuple, and that of the top ten.
    """

    metric: str
    table: int
    shared: int
    mismatches: tuple[tuple[int, LayerTuple, LayerTuple], ...]

    @property
    def same(self) -> bool:
        """Whether both have the same tuples in the same order."""
        return not self.mismatches


@functools.cache
def audited_columns() -> Columns:
    """Audit Tables 5-8; by the model's name and the task."""
    return columns(pair_tests())


def columns(tests: Sequence[PairTest]) -> Columns:
    """Audit some tests, Holm within their tables; by the model's name and the task."""
    tables: dict[int, list[AuditedTest]] = defaultdict(list)
    for test in tests:
        tables[test.table].append(AuditedTest(test, _decoded(test), degenerate(test)))
    found: dict[tuple[str, str], tuple[AuditedTest, ...]] = {}
    for table in tables.values():
        for audited in _tested(table):
            key = audited.printed.model.name, audited.printed.task
            found[key] = (*found.get(key, ()), audited)
    return found


def degenerate(test: PairTest) -> str:
    """Say why f(ij) >= f(i) + f(j) says nothing about two layers together, if so.

    One layer alone: it reads f(i) <= 0. With the last block: if the patched token is not the
    prompt's last one, that block is inert, so both sides are equal; if it is, that block overwrites
    the other's effect, so it reads f(i) <= 0 again.
    """
    if len(test.layers) == 1:
        return "single layer"
    return "last block" if test.layers[-1] == test.model.layers - 1 else ""


def list_matches(tests: Sequence[PairTest]) -> tuple[ListMatch, ...]:
    """Compare a column's tuples, in order, with the top ten by `rr` and by `logit`."""
    model, task = tests[0].model, tests[0].task
    layers = [test.layers for test in tests]
    found = []
    for metric in ("rr", "logit"):
        top = top_tuples(model.hub_id, task, metric) or ()
        differ = tuple(
            (row.position, own, row.layers)
            for own, row in zip(layers, top, strict=True)
            if own != row.layers
        )
        shared = len({*layers} & {row.layers for row in top})
        found.append(ListMatch(metric, top[0].table, shared, differ))
    return tuple(found)


def twins(tests: Sequence[PairTest]) -> tuple[str, ...]:
    """Name the other models whose column of the same task lists the same tuples in that order."""
    model, task = tests[0].model, tests[0].task
    others: dict[str, list[LayerTuple]] = defaultdict(list)
    for test in pair_tests():
        if test.task == task and test.model != model:
            others[test.model.name].append(test.layers)
    layers = [test.layers for test in tests]
    return tuple(name for name, listed in others.items() if listed == layers)


def _decoded(test: PairTest) -> Decoding | None:
    if test.t is None or test.p is None:
        return None
    return decode(PrintedTest(test.t.text, test.p.text), SAMPLES)


def _tested(table: list[AuditedTest]) -> list[AuditedTest]:
    judged = [test.decoding for test in table if test.decoding and test.judged]
    least = iter(_exact([decoding.least for decoding in judged]))
    most = iter(_exact([decoding.most for decoding in judged]))
    return [
        AuditedTest(test.printed, test.decoding, "", next(least), next(most))
        if test.judged
        else test
        for test in table
    ]


def _exact(counts: list[int]) -> list[Exact]:
    if not counts:
        return []
    above = np.array([_binomial_p(count) for count in counts])
    below = np.array([_binomial_p(SAMPLES - count) for count in counts])
    rows = zip(above, holm(above), holm(below), strict=True)
    return [Exact(float(p), float(adjusted), float(under)) for p, adjusted, under in rows]


@functools.cache
def _binomial_p(count: int) -> float:
    return binomial_p(np.arange(SAMPLES) < count)

"""What a cell on published numbers shows: the printed tests decoded, and which list they are on."""

from collections.abc import Callable, Collection, Mapping, Sequence

from claims.instruction_vectors.published.audit import (
    SAMPLES,
    AuditedTest,
    LayerTuple,
    ListMatch,
    list_matches,
    twins,
)
from claims.instruction_vectors.published.models import MODELS
from claims.instruction_vectors.published.rows import PairTest
from ivevidence import Decision, Figure, Table
from ivevidence.figures.text import format_number
from ivmethods.statistics.univariate import ALPHA

Column = Sequence[AuditedTest]
Entry = str | int | float | None
MARK = "*"


def tests(columns: Collection[Column], verdict: Callable[[AuditedTest], str]) -> Table:
    """Every printed test: as printed, as decoded, tested exactly, and what comes of it."""
    rows: list[tuple[Entry, ...]] = []
    for test in (test for column in columns for test in column):
        printed, least, most = test.printed, test.least, test.most
        rows.append(
            (
                *_place(printed, columns),
                *(printed.position, layers_text(printed.layers), verdict(test), test.degenerate),
                printed.t.text if printed.t else None,
                printed.p.text if printed.p else None,
                _counts(test),
                _between(*test.p_bounds) if test.p_bounds else None,
                _between(most.holm, least.holm) if least and most else None,
            )
        )
    names = (
        *(*_places(columns), "row", "layers", "verdict", "degenerate", "printed t", "printed p"),
        *(f"count of {SAMPLES}", "exact p", "Holm p"),
    )
    caption = (
        "Count: the samples with f(ij) >= f(i) + f(j) that print so. Exact p: one-sided binomial "
        "test of more than half of the samples; Holm p: over the judged tests of the table, A to B "
        "where the table's largest counts give A and its smallest give B."
    )
    return Table("The printed tests, decoded", names, tuple(rows), caption)


def counts(column: Column) -> Figure:
    """The decoded counts of one column, row by row."""
    sure = [len(test.decoding.counts) == 1 if test.decoding else None for test in column]
    ends = [(d.least, d.most) if (d := test.decoding) else (None, None) for test in column]
    known = list(zip(sure, ends, strict=True))
    series = {
        "name": "decoded count",
        "values": [low if one else None for one, (low, _) in known],
        "lows": [None if one else low for one, (low, _) in known],
        "highs": [None if one else high for one, (_, high) in known],
    }
    data = {
        "categories": [
            f"{layers_text(test.printed.layers)}{MARK if test.degenerate else ''}"
            for test in column
        ],
        "series": [series],
        "unit": f"samples of {SAMPLES}",
        "threshold": SAMPLES / 2,
        "limits": [0, SAMPLES],
    }
    caption = (
        f"By layers, in the table's order. {MARK} Degenerate: one layer or the last block; the "
        "inequality says nothing there. A whisker without a bar: the print fits both of its ends."
    )
    return Figure("bars", "Samples with f(ij) >= f(i) + f(j)", caption, data)


def shares(columns: Mapping[tuple[str, str], Column]) -> Figure:
    """The share of significant tests among the judged ones, by task and model."""
    tasks = list(dict.fromkeys(task for _, task in columns))
    series = []
    for model in (model.name for model in MODELS):
        bounds = [_share(columns[model, task]) for task in tasks]
        known = [(low, high) if low != high else (None, None) for low, high in bounds]
        series.append(
            {
                "name": model.removesuffix("-published"),
                "values": [low for low, _ in bounds],
                "lows": [low for low, _ in known],
                "highs": [high for _, high in known],
            }
        )
    data = {"categories": tasks, "series": series, "unit": "share of judged tests", "threshold": 1}
    caption = (
        f"Holm p below {ALPHA}. Bars: whatever the decoding; whiskers reach to what the prints "
        "allow at most. A dash: the paper prints no test."
    )
    return Figure("bars", "Tests that are significant", caption, data)


def summary(
    columns: Mapping[tuple[str, str], Column], decisions: Mapping[tuple[str, str], Decision]
) -> Table:
    """What each column comes to."""
    rows: list[tuple[Entry, ...]] = []
    for (model, task), column in columns.items():
        least = [test.least for test in column if test.least]
        most = [test.most for test in column if test.most]
        rows.append(
            (
                *(column[0].printed.table, model, task, decisions[model, task].verdict),
                len(least),
                _between(*(sum(exact.holm < ALPHA for exact in end) for end in (least, most))),
                _between(*(sum(exact.p < ALPHA for exact in end) for end in (least, most))),
                sum(exact.below < ALPHA for exact in most),
                sum(len(test.decoding.counts) != 1 for test in column if test.decoding),
                sum(bool(test.degenerate) for test in column),
            )
        )
    names = (
        *("table", "model", "task", "verdict", "judged", "significant", "without Holm"),
        *("below half", "ambiguous", "degenerate"),
    )
    caption = (
        "Numbers of tests. Significant: on more than half of the samples. Without Holm: decides "
        "nothing. Below half: significantly, with Holm, by the largest counts. Ambiguous: more "
        "than one count prints so."
    )
    return Table("Columns", names, tuple(rows), caption)


def lists(columns: Collection[Column]) -> Table:
    """Which list of Tables 9-16 each column's tuples are, if any."""
    rows: list[tuple[Entry, ...]] = []
    for column in columns:
        at = _place(column[0].printed, columns)
        rows += [
            (*at, match.metric, match.table, match.shared, _same(match), _mismatches(match))
            for match in matches(column)
        ]
    names = (
        *(*_places(columns), "top ten by", "of table", "tuples in both", "same order"),
        "differs at",
    )
    caption = "Where the order differs: row, this column's layers / those of the top ten."
    return Table("Which list the tuples are", names, tuple(rows), caption)


def matches(column: Column) -> tuple[ListMatch, ...]:
    """The column's tuples against the top tens by `rr` and by `logit`."""
    return list_matches([test.printed for test in column])


def notes(column: Column) -> list[str]:
    """What a reader of one column should know."""
    printed = [test.printed for test in column]
    found = [
        f"Appendix B says that the pairs were picked by rank contribution; these are the ten with "
        f"the largest {match.metric} effect (Table {match.table})."
        for match in matches(column)
        if match.same and match.metric != "rr"
    ]
    found += [f"{name} lists the same tuples in the same order." for name in twins(printed)]
    strange = [test for test in column if test.decoding and not test.decoding.counts]
    return found + [f"No count prints as row {test.printed.position}." for test in strange]


def layers_text(layers: LayerTuple) -> str:
    """Layers as the paper prints them: one alone is a pair of itself."""
    return f"({layers[0]}, {layers[-1]})"


def _counts(test: AuditedTest) -> Entry:
    if test.decoding is None:
        return None
    counts = test.decoding.counts
    if not counts:
        return f"none; {test.decoding.nearest} is nearest"
    return counts[0] if len(counts) == 1 else " or ".join(map(str, counts))


def _between(one: float, other: float) -> Entry:
    if one == other:
        return one
    return f"{format_number(min(one, other))} to {format_number(max(one, other))}"


def _share(column: Column) -> tuple[float | None, float | None]:
    """The smallest and largest share of significant tests that the prints allow."""
    least = [test.least.holm < ALPHA for test in column if test.least]
    most = [test.most.holm < ALPHA for test in column if test.most]
    return (sum(least) / len(least), sum(most) / len(most)) if least else (None, None)


def _same(match: ListMatch) -> str:
    return "yes" if match.same else "no"


def _mismatches(match: ListMatch) -> str:
    return "; ".join(
        f"{position}: {layers_text(own)} / {layers_text(other)}"
        for position, own, other in match.mismatches
    )


def _places(columns: Collection[Column]) -> tuple[str, ...]:
    return ("table", "model", "task") if len(columns) > 1 else ()


def _place(test: PairTest, columns: Collection[Column]) -> tuple[Entry, ...]:
    """Where a test stands, if there are several columns to tell apart."""
    return (test.table, test.model.name, test.task) if len(columns) > 1 else ()

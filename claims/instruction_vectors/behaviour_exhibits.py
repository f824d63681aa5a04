"""What a cell about behaviour shows: right, valid and wrong answers, and a judge's view of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ivevidence import Figure, Table
from ivevidence.records.cells import Entry
from ivfixtures.measuring.judge import Judged, Judgement, given
from ivfixtures.suite.cells import Cell
from ivfixtures.suite.exhibits import series
from ivmethods.statistics.univariate import clopper_pearson

SHOWN_ANSWERS = 30


def by_task(cell: Cell, found: Judged | None, threshold: float) -> Figure:
    """EMA and IA of the cell's checkpoint on all tasks of the run.

    Source: Figure 20.
    """
    every = {name: _cell_of(cell, name) for name in cell.bench.options.tasks}
    cells = {name: one for name, one in every.items() if one is cell or _can_answer(one)}
    judged = []
    if found:
        own = clopper_pearson(found.valid)
        judged = [series("IA (judge)", [own if one is cell else None for one in cells.values()])]
    caption = "Right (EMA) and valid (IA) answers of this checkpoint"
    bars = behaviour_bars("Behaviour by task", cells, caption, judged, threshold=threshold)
    if left_out := sorted(every.keys() - cells.keys()):
        caption = f" Its tokenizer cannot take the prompts of {', '.join(left_out)}."
        return replace(bars, caption=bars.caption + caption)
    return bars


def behaviour_bars(
    title: str,
    cells: Mapping[str, Cell],
    caption: str,
    more: Sequence[dict[str, Any]] = (),
    *,
    threshold: float | None = None,
) -> Figure:
    """EMA and IA of each of some cells, by name, and `more` series of them."""
    exact, valid = (
        [clopper_pearson(getattr(cell, name)) for cell in cells.values()]
        for name in ("exact", "valid")
    )
    data = {
        "categories": list(cells),
        "series": [series("EMA", exact), series("IA (stated set)", valid), *more],
        "unit": "share of samples",
        "threshold": threshold,
        "limits": [0.0, 1.0],
    }
    return Figure("bars", title, f"{caption}; bounds: one-sided 5 %, exact.", data)


def counts(cell: Cell) -> Table:
    """How many answers are right, wrong but valid, and invalid."""
    n = len(cell.exact)
    rows = [
        (name, int(hits.sum()), float(hits.mean()))
        for name, hits in (
            ("right", cell.exact),
            ("wrong, but valid", ~cell.exact & cell.valid),
            ("not valid", ~cell.exact & ~cell.valid),
        )
    ]
    caption = "Valid: in the task's stated set of responses, whether or not it is the right one."
    return Table(f"Answers to {n} prompts", ("answers", "count", "share"), tuple(rows), caption)


def not_right(cell: Cell) -> Table:
    """Some of the wrong answers, those that are not even valid first."""
    answers = given(cell.bench)
    wrong = sorted(np.flatnonzero(~cell.exact), key=lambda i: bool(cell.valid[i]))
    rows = [
        (
            *(cell.bench.items[i].query, ", ".join(cell.bench.items[i].answers), answers[i]),
            "yes" if cell.valid[i] else "no",
        )
        for i in wrong[:SHOWN_ANSWERS]
    ]
    title = f"Answers that are not right ({len(rows)} of {len(wrong)} shown)"
    return Table(title, ("query", "right", "answered", "valid (stated set)"), tuple(rows))


def judge_and_set(cell: Cell, found: Judged) -> list[Table]:
    """IA as judged and by the stated set, how often they agree, and where they do not."""
    agree = found.valid == cell.valid
    rows: list[tuple[Entry, ...]] = []
    for name, hits in (
        ("IA (judge)", found.valid),
        ("IA (stated set)", cell.valid),
        ("agreement of the two", agree),
    ):
        interval = clopper_pearson(hits)
        rows.append((name, interval.estimate, interval.low, interval.high, interval.n))
    title = f"Judged by {found.endpoint.model} at {found.endpoint.host}"
    columns = ("of", "share of samples", "low", "high", "samples")
    caption = "The judge's IA decides. Bounds: one-sided 5 %, exact."
    answers = given(cell.bench)
    differing = Counter(answer for answer, same in zip(answers, agree, strict=True) if not same)
    disputed = [
        (answer, times, *_sides(found.judgements[answer]))
        for answer, times in differing.most_common(SHOWN_ANSWERS)
    ]
    shown = f"{len(disputed)} of {len(differing)} shown"
    return [
        Table(title, columns, tuple(rows), caption),
        Table(
            f"Answers on which judge and stated set differ ({shown})",
            ("answered", "times", "judge", "stated set", "reply"),
            tuple(disputed),
        ),
    ]


def _sides(judgement: Judgement) -> tuple[str, str, str]:
    judge, other = ("valid", "not valid") if judgement.valid else ("not valid", "valid")
    return judge, other, judgement.reply


def _can_answer(cell: Cell) -> bool:
    """Whether the task can be put to the checkpoint; its own cell says why not."""
    try:
        return len(cell.exact) > 0
    except ValueError:
        return False


def _cell_of(cell: Cell, name: str) -> Cell:
    """The cell's checkpoint on another task of the run."""
    bench = cell.bench
    if name == bench.task.name:
        return cell
    other = bench.of_task(bench.options.tasks[name])
    return cell.on(other)

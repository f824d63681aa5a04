"""What a cell about behaviour shows: right, valid and wrong answers, and a judge's view of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool

from ivevidence import Figure, Table
from ivevidence.records.cells import Entry
from ivfixtures.data.instructed import InstructedData
from ivfixtures.measuring.judge import Judged, Judgement
from ivfixtures.suite.exhibits import series
from ivmethods.statistics.univariate import clopper_pearson

SHOWN_ANSWERS = 30


def by_task(
    data: InstructedData,
    every: Mapping[str, Sequence[str]],
    judged: Judged | None,
    threshold: float,
) -> Figure:
    """EMA and IA of a checkpoint on all tasks of the run.

    every: its answers by task, of those whose prompts its tokenizer can take. judged: a judge's
    decisions on the data's own.

    Source: Figure 20.
    """
    tasks = data.settings.tasks
    answered = {
        name: (data if name == data.name else data.of_task(tasks[name]), answers)
        for name, answers in every.items()
    }
    more = []
    if judged:
        own = clopper_pearson(judged.valid)
        more = [series("IA (judge)", [own if name == data.name else None for name in every])]
    caption = "Right (EMA) and valid (IA) answers of this checkpoint"
    bars = behaviour_bars("Behaviour by task", answered, caption, more, threshold=threshold)
    if left_out := sorted(tasks.keys() - every.keys()):
        caption = f" Its tokenizer cannot take the prompts of {', '.join(left_out)}."
        return replace(bars, caption=bars.caption + caption)
    return bars


def behaviour_bars(
    title: str,
    answered: Mapping[str, tuple[InstructedData, Sequence[str]]],
    caption: str,
    more: Sequence[dict[str, Any]] = (),
    *,
    threshold: float | None = None,
) -> Figure:
    """EMA and IA of the answers to some prompts, by name, and `more` series of them."""
    exact = [clopper_pearson(data.exact(answers)) for data, answers in answered.values()]
    valid = [clopper_pearson(data.valid(answers)) for data, answers in answered.values()]
    bars = {
        "categories": list(answered),
        "series": [series("EMA", exact), series("IA (stated set)", valid), *more],
        "unit": "share of samples",
        "threshold": threshold,
        "limits": [0.0, 1.0],
    }
    return Figure("bars", title, f"{caption}; bounds: one-sided 5 %, exact.", bars)


def counts(exact: Bool[np.ndarray, " sample"], valid: Bool[np.ndarray, " sample"]) -> Table:
    """How many answers are right, wrong but valid, and invalid."""
    n = len(exact)
    rows = [
        (name, int(hits.sum()), float(hits.mean()))
        for name, hits in (
            ("right", exact),
            ("wrong, but valid", ~exact & valid),
            ("not valid", ~exact & ~valid),
        )
    ]
    caption = "Valid: in the task's stated set of responses, whether or not it is the right one."
    return Table(f"Answers to {n} prompts", ("answers", "count", "share"), tuple(rows), caption)


def not_right(data: InstructedData, answers: Sequence[str]) -> Table:
    """Some of the wrong answers, those that are not even valid first."""
    said, valid = data.given(answers), data.valid(answers)
    wrong = sorted(np.flatnonzero(~data.exact(answers)), key=lambda i: bool(valid[i]))
    rows = [
        (
            *(data.items[i].query, ", ".join(data.items[i].answers), said[i]),
            "yes" if valid[i] else "no",
        )
        for i in wrong[:SHOWN_ANSWERS]
    ]
    title = f"Answers that are not right ({len(rows)} of {len(wrong)} shown)"
    return Table(title, ("query", "right", "answered", "valid (stated set)"), tuple(rows))


def judge_and_set(data: InstructedData, answers: Sequence[str], found: Judged) -> list[Table]:
    """IA as judged and by the stated set, how often they agree, and where they do not."""
    valid, said = data.valid(answers), data.given(answers)
    agree = found.valid == valid
    rows: list[tuple[Entry, ...]] = []
    for name, hits in (
        ("IA (judge)", found.valid),
        ("IA (stated set)", valid),
        ("agreement of the two", agree),
    ):
        interval = clopper_pearson(hits)
        rows.append((name, interval.estimate, interval.low, interval.high, interval.n))
    title = f"Judged by {found.endpoint.model} at {found.endpoint.host}"
    columns = ("of", "share of samples", "low", "high", "samples")
    caption = "The judge's IA decides. Bounds: one-sided 5 %, exact."
    differing = Counter(answer for answer, same in zip(said, agree, strict=True) if not same)
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

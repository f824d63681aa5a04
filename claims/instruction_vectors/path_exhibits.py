"""What path cells show: paths by token, the strongest paths, attribution, the scripts' numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from claims.instruction_vectors.patching_exhibits import token_bars
from claims.instruction_vectors.path_views import PathCounts, prompt_columns
from ivevidence import Figure, Table
from ivevidence.figures.svg import visible_token
from ivevidence.figures.text import format_number
from ivfixtures.data.instructed import InstructedData
from ivfixtures.suite.exhibits import mean_of_known, mean_series
from ivmethods.model.ranks import HIGH_RANK
from ivmethods.paths.methods import ANSWERS
from ivmethods.paths.results import Attributed
from ivmethods.prompts.protocols import token_texts

DRAWN = "Tokens with more paths than `max_paths`: 2,000 of them drawn uniformly, so an estimate."


def path_bars(counts: PathCounts) -> Figure:
    """High-ranking paths by token, among all of its paths (like Figure 4)."""
    columns, high = counts.columns, mean_series("high-ranking paths", counts.high, floor=0.0)
    series = [
        {"name": "all paths", "values": counts.totals.mean(axis=0)},
        _only(high, ~counts.drawn),
        *([_only(high, counts.drawn, "estimated from a sample")] if counts.drawn.any() else []),
    ]
    data = {
        "categories": [visible_token(label) for label in columns.labels],
        "series": series,
        "unit": "mean number of paths",
        "marks": {
            **({} if columns.sub is None else {columns.sub: "sentence end"}),
            columns.t_inst: "T_inst",
        },
        **{"overlaid": True, "log": True},
    }
    caption = (
        "Mean over all samples; whiskers: two standard errors. Of a query of several tokens the "
        f"one with the most paths. {DRAWN if counts.drawn.any() else 'All paths counted.'}"
    )
    return Figure("bars", f"Paths by token, k = {counts.tracing.k}", caption, data)


def strongest_paths(data: InstructedData, counts: PathCounts) -> Figure:
    """The ten paths of the first sample that contribute most to the answer's logit."""
    sample, item = data.samples()[0], data.items[0]
    tokens = token_texts(data.tokenizer, sample.instructed)
    last, paths = len(tokens) - 1, counts.tracing.strongest
    drawn = {
        "x": list(range(len(paths[0][0]) if paths else 0)),
        "x_label": "blocks passed (0: the embedding)",
        "series": [
            {"name": f"{k + 1}: logit {format_number(logit)}", "values": positions}
            for k, (positions, logit) in enumerate(paths)
        ],
        "levels": [visible_token(token) for token in tokens],
        "marks": {last: "T_last", sample.t_inst: "T_inst"}
        if last != sample.t_inst
        else {last: "T_inst, T_last"},
        "unit": "token",
    }
    title = f"Strongest high-ranking paths of {item.query}, k = {counts.tracing.k}"
    caption = f"By what each contributes to the logit of {item.answers[0]}, from T_inst - 1 on."
    return Figure("lines", title, caption, drawn)


def attribution_bars(data: InstructedData, found: Attributed) -> Figure:
    """The answer's logit as a sum over input tokens, through all paths together."""
    aligned = prompt_columns(data, 0)
    values = aligned.gather(found.tokens, np.add)
    caption = (
        "Exact: all paths through all heads, none enumerated. Biases add "
        f"{found.biases.mean():.3g}. Together they give the model's own logits up to a relative "
        f"error of {found.completeness:.1g}. Mean over all samples;"
    )
    title, unit = "What each input token contributes", "logit of the answer"
    return token_bars(title, caption, aligned.labels, values, aligned.t_inst, unit)


def paths_by_token(counts: PathCounts) -> Table:
    """Numbers of paths by token, and the share of them that is high-ranking."""
    own, contrast = (counts.shares(answer) for answer in (0, 1))
    rows = [
        (
            counts.name(c),
            *(float(each[:, c].mean()) for each in (counts.high, counts.low, counts.most)),
            float(counts.totals[:, c].mean()),
            "drawn" if counts.drawn[c] else "counted",
            *(mean_of_known(own[:, c]), mean_of_known(contrast[:, c])),
        )
        for c in range(len(counts.columns.labels))
    ]
    columns = (
        *("token", "high-ranking paths", "at least", "at most", "paths", "how"),
        *("share for the answer", "share for the contrast's answer"),
    )
    caption = (
        "Means over all samples. At least, at most: 95 % bounds where paths were drawn, means "
        "of the samples' own. Share: of a token's paths, those that rank it high."
    )
    return Table(f"Paths by token, k = {counts.tracing.k}", columns, tuple(rows), caption)


def random_token(data: InstructedData, counts: PathCounts) -> Table:
    """The null control: how often paths rank a random token of the vocabulary high."""
    chance = (HIGH_RANK - 1) / data.size().vocabulary
    shares = counts.shares(ANSWERS.index("a random token"))
    rows: list[tuple[str, float | None, float]] = []
    for c in range(len(counts.columns.labels)):
        rows.append((counts.name(c), mean_of_known(shares[:, c]), chance))
    columns = ("token", "share high-ranking for a random token", "expected")
    caption = "One token a sample, uniform over the vocabulary: the shares are expected at chance."
    return Table(
        f"A random token instead of the answer, k = {counts.tracing.k}",
        columns,
        tuple(rows),
        caption,
    )


def paths_by_k(by_k: Sequence[PathCounts], released: PathCounts | None) -> Table:
    """T_inst's paths against the others', for every k and as the authors' scripts count at one."""
    every = [("equation", counts) for counts in by_k]
    rows = []
    for semantics, counts in [*every, *([("released", released)] if released else [])]:
        t_inst, mean = counts.columns.t_inst, counts.high.mean(axis=0)
        later = int(np.argmax(mean[t_inst + 1 :])) + t_inst + 1
        rows.append(
            (
                *(semantics, counts.tracing.k),
                *(mean[t_inst - 1].item() if t_inst else None, mean[t_inst].item()),
                *(mean[later].item(), counts.columns.labels[later]),
                mean_of_known(counts.shares()[:, t_inst]),
                mean_of_known(counts.later_share(t_inst)),
                counts.totals[:, t_inst].mean().item(),
                f"{counts.tracing.single_heads:,}",
            )
        )
    columns = (
        *("semantics", "k", "T_inst - 1", "T_inst", "most of a later token", "which"),
        *("T_inst's share", "later tokens' share", "T_inst's paths"),
        "paths by single heads (first sample)",
    )
    caption = (
        "Mean numbers of high-ranking paths. `released`: as the authors' scripts compute it, for "
        "comparison with Figure 4; it decides nothing."
    )
    if not released:
        caption += " They do not apply here: they need as many key-value heads as heads."
    return Table("By k and semantics", columns, tuple(rows), caption)


def _only(series: dict[str, Any], kept: np.ndarray, name: str = "") -> dict[str, Any]:
    """The series at some tokens, nothing at the others."""
    values = {key: np.where(kept, series[key], np.nan) for key in ("values", "lows", "highs")}
    return {"name": name or series["name"], **values}

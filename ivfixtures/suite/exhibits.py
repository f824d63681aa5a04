"""What a cell shows: its measurements as figures, tables and prompts that a reviewer can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress
from typing import TYPE_CHECKING, Any

import numpy as np

from ivevidence import Figure, Prompt, Table
from ivevidence.figures.svg import visible_token
from ivevidence.records.cells import Entry
from ivmethods.model.metrics import METRICS
from ivmethods.patching.interactions import lead, pair_results
from ivmethods.patching.sweep import LayerTuple
from ivmethods.prompts.protocols import token_texts
from ivmethods.statistics.clusters import intraclass_correlation
from ivmethods.statistics.univariate import Interval, clopper_pearson, concentration

if TYPE_CHECKING:
    from ivfixtures.suite.cells import Cell

UNITS = {"rr": "reciprocal rank", "logit": "logit"}
TABLE_METRICS = ("rr", "logit", "logprob", "logit_diff")
SHOWN_TUPLES = 10
SHOWN_PROMPTS = 3


def effect_maps(cell: Cell, highlight: Sequence[LayerTuple] = ()) -> tuple[Figure, Figure]:
    """Mean effect and mean specific effect of single layers (diagonal) and pairs.

    Source: Figure 2, without its normalization across panels.
    """
    control = "the contrast instruction" if cell.bench.task.contrast else "neutral sentences"
    effect = _map(cell, "Effect", cell.effects(), highlight, "Own instruction at the filler.")
    caption = f"Own instruction minus {control}, per sample."
    return effect, _map(cell, "Specific effect", cell.specific(), highlight, caption)


def position_bars(cell: Cell, layers: LayerTuple) -> Figure:
    """Mean effect by source position, T_inst among the other tokens of the instruction."""
    source = cell.bench.source()[0]
    own = cell.effects()[:, cell.sweep.tuples.index(layers)]
    t_inst = source.position - source.start
    effects = np.insert(cell.controls(layers)["positions"], t_inst, own, axis=1)
    tokens = token_texts(cell.bench.tokenizer, source.ids[source.start :])
    title = f"Effect by source position, layers {layers_text(layers)}"
    unit = f"mean effect ({UNITS[cell.metric]})"
    return token_bars(title, "All samples;", tokens, effects, t_inst, unit)


def token_bars(
    title: str, caption: str, tokens: Sequence[str], values: np.ndarray, t_inst: int, unit: str
) -> Figure:
    """Means over samples of a value of each token.

    values: `[sample, token]`. t_inst: which token is T_inst.
    """
    data = {
        "categories": [visible_token(token) for token in tokens],
        "series": [mean_series(unit, values)],
        "unit": unit,
        "marks": {t_inst: "T_inst"},
    }
    return Figure("bars", title, f"{caption} whiskers: two standard errors.", data)


def top_tuples(cell: Cell) -> Table:
    """The tuples with the largest mean effect; effect and specific effect side by side."""
    columns = ["layers"] + [c for name in TABLE_METRICS for c in (name, f"{name}, specific")]
    rows = []
    for index in np.argsort(-cell.effects().mean(axis=0), kind="stable")[:SHOWN_TUPLES]:
        row: list[str | int | float | None] = [layers_text(cell.sweep.tuples[index])]
        for name in TABLE_METRICS:
            row += [
                mean_of_known(cell.effects(name)[:, index]),
                mean_of_known(cell.specific(name)[:, index]),
            ]
        rows.append((*row, "inert last layer" if cell.sweep.degenerate[index] else ""))
    title = f"Tuples with the largest mean effect on {cell.metric}"
    caption = "Specific: own instruction minus control instruction, per sample. All samples."
    return Table(title, (*columns, "note"), tuple(rows), caption)


def concentrations(cell: Cell) -> Table:
    """How few tuples hold half of the positive mean effect, by order, and what all layers do."""
    rows: list[tuple[str, int, float | None, float | None]] = []
    orders = np.array([len(t) for t in cell.sweep.tuples])
    kept = ~cell.sweep.degenerate.numpy()
    for name, values in (("effect", cell.effects()), ("specific effect", cell.specific())):
        for order in [*range(1, cell.bench.options.order + 1), None]:
            means = values.mean(axis=0)[kept & ((orders == order) | (order is None))]
            if len(means):
                what = "all tuples" if order is None else f"tuples of {order}"
                share = float(concentration(means))
                rows.append((f"{name}, {what}", len(means), share, float(means.max())))
    rows.append(("effect, every layer at once", 1, None, mean_of_known(cell.all_layers())))
    columns = ("of", "tuples", "share that holds half", "largest mean effect")
    caption = (
        "Smallest share of the non-degenerate tuples that holds half of the positive mean effect. "
        "It decides nothing: tuples nest, so that each one with an effective layer has its effect."
    )
    return Table("How concentrated the effect is", columns, tuple(rows), caption)


def pairs(cell: Cell, chosen: Sequence[LayerTuple]) -> Table:
    """Each chosen pair by itself on the samples that decide."""
    deciding = ~cell.is_discovery
    columns = [cell.sweep.tuples.index(t) for t in chosen]
    singles = cell.of_order(1, cell.effects())[deciding]
    found = pair_results(singles, cell.effects()[deciding][:, columns], chosen) if chosen else ()
    names = (
        *("layers", "f(ij)", "f(i) + f(j)", "median interaction", "share of samples above 0"),
        *("exact binomial p", "Holm p", "Wilcoxon p"),
    )
    rows = [
        (
            *(layers_text(r.layers), r.effect, r.singles, r.median_interaction, r.share_positive),
            *(r.binomial_p, r.holm_p, r.wilcoxon_p),
        )
        for r in found
    ]
    caption = "Samples that decide. Interaction: f(ij) - f(i) - f(j); p-values one-sided."
    return Table("The chosen pairs", names, tuple(rows), caption)


def leads(cell: Cell) -> Table:
    """The best pair against the best single layer, and the best triple against the best pair."""
    rows = []
    for order in range(2, cell.bench.options.order + 1):
        for name, values in (("effect", cell.effects()), ("specific effect", cell.specific())):
            larger, smaller = cell.of_order(order, values), cell.of_order(order - 1, values)
            found = lead(larger, smaller, is_discovery=cell.is_discovery, seed=cell.seed)
            best = layers_text(cell.tuples_of_order(order)[found.best])
            rival = layers_text(cell.tuples_of_order(order - 1)[found.rival])
            d = found.difference
            rows.append((name, best, rival, d.estimate, d.low, d.high, found.p_value))
    columns = ("of", "best tuple", "best with one layer less", "lead", "low", "high", "sign-flip p")
    caption = "Best on the picking part; their mean difference on the samples that decide."
    return Table("What one more layer adds", columns, tuple(rows), caption)


def runs(cell: Cell) -> Table:
    """Mean metrics of target and instructed runs, and the gap between them."""
    rows = []
    for name in TABLE_METRICS:
        target, gap = cell.bench.runs()["target"][METRICS.index(name)], cell.gap(name)
        n = int(np.isfinite(gap).sum())
        rows.append(
            (name, mean_of_known(target), mean_of_known(target + gap), mean_of_known(gap), n)
        )
    columns = ("metric", "target run", "instructed run", "gap", "samples")
    return Table("What there is to restore", columns, tuple(rows))


def controls(cell: Cell, layers: LayerTuple) -> Table:
    """What else was written at the patch site after the same layers, and its effect."""
    own = cell.effects()[:, cell.sweep.tuples.index(layers)]
    rows: list[tuple[str, int, float | None, float | None]] = [
        ("T_inst of the own instruction", 1, mean_of_known(own), mean_of_known(own))
    ]
    names = {
        "random": "norm-matched random vectors",
        "positions": "other positions of the instruction",
        "neutral": "neutral sentences",
    }
    for key, name in names.items():
        means = cell.controls(layers)[key].mean(axis=0)
        rows.append(
            (name, len(means), mean_of_known(means), float(means.max()) if len(means) else None)
        )
    columns = ("written", "draws", f"mean effect on {cell.metric}", "largest mean effect of a draw")
    no_op = "No-op (the target's own activations, every layer): largest change of a logit "
    title = f"Controls at layers {layers_text(layers)}"
    return Table(title, columns, tuple(rows), f"{no_op}{cell.bench.no_op():.2g}.")


def behaviour(cell: Cell) -> Table:
    """EMA and IA with exact one-sided 95 % bounds."""
    rows = []
    for name, hits in (("EMA (exact match)", cell.exact), ("IA (valid response)", cell.valid)):
        interval = clopper_pearson(hits)
        rows.append((name, interval.estimate, interval.low, interval.high, interval.n))
    return Table("Behaviour", ("metric", "share", "low", "high", "samples"), tuple(rows))


def answers(cell: Cell, values: Mapping[str, np.ndarray]) -> Table:
    """How alike the samples of one right answer are, in each of some values a sample."""
    deciding = ~cell.is_discovery
    labels = list(compress(cell.labels, deciding))
    rows: list[tuple[Entry, ...]] = []
    for name, each in values.items():
        alike = intraclass_correlation(each[deciding], labels)
        known = [None if np.isnan(number) else float(number) for number in alike]
        rows.append((name, len(labels), len(set(labels)), *known))
    columns = ("of", "samples", "answers", "intraclass correlation", "design effect")
    caption = (
        "Samples that decide. Design effect: how many times the variance of a mean is that of as "
        "many samples of different answers; none where no two samples share an answer. All "
        "samples have the same wording of the instruction: the verdict is about this wording."
    )
    return Table("Answers", columns, tuple(rows), caption)


def prompts(cell: Cell) -> tuple[Prompt, ...]:
    """The first samples' instructed prompts, and a target prompt, and what is judged of each."""
    tokenizer = cell.bench.tokenizer
    few = list(zip(cell.bench.items, cell.bench.samples(), cell.bench.answers(), strict=True))
    shown = []
    for item, sample, output in few[:SHOWN_PROMPTS]:
        marks = {sample.t_inst: "T_inst", len(sample.instructed) - 1: "T_last"}
        *tokens, judged = token_texts(tokenizer, (*sample.instructed, sample.answer))
        label = f"{item.query}: instructed"
        shown.append(Prompt(label, tuple(tokens), marks, item.answers[0], output, judged))
    item, sample, _ = few[0]
    marks = {sample.site: "patch site", len(sample.target) - 1: "T_last"}
    target = token_texts(tokenizer, sample.target)
    label = f"{item.query}: target run"
    return (*shown, Prompt(label, target, marks, item.answers[0], "", shown[0].token))


def released(cell: Cell) -> Table:
    """The paper's own statistics: top 10 of the released protocol, and the test of Tables 5-8.

    Ties stand as in the published tables, which go through the pairs row by row: a single layer,
    there the pair (i, i), before the pairs that begin with it.

    Source: docs/design.md, "The superadditivity test". Its t-test holds a mean of booleans against
    50.0 and so rejects whatever the data; it is shown, and decides nothing.
    """
    sweep = cell.bench.sweep(protocol="released")
    ranking = "rr_released" if cell.metric == "rr" else "logit"
    means = np.round(sweep.of(ranking).numpy().mean(axis=0), 2)
    logits = sweep.of("logit").numpy()
    rows = []
    row_by_row = sorted(range(len(means)), key=lambda i: (-means[i], sweep.tuples[i]))
    for index in row_by_row[:SHOWN_TUPLES]:
        t = sweep.tuples[index]
        parts = [sweep.tuples.index((layer,)) for layer in (t[0], t[-1])]
        holds = logits[:, index] >= logits[:, parts].sum(axis=1)
        spread = np.sqrt(holds.mean() * (1 - holds.mean()) / (len(holds) - 1))
        statistic = f"{(holds.mean() - 50) / spread:.3e}" if spread else "-inf"
        rows.append((layers_text(t), float(means[index]), int(holds.sum()), len(holds), statistic))
    columns = ("layers", f"mean {ranking}", "f(ij) >= f(i) + f(j) on", "of samples", "t against 50")
    caption = (
        "As the authors' scripts compute it, for comparison with the paper's tables. It decides "
        "nothing here: a t-test of a mean of booleans against 50 rejects whatever the data."
    )
    return Table("Statistics of the released scripts", columns, tuple(rows), caption)


def pair_maps(
    title: str,
    caption: str,
    unit: str,
    panels: Mapping[str, tuple[Sequence[LayerTuple], np.ndarray, Sequence[LayerTuple]]],
) -> Figure:
    """Values of single layers (diagonal) and pairs, all panels on one color scale.

    panels: by name, the tuples, a value of each, and the chosen ones among them.
    """
    count = 1 + max(t[-1] for tuples, *_ in panels.values() for t in tuples)
    names = [str(layer) for layer in range(count)]
    data = {
        **{"rows": names, "columns": names, "unit": unit, "mark": "chosen"},
        **{"row_label": "layer i", "column_label": "layer j"},
        "panels": [_pair_panel(name, count, *each) for name, each in panels.items()],
    }
    return Figure("matrix", title, caption, data)


def _pair_panel(
    title: str,
    count: int,
    tuples: Sequence[LayerTuple],
    means: np.ndarray,
    chosen: Sequence[LayerTuple],
) -> dict[str, Any]:
    values: list[list[float | None]] = [[None] * count for _ in range(count)]
    for t, mean in zip(tuples, means, strict=True):
        if len(t) <= 2:
            values[t[0]][t[-1]] = float(mean)
    marked = [[t[0], t[-1]] for t in chosen if len(t) <= 2]
    return {"title": title, "values": values, "marked": marked}


def series(name: str, intervals: Sequence[Interval | None]) -> dict[str, Any]:
    """A figure's series of estimates with their bounds."""
    return {
        "name": name,
        "values": [i.estimate if i else None for i in intervals],
        "lows": [i.low if i else None for i in intervals],
        "highs": [i.high if i else None for i in intervals],
    }


def mean_series(name: str, values: np.ndarray, floor: float = -np.inf) -> dict[str, Any]:
    """A figure's series of means over samples, two standard errors around them, above `floor`."""
    mean = values.mean(axis=0)
    error = 2 * values.std(axis=0, ddof=1) / np.sqrt(len(values))
    low = np.maximum(mean - error, floor)
    return {"name": name, "values": mean, "lows": low, "highs": mean + error}


def layers_text(layers: LayerTuple) -> str:
    """A tuple of layers as people write it."""
    return ", ".join(str(layer) for layer in layers)


def chosen_text(tuples: Sequence[LayerTuple]) -> str:
    """The tuples that the picking part picked, in its order; empty where it picked none."""
    noun = "layer" if sum(map(len, tuples)) == 1 else "layers"
    return f"{noun} {' · '.join(map(layers_text, tuples))}" if tuples else ""


def _map(
    cell: Cell, title: str, effects: np.ndarray, highlight: Sequence[LayerTuple], caption: str
) -> Figure:
    beyond = [layers_text(t) for t in highlight if len(t) > 2]
    chosen = f" Chosen, and not on the map: layers {'; '.join(beyond)}." if beyond else ""
    return pair_maps(
        f"{title} on {cell.metric}",
        f"{caption} All samples.{chosen}",
        f"mean effect ({UNITS[cell.metric]})",
        {"": (cell.sweep.tuples, effects.mean(axis=0), highlight)},
    )


def mean_of_known(values: np.ndarray) -> float | None:
    """Mean of the values that are not NaN or infinite; None if there is none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None

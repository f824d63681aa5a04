"""What patching cells show: effects by tuple and position, what there is to restore, controls."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from claims.instruction_vectors.views import Patched, gap_of
from ivevidence import Figure, Table
from ivevidence.figures.svg import visible_token
from ivfixtures.data.instructed import InstructedData
from ivfixtures.suite.exhibits import mean_of_known, mean_series
from ivmethods.model.metrics import METRICS
from ivmethods.patching.interactions import lead, pair_results
from ivmethods.patching.sweep import LayerTuple, Sweep
from ivmethods.prompts.protocols import token_texts
from ivmethods.statistics.univariate import concentration

UNITS = {"rr": "reciprocal rank", "logit": "logit"}
TABLE_METRICS = ("rr", "logit", "logprob", "logit_diff")
SHOWN_TUPLES = 10


def effect_maps(view: Patched, highlight: Sequence[LayerTuple] = ()) -> tuple[Figure, Figure]:
    """Mean effect and mean specific effect of single layers (diagonal) and pairs.

    Source: Figure 2, without its normalization across panels.
    """
    effect = _map(view, "Effect", view.effects(), highlight, "Own instruction at the filler.")
    caption = f"Own instruction minus {view.against}, per sample."
    return effect, _map(view, "Specific effect", view.specific(), highlight, caption)


def position_bars(
    data: InstructedData,
    view: Patched,
    layers: LayerTuple,
    positions: Float[np.ndarray, "sample pos"],
) -> Figure:
    """Mean effect by source position, T_inst among the other tokens of the instruction.

    positions: effects of the others at these layers.
    """
    source = data.source()[0]
    own = view.effects()[:, view.tuples.index(layers)]
    t_inst = source.position - source.start
    effects = np.insert(positions, t_inst, own, axis=1)
    tokens = token_texts(data.tokenizer, source.ids[source.start :])
    title = f"Effect by source position, layers {layers_text(layers)}"
    unit = f"mean effect ({UNITS[view.metric]})"
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


def top_tuples(view: Patched) -> Table:
    """The tuples with the largest mean effect; effect and specific effect side by side."""
    columns = ["layers"] + [c for name in TABLE_METRICS for c in (name, f"{name}, specific")]
    rows = []
    for index in np.argsort(-view.effects().mean(axis=0), kind="stable")[:SHOWN_TUPLES]:
        row: list[str | int | float | None] = [layers_text(view.tuples[index])]
        for name in TABLE_METRICS:
            row += [
                mean_of_known(view.effects(name)[:, index]),
                mean_of_known(view.specific(name)[:, index]),
            ]
        rows.append((*row, "inert last layer" if view.degenerate[index] else ""))
    title = f"Tuples with the largest mean effect on {view.metric}"
    caption = "Specific: own instruction minus control instruction, per sample. All samples."
    return Table(title, (*columns, "note"), tuple(rows), caption)


def concentrations(view: Patched, all_layers: Float[np.ndarray, " sample"]) -> Table:
    """How few tuples hold half of the positive mean effect, by order, and what all layers do."""
    rows: list[tuple[str, int, float | None, float | None]] = []
    orders = np.array([len(t) for t in view.tuples])
    kept = ~view.degenerate
    for name, values in (("effect", view.effects()), ("specific effect", view.specific())):
        for order in [*range(1, view.order + 1), None]:
            means = values.mean(axis=0)[kept & ((orders == order) | (order is None))]
            if len(means):
                what = "all tuples" if order is None else f"tuples of {order}"
                share = float(concentration(means))
                rows.append((f"{name}, {what}", len(means), share, float(means.max())))
    rows.append(("effect, every layer at once", 1, None, mean_of_known(all_layers)))
    columns = ("of", "tuples", "share that holds half", "largest mean effect")
    caption = (
        "Smallest share of the non-degenerate tuples that holds half of the positive mean effect. "
        "It decides nothing: tuples nest, so that each one with an effective layer has its effect."
    )
    return Table("How concentrated the effect is", columns, tuple(rows), caption)


def pairs(view: Patched, chosen: Sequence[LayerTuple]) -> Table:
    """Each chosen pair by itself on the samples that decide."""
    deciding = ~view.is_discovery
    columns = [view.tuples.index(t) for t in chosen]
    singles = view.of_order(1, view.effects())[deciding]
    found = pair_results(singles, view.effects()[deciding][:, columns], chosen) if chosen else ()
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


def leads(view: Patched) -> Table:
    """The best pair against the best single layer, and the best triple against the best pair."""
    rows = []
    for order in range(2, view.order + 1):
        for name, values in (("effect", view.effects()), ("specific effect", view.specific())):
            larger, smaller = view.of_order(order, values), view.of_order(order - 1, values)
            found = lead(larger, smaller, is_discovery=view.is_discovery, seed=view.seed)
            best = layers_text(view.tuples_of_order(order)[found.best])
            rival = layers_text(view.tuples_of_order(order - 1)[found.rival])
            d = found.difference
            rows.append((name, best, rival, d.estimate, d.low, d.high, found.p_value))
    columns = ("of", "best tuple", "best with one layer less", "lead", "low", "high", "sign-flip p")
    caption = "Best on the picking part; their mean difference on the samples that decide."
    return Table("What one more layer adds", columns, tuple(rows), caption)


def runs(runs: Mapping[str, np.ndarray]) -> Table:
    """Mean metrics of target and instructed runs, and the gap between them."""
    rows = []
    for name in TABLE_METRICS:
        target, gap = runs["target"][METRICS.index(name)], gap_of(runs, name)
        n = int(np.isfinite(gap).sum())
        rows.append(
            (name, mean_of_known(target), mean_of_known(target + gap), mean_of_known(gap), n)
        )
    columns = ("metric", "target run", "instructed run", "gap", "samples")
    return Table("What there is to restore", columns, tuple(rows))


def controls(
    view: Patched,
    layers: LayerTuple,
    others: Mapping[str, Float[np.ndarray, "sample draw"]],
    no_op: float,
) -> Table:
    """What else was written at the patch site after the same layers, and its effect.

    others: effects by kind of vector. no_op: the largest change of a logit by the target's own.
    """
    own = view.effects()[:, view.tuples.index(layers)]
    rows: list[tuple[str, int, float | None, float | None]] = [
        ("T_inst of the own instruction", 1, mean_of_known(own), mean_of_known(own))
    ]
    names = {
        "random": "norm-matched random vectors",
        "positions": "other positions of the instruction",
        "neutral": "neutral sentences",
    }
    for key, name in names.items():
        means = others[key].mean(axis=0)
        rows.append(
            (name, len(means), mean_of_known(means), float(means.max()) if len(means) else None)
        )
    columns = ("written", "draws", f"mean effect on {view.metric}", "largest mean effect of a draw")
    caption = "No-op (the target's own activations, every layer): largest change of a logit "
    title = f"Controls at layers {layers_text(layers)}"
    return Table(title, columns, tuple(rows), f"{caption}{no_op:.2g}.")


def released(sweep: Sweep, metric: str) -> Table:
    """The paper's own statistics: top 10 of the released protocol, and the test of Tables 5-8.

    Ties stand as in the published tables, which go through the pairs row by row: a single layer,
    there the pair (i, i), before the pairs that begin with it.

    Source: docs/design.md, "The superadditivity test". Its t-test holds a mean of booleans against
    50.0 and so rejects whatever the data; it is shown, and decides nothing.
    """
    ranking = "rr_released" if metric == "rr" else "logit"
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


def layers_text(layers: LayerTuple) -> str:
    """A tuple of layers as people write it."""
    return ", ".join(str(layer) for layer in layers)


def chosen_text(tuples: Sequence[LayerTuple]) -> str:
    """The tuples that the picking part picked, in its order; empty where it picked none."""
    noun = "layer" if sum(map(len, tuples)) == 1 else "layers"
    return f"{noun} {' · '.join(map(layers_text, tuples))}" if tuples else ""


def _map(
    view: Patched, title: str, effects: np.ndarray, highlight: Sequence[LayerTuple], caption: str
) -> Figure:
    beyond = [layers_text(t) for t in highlight if len(t) > 2]
    chosen = f" Chosen, and not on the map: layers {'; '.join(beyond)}." if beyond else ""
    return pair_maps(
        f"{title} on {view.metric}",
        f"{caption} All samples.{chosen}",
        f"mean effect ({UNITS[view.metric]})",
        {"": (view.tuples, effects.mean(axis=0), highlight)},
    )

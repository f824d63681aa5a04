"""What the cells of this pack show: effects of heads, exact and estimated."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from ivevidence import Figure, Table
from ivfixtures.suite.exhibits import mean_of_known

SHOWN_HEADS = 10
Effects = Float[np.ndarray, "sample layer head"]


def effects(exact: Effects, quick: Effects) -> Figure:
    """Mean effect of every head, patched and estimated, on one color scale."""
    layers, heads = exact.shape[1:]
    data = {
        "rows": [str(layer) for layer in range(layers)],
        "columns": [str(head) for head in range(heads)],
        "panels": [
            {"title": title, "values": values.mean(axis=0), "marked": []}
            for title, values in (("patched", exact), ("estimated", quick))
        ],
        **{"row_label": "layer", "column_label": "head", "unit": "mean effect (logit difference)"},
    }
    caption = "Clean values written into the corrupt run, each head alone. Mean over all pairs."
    return Figure("matrix", "Effects of heads", caption, data)


def against(exact: Effects, quick: Effects) -> Figure:
    """The estimate of every head against its effect, in the mean over pairs."""
    points = np.column_stack([exact.mean(axis=0).ravel(), quick.mean(axis=0).ravel()])
    data = {
        "classes": [{"name": "heads", "points": points.tolist(), "hollow": []}],
        **{"x_label": "patched (logit difference)", "y_label": "estimated (logit difference)"},
        **{"filled": "mean over pairs", "hollow": ""},
    }
    return Figure("points", "Estimates against effects", "One point a head.", data)


def largest(exact: Effects, quick: Effects) -> Table:
    """The heads with the largest mean effects, by size, and their estimates."""
    means, estimates = exact.mean(axis=0), quick.mean(axis=0)
    rows = []
    for index in np.argsort(-np.abs(means), axis=None, kind="stable")[:SHOWN_HEADS]:
        at = np.unravel_index(index, means.shape)
        rows.append((f"{at[0]}.{at[1]}", float(means[at]), float(estimates[at])))
    columns = ("layer.head", "mean effect", "mean estimate")
    return Table("Heads with the largest effects", columns, tuple(rows), "All pairs.")


def gaps(scores: Mapping[str, Float[np.ndarray, " sample"]], no_op: float) -> Table:
    """What there is to restore, and what writing a head's own output does."""
    rows = [(run, mean_of_known(values), len(values)) for run, values in scores.items()]
    caption = f"No-op (a head's own output, written): largest effect {no_op:.2g}."
    columns = ("run", "mean logit difference (answer - wrong)", "pairs")
    return Table("Unpatched runs", columns, tuple(rows), caption)

"""Figures of every kind made up for tests: plausible ones, and ones that are hard to draw."""

import numpy as np

from ivevidence import Figure

TOKENS = ("<bos>", "Give", "·the", "·antonym", "·of", "·the", "·adjective", ".", "·Adjective", ":")
TOKENS += ("·big", ".", "·Answer", ":")
T_INST = 7
STAGES = ("base", "sft", "dpo", "instruct")
TASKS = ("adj_comp", "adj_ant", "anim_color", "can_fly")


def matrix(layers: int = 6, heads: int = 4, titles: tuple[str, ...] = TASKS[:2]) -> Figure:
    """Active heads in early layers, fewer of them later; one head that was not measured."""
    rng = np.random.default_rng(layers * heads)
    panels = []
    for title in titles:
        values = rng.beta(0.4, 2.0, (layers, heads)) * np.linspace(1, 0.4, layers)[:, None]
        marked = np.argwhere(values > 0.2)
        values[-1, -1] = np.nan
        panels.append({"title": title, "values": values.tolist(), "marked": marked})
    data = {
        "rows": [str(layer) for layer in range(layers)],
        "columns": [str(head) for head in range(heads)],
        "panels": panels,
        **{"unit": "share of high-ranking paths", "row_label": "layer", "column_label": "head"},
        **{"limit": 1.0, "mark": "significant"},
    }
    return Figure("matrix", "Head activity at T_inst", "Mean over 100 samples.", data)


def paths_by_token(tokens: tuple[str, ...] = TOKENS, top: float = 6e5, **data) -> Figure:
    """Counts that grow toward the first token, with one token without high-ranking paths."""
    rng = np.random.default_rng(len(tokens))
    totals = np.round(top ** np.linspace(1, 0.05, len(tokens)))
    high = totals * rng.uniform(0.001, 0.3, len(tokens))
    high[2] = 0
    spread = high * rng.uniform(0.1, 0.5, len(tokens))
    sampled = np.where(totals > 1e4, high, np.nan)
    some = {"lows": high - spread, "highs": high + spread}
    data = {
        "categories": tokens,
        "series": [
            {"name": "all paths", "values": totals},
            {"name": "high-ranking paths", "values": np.where(totals > 1e4, np.nan, high), **some},
            {"name": "estimated from a sample", "values": sampled},
        ],
        **{"unit": "mean number of paths", "marks": {T_INST: "T_inst", 4: "sentence end"}},
        **{"overlaid": True, "log": True, **data},
    }
    return Figure("bars", "Paths by token", "Mean over 100 samples.", data)


def trajectories(layers: int = 6, paths: int = 10, tokens: tuple[str, ...] = TOKENS) -> Figure:
    """Paths that leave T_inst at various layers, some of them by way of a later token."""
    rng = np.random.default_rng(layers)
    last, found = len(tokens) - 1, []
    for k in range(paths):
        leaves, arrives = np.sort(rng.integers(1, layers + 1, 2))
        via = T_INST if k % 3 else min(T_INST + 3, last)
        way = np.repeat([T_INST, via, last], [leaves, arrives - leaves, layers + 1 - arrives])
        found.append({"name": f"{k + 1}: logit {14.2 - 0.9 * k:.3g}", "values": way})
    data = {"x": range(layers + 1), "x_label": "blocks passed", "series": found, "levels": tokens}
    data |= {"unit": "token", "marks": {T_INST: "T_inst", last: "T_last"}, "x": [*data["x"]]}
    return Figure("lines", "Strongest paths", "Sample 3, big.", data)


def lines(layers: int = 6, **data) -> Figure:
    """A probe that gets better with depth, and its two controls."""
    x = np.arange(layers)
    probe = 1 - 0.6 * np.exp(-0.8 * x)
    rows = {"probe": probe, "shuffled labels": 0.25 + 0.02 * np.sin(x), "bag of words": x * 0 + 0.7}
    series = [
        {"name": name, "values": row, "lows": row - 0.04, "highs": np.minimum(row + 0.04, 1)}
        for name, row in rows.items()
    ]
    data = {"x": x, "series": series, "unit": "accuracy", "threshold": 0.98, **data}
    data["x_label"] = "layer"
    return Figure("lines", "Accuracy by layer", "Ten folds by instruction; 95 % intervals.", data)


def points(number: int = 100, classes: tuple[str, ...] = TASKS) -> Figure:
    """`number` of each class around its own center, half of them held out."""
    rng = np.random.default_rng(number)
    found = []
    for name in classes:
        cloud = rng.normal(rng.normal(0, 4, 2), 0.8, (number, 2))
        half = number // 2
        found.append({"name": name, "points": cloud[:half], "hollow": cloud[half:]})
    data = {"classes": found, "x_label": "first discriminant", "y_label": "second discriminant"}
    data |= {"filled": "fitted", "hollow": "held out"}
    return Figure("points", "Rephrasings by task", "Fitted on half of the instructions.", data)


def bars(categories: tuple[str, ...] = TASKS, names: tuple[str, ...] = STAGES) -> Figure:
    """Accuracies that grow from stage to stage, one of them 0 and one missing."""
    rng = np.random.default_rng(len(names))
    series = []
    for k, name in enumerate(names):
        values = np.clip(rng.uniform(0.1, 0.6, len(categories)) + 0.15 * k, 0, 1)
        if len(categories) > 1:
            values[0] = 0 if k == 0 else values[0]
            values[-1] = np.nan if k == 1 else values[-1]
        lows, highs = np.clip(values - 0.08, 0, 1), np.clip(values + 0.08, 0, 1)
        series.append({"name": name, "values": values, "lows": lows, "highs": highs})
    data = {"categories": categories, "series": series, "unit": "share", "threshold": 0.5}
    data["limits"] = (0, 1)
    return Figure("bars", "Valid answers", "100 samples; exact 95 % intervals.", data)


def history(checkpoints: int = 5, **data) -> Figure:
    """A claim put to the test from the second checkpoint on, up to the fourth."""
    rng = np.random.default_rng(checkpoints)
    estimates = []
    for k in range(checkpoints):
        estimate = 0.12 * k + rng.uniform(-0.03, 0.03)
        outcome = "supported" if estimate > 0.15 else "inconclusive" if k else "not_applicable"
        row = {"name": f"step-{k}000", "estimate": None, "outcome": outcome}
        if k:
            row |= {"estimate": estimate, "low": estimate - 0.05, "high": estimate + 0.05}
            row |= {"threshold": 0.1}
        estimates.append(
            row if k < 4 else {"name": f"step-{k}000", "estimate": None, "outcome": None}
        )
    data = {"estimates": estimates, "unit": "share of gap", "one_scale": True, **data}
    return Figure("intervals", "adj_comp", "Share of gap, effect; 90 % intervals.", data)


EXAMPLES = (matrix(), paths_by_token(), trajectories(), lines(), points(), bars(), history())

"""Figures of every kind made up for tests: plausible ones, and ones that are hard to draw."""

import numpy as np

from ivevidence import Figure

TOKENS = ("<bos>", "Give", " the", " antonym", " of", " the", " adjective", ".", " Adjective", ":")
TOKENS += (" big", ".", " Answer", ":")
T_INST = 7
STAGES = ("base", "sft", "dpo", "instruct")
TASKS = ("adj_comp", "adj_ant", "anim_color", "can_fly")


def path_bars(
    tokens: tuple[str, ...] = TOKENS, t_inst: int | None = T_INST, top: float = 6e5, **data
) -> Figure:
    """Counts that grow toward the first token, with one token without high-ranking paths."""
    rng = np.random.default_rng(len(tokens))
    totals = np.round(top ** np.linspace(1, 0.05, len(tokens)))
    shares = rng.uniform(0.001, 0.3, len(tokens))
    high = totals * shares
    if len(tokens) > 3:
        high[2] = 0
    spread = high * rng.uniform(0.1, 0.5, len(tokens))
    data = {
        "tokens": tokens, "high_ranking": high, "totals": totals, "t_inst": t_inst,
        "lows": high - spread, "highs": high + spread, **data,
    }  # fmt: skip
    return Figure("path_bars", "Paths by token", "Mean over 100 samples.", data)


def head_maps(layers: int = 6, heads: int = 4, titles: tuple[str, ...] = TASKS[:2]) -> Figure:
    """Active heads in early layers, fewer of them later; one head that was not measured."""
    rng = np.random.default_rng(layers * heads)
    panels = []
    for title in titles:
        values = rng.beta(0.4, 2.0, (layers, heads)) * np.linspace(1, 0.4, layers)[:, None]
        significant = values > 0.2
        values[-1, -1] = np.nan
        panels.append({"title": title, "values": values.tolist(), "significant": significant})
    data = {"panels": panels, "unit": "share of high-ranking paths"}
    return Figure("head_maps", "Head activity at T_inst", "Mean over 100 samples.", data)


def trajectories(
    layers: int = 6, paths: int = 10, tokens: tuple[str, ...] = TOKENS, t_inst: int = T_INST
) -> Figure:
    """Paths that leave T_inst at various layers, some of them by way of a later token."""
    rng = np.random.default_rng(layers)
    last, found = len(tokens) - 1, []
    for k in range(paths):
        leaves, arrives = np.sort(rng.integers(1, layers + 1, 2))
        via = t_inst if k % 3 else min(t_inst + 3, last)
        positions = np.repeat([t_inst, via, last], [leaves, arrives - leaves, layers + 1 - arrives])
        found.append({"positions": positions, "value": 14.2 - 0.9 * k, "rank": 1 + k**2})
    data = {"tokens": tokens, "paths": found, "t_inst": t_inst, "unit": "logit"}
    return Figure("trajectories", "Strongest paths", "Sample 3, big.", data)


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
    return Figure("lines", "Accuracy by layer", "Ten folds by instruction; 95 % intervals.", data)


def scatter(points: int = 100, classes: tuple[str, ...] = TASKS) -> Figure:
    """`points` of each class around its own center, half of them held out."""
    rng = np.random.default_rng(points)
    found = []
    for name in classes:
        cloud = rng.normal(rng.normal(0, 4, 2), 0.8, (points, 2))
        half = points // 2
        found.append({"name": name, "points": cloud[:half], "held_out": cloud[half:]})
    data = {"classes": found, "x_label": "first discriminant", "y_label": "second discriminant"}
    return Figure("scatter", "Rephrasings by task", "Fitted on half of the instructions.", data)


def grouped_bars(categories: tuple[str, ...] = TASKS, names: tuple[str, ...] = STAGES) -> Figure:
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
    return Figure("grouped_bars", "Valid answers", "100 samples; exact 95 % intervals.", data)


def history(checkpoints: int = 5, **data) -> Figure:
    """A claim put to the test from the second checkpoint on, up to the fourth."""
    rng = np.random.default_rng(checkpoints)
    points = []
    for k in range(checkpoints):
        estimate = 0.12 * k + rng.uniform(-0.03, 0.03)
        verdict = "supported" if estimate > 0.15 else "inconclusive" if k else "not_applicable"
        point = {"label": f"step-{k}000", "verdict": verdict, "group": 0}
        if k:
            point |= {"estimate": estimate, "low": estimate - 0.05, "high": estimate + 0.05}
            point |= {"threshold": 0.1}
        points.append(point if k < 4 else {"label": f"step-{k}000", "verdict": None})
    data = {"points": points, "unit": "share of gap", **data}
    return Figure("history", "adj_comp", "Share of gap, effect; 90 % intervals.", data)


EXAMPLES = (path_bars(), head_maps(), trajectories(), lines(), scatter(), grouped_bars())
EXAMPLES += (history(),)

"""What a cell about probes shows: accuracy by layer, the LDA plane, controls, mistakes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from claims.instruction_vectors.probing import Probes
from ivevidence import Figure, Table
from ivfixtures.suite.exhibits import series
from ivmethods.probes.held_out import OneAgainstRest, Probe, accuracy, mean_recall, one_against_rest
from ivmethods.probes.methods import RANDOM_LABELINGS
from ivmethods.probes.separability import separable_by_chance

FLAT = ("bag of words", "layer-0 input")
SHOWN_TOKENS = 8
SHOWN_MISTAKES = 20


def accuracy_by_layer(
    name: str, probes: Probes, threshold: float, copy: Probe | None = None
) -> Figure:
    """A task against the others, by layer, with the controls.

    copy: the probe of the copy with random weights, where there is one.
    """
    index = probes.rephrasings.tasks.index(name)
    labels = probes.rephrasings.labels
    count = len(probes.probe.by_layer)
    controls = probes.controls(name)

    def by_layer(title: str, predictions: np.ndarray, of: np.ndarray = labels) -> dict[str, Any]:
        found = [one_against_rest(predicted, of, index) for predicted in predictions]
        return series(title, [accuracy(each) for each in found])

    lines = [
        by_layer("T_inst residual", probes.probe.by_layer),
        *(series(control, [accuracy(controls[control])] * count) for control in FLAT),
        by_layer("shuffled labels", probes.shuffled, probes.shuffled_labels),
        *([by_layer("random weights", copy.by_layer)] if copy else []),
    ]
    caption = " Layer l is the output of block l; the words and the layer-0 input have no layer."
    return accuracy_lines("Accuracy of a linear probe by layer", lines, name, threshold, caption)


def accuracy_lines(
    title: str, lines: Sequence[dict[str, Any]], task: str, threshold: float, caption: str = ""
) -> Figure:
    """A figure of accuracies by layer, a line a series."""
    data = {
        "x": list(range(len(lines[0]["values"]))),
        "series": lines,
        **{"x_label": "layer", "unit": f"accuracy, {task} against the others"},
        **{"threshold": threshold, "limits": [0.4, 1.0]},
    }
    said = "Balanced accuracy (0.5 is chance) of held-out rephrasings; bounds: one-sided 5 %."
    return Figure("lines", title, said + caption, data)


def lda_scatter(probes: Probes) -> Figure:
    """The rephrasings in the plane of an LDA fitted on half of them.

    Source: Figure 21.
    """
    layer = probes.probe.usual_layer
    classes = []
    for index, task in enumerate(probes.rephrasings.tasks):
        own = probes.rephrasings.labels == index
        classes.append(
            {
                "name": task,
                "points": probes.plane[own & probes.is_fitted].tolist(),
                "hollow": probes.plane[own & ~probes.is_fitted].tolist(),
            }
        )
    caption = (
        f"T_inst residuals of layer {layer}. Fitted on one half of the rephrasings; of the other "
        f"half {probes.plane_accuracy[layer]:.1%} are nearest to their own task's mean."
    )
    data = {
        "classes": classes,
        **{"x_label": "first direction", "y_label": "second direction"},
        **{"filled": "fitted", "hollow": "held out"},
    }
    return Figure("points", f"LDA of the rephrasings, layer {layer}", caption, data)


def layers(task: str, probes: Probes) -> Table:
    """Each layer's probe, exact separability and LDA plane."""
    index = probes.rephrasings.tasks.index(task)
    labels = probes.rephrasings.labels
    chosen = Counter(probes.probe.chosen.tolist())
    predictions = [probes.by_input, *probes.probe.by_layer]
    rows: list[tuple[str | int | float | None, ...]] = []
    for stream, predicted in enumerate(predictions):
        layer = stream - 1
        rows.append(
            (
                f"layer {layer}" if stream else "layer-0 input",
                mean_recall(predicted, labels),
                one_against_rest(predicted, labels, index).accuracy,
                "yes" if probes.separable[stream, index] else "no",
                f"{int(probes.separable[stream].sum())} of {len(probes.rephrasings.tasks)}",
                int(probes.dimensions[stream]),
                float(probes.plane_accuracy[layer]) if stream else None,
                chosen[layer] if stream else None,
            )
        )
    columns = (
        *("of", "mean recall of all tasks", "this task against the others"),
        *("exactly separable", "tasks separable", "dimensions", "LDA plane", "folds that chose it"),
    )
    return Table("Separability by layer", columns, tuple(rows), _informative(probes))


def controls(probe: OneAgainstRest, controls: Mapping[str, OneAgainstRest]) -> Table:
    """The probe and its controls on the same held-out rephrasings."""
    rows = []
    for what, found in {"probe": probe, **controls}.items():
        a = accuracy(found)
        shares = float(found.own.mean()), float(found.others.mean())
        rows.append((what, a.estimate, a.low, a.high, *shares, a.n))
    columns = ("from", "accuracy", "low", "high", "own recognized", "others kept apart", "n")
    caption = (
        "One task against the others: accuracy is the mean of the two shares, 0.5 is chance. "
        "Bounds are one-sided, 5 %. The layer-0 input is T_inst's embedding, nothing else."
    )
    return Table("Probe and controls", columns, tuple(rows), caption)


def released(probes: Probes) -> Table:
    """The accuracy of the released scripts' probe, and what its leak is worth.

    Source: docs/design.md, "Probe".
    """
    leak = probes.released
    rows = (
        ("rows of all layers, split at random (released)", leak.pooled),
        ("the same rows, no instruction on both sides", leak.grouped),
        ("leak", leak.size),
    )
    caption = "All tasks together; a quarter of the rows is held out. It decides nothing here."
    return Table("Statistics of the released scripts", ("split", "accuracy"), rows, caption)


def last_tokens(probes: Probes) -> Table:
    """What stands at T_inst, by task: all that the layer-0 input can tell."""
    tasks = probes.rephrasings.tasks
    counts = Counter(zip(probes.tokens, probes.rephrasings.labels.tolist(), strict=True))
    common = [token for token, _ in Counter(probes.tokens).most_common(SHOWN_TOKENS)]
    rows: list[tuple[str | int, ...]] = [
        (token, *(counts[token, k] for k in range(len(tasks)))) for token in common
    ]
    return Table("Tokens at T_inst", ("token", *tasks), tuple(rows))


def mistakes(task: str, probes: Probes) -> Table:
    """Held-out rephrasings of the task that are taken for another's, and the other way round."""
    some = probes.rephrasings
    index = some.tasks.index(task)
    predicted = probes.probe.predicted
    wrong = np.flatnonzero((predicted == index) != (some.labels == index))
    rows = [
        (some.texts[i], some.tasks[some.labels[i]], some.tasks[predicted[i]])
        for i in wrong[:SHOWN_MISTAKES]
    ]
    title = f"Mistaken rephrasings ({len(rows)} of {len(wrong)} shown)"
    return Table(title, ("rephrasing", "task", "taken for"), tuple(rows))


def _informative(probes: Probes) -> str:
    layer, some = probes.probe.usual_layer, probes.rephrasings
    samples, width = len(some.labels), int(probes.dimensions[layer + 1])
    share = separable_by_chance(samples, width)
    says = "says something about the tasks" if share < 0.5 else "says nothing about the tasks"
    return (
        f"Exactly separable: by linear programming, from all other tasks. At layer {layer}, "
        f"{samples} samples span {width} dimensions: a share of {share:.2g} of all labelings is "
        f"separable by chance (Cover), and {probes.random_separable} of {RANDOM_LABELINGS} random "
        f"labelings were, so that being separable {says}."
    )

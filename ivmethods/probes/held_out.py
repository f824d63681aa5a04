"""Linear probes: how well a task is told from representations of its instructions, held out."""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Bool, Float, Integer
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from ivmethods.prompts.answers import normalize_answer
from ivmethods.statistics.univariate import ALPHA, Interval, clopper_pearson

MAX_ITERATIONS = 10_000
RELEASED_TEST_SHARE = 4  # one in four, scikit-learn's default


@dataclass(frozen=True, eq=False)
class Probe:
    """Held-out predictions of a probe whose layer is chosen on other folds.

    by_layer: the predicted task of each sample at each layer, from the folds it is not in. chosen:
    the layer of each fold, picked without that fold. folds: the fold of each sample.
    """

    by_layer: Integer[np.ndarray, "layer sample"]
    chosen: Integer[np.ndarray, " fold"]
    folds: Integer[np.ndarray, " sample"]

    @property
    def predicted(self) -> Integer[np.ndarray, " sample"]:
        """The predicted task of each sample at the layer chosen for its fold."""
        return self.at_chosen(self.by_layer)

    @property
    def usual_layer(self) -> int:
        """The layer that most folds chose; of equal ones the lowest."""
        return int(np.bincount(self.chosen).argmax())

    def at_chosen(
        self, by_layer: Integer[np.ndarray, "layer sample"]
    ) -> Integer[np.ndarray, " sample"]:
        """Of predictions at every layer, those at the layer chosen for each sample's fold."""
        return by_layer[self.chosen[self.folds], np.arange(len(self.folds))]


@dataclass(frozen=True, eq=False)
class OneAgainstRest:
    """What held-out predictions say about one task.

    own: whether each instruction of the task is assigned to it. others: whether each instruction of
    the other tasks is not.
    """

    own: Bool[np.ndarray, " own_sample"]
    others: Bool[np.ndarray, " other_sample"]

    @property
    def accuracy(self) -> float:
        """Half the share of the own recognized and half that of the others kept apart.

        This balanced accuracy is 0.5 by chance, whatever the number of tasks.
        """
        return float(self.own.mean() + self.others.mean()) / 2


@dataclass(frozen=True)
class Leak:
    """Accuracy of one probe on rows of all layers, split over rows at random or by instruction."""

    pooled: float
    grouped: float

    @property
    def size(self) -> float:
        """What the random split adds by having the same instruction on both sides."""
        return self.pooled - self.grouped


def grouped_folds(
    labels: Integer[np.ndarray, " sample"],
    groups: Integer[np.ndarray, " sample"],
    *,
    folds: int,
    seed: int,
) -> Integer[np.ndarray, " sample"]:
    """A fold for each sample, such that samples of one group are never in two folds.

    A label's groups are dealt out evenly; a group with several labels goes with its first sample's.
    """
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    shuffled = np.random.default_rng(seed).permutation(len(first))
    dealt = shuffled[np.argsort(labels[first][shuffled], kind="stable")]
    fold = np.empty(len(first), dtype=np.int64)
    fold[dealt] = np.arange(len(first)) % folds
    return fold[group]


def probe(
    layers: Float[np.ndarray, "layer sample d_model"],
    labels: Integer[np.ndarray, " sample"],
    folds: Integer[np.ndarray, " sample"],
) -> Probe:
    """Held-out predictions of multinomial logistic regression, its layer chosen on other folds.

    Nested cross-validation: a fold's layer has the largest mean recall over tasks where each of the
    other folds is predicted from the rest of them; of equal layers the lowest. The fit without
    folds a and b serves both, predicting b to choose for a and a to choose for b.

    Source: section 5.1, "a simple linear probe". Deviation: the released script splits rows of all
    layers at random (`released_probe`).
    """
    count = int(folds.max()) + 1
    by_layer = np.stack([held_out(layer, labels, folds) for layer in layers])
    recalls = np.empty((len(layers), count))
    for index, layer in enumerate(layers):
        inner = np.empty((count, len(labels)), dtype=np.int64)
        for a in range(count):
            for b in range(a):
                away = np.isin(folds, (a, b))
                predicted = _predicted(layer[~away], labels[~away], layer[away])
                inner[b, away], inner[a, away] = predicted, predicted
        recalls[index] = [
            mean_recall(inner[a, folds != a], labels[folds != a]) for a in range(count)
        ]
    return Probe(by_layer, recalls.argmax(axis=0), folds)


def held_out(
    features: Float[np.ndarray, "sample feature"],
    labels: Integer[np.ndarray, " sample"],
    folds: Integer[np.ndarray, " sample"],
    *,
    standardized: bool = True,
) -> Integer[np.ndarray, " sample"]:
    """Predictions of each fold by multinomial logistic regression fitted on the other folds.

    Features are standardized by the training folds, tasks weigh the same, and the L2 penalty is
    scikit-learn's (C = 1).
    """
    predicted = np.empty(len(labels), dtype=np.int64)
    for fold in range(int(folds.max()) + 1):
        test = folds == fold
        predicted[test] = _predicted(
            features[~test], labels[~test], features[test], standardized=standardized
        )
    return predicted


def word_counts(texts: Sequence[str]) -> Float[np.ndarray, "sample word"]:
    """How often each word and punctuation mark stands in each text, in lower case."""
    counter = CountVectorizer(token_pattern=r"\w+|[^\w\s]", dtype=np.float64)  # noqa: S106
    return counter.fit_transform(texts).toarray()


def bags_of_words(texts: Sequence[str]) -> list[tuple[str, ...]]:
    """The words of each text in lower case and in order of the alphabet, punctuation left out."""
    return [tuple(sorted(re.findall(r"\w+", text.lower()))) for text in texts]


def instruction_groups(texts: Sequence[str]) -> Integer[np.ndarray, " sample"]:
    """Equal for the same instruction, whatever its case, spaces, punctuation or order of words.

    With its words in another task's training folds, an instruction would be told wrong by them.
    """
    bags = bags_of_words(texts)
    first: dict[tuple[str, ...], str] = {}
    for text, bag in sorted(zip(map(normalize_answer, texts), bags, strict=True)):
        first.setdefault(bag, text)
    return np.unique([first[bag] for bag in bags], return_inverse=True)[1]


def mean_recall(
    predicted: Integer[np.ndarray, " sample"], labels: Integer[np.ndarray, " sample"]
) -> float:
    """Share of each task's samples that are predicted right, averaged over tasks."""
    return float(np.mean([(predicted[labels == k] == k).mean() for k in np.unique(labels)]))


def one_against_rest(
    predicted: Integer[np.ndarray, " sample"], labels: Integer[np.ndarray, " sample"], task: int
) -> OneAgainstRest:
    """What held-out predictions say about one task."""
    return OneAgainstRest(predicted[labels == task] == task, predicted[labels != task] != task)


def with_equal_bags(
    texts: Sequence[str], labels: Integer[np.ndarray, " sample"], task: int
) -> Bool[np.ndarray, " sample"]:
    """Which texts have the same words as a text across the line between a task and all others.

    No predictor of words alone, order left out, can be right about both sides of such a pair.
    """
    bags = bags_of_words(texts)
    sides = [
        {bag for bag, k in zip(bags, labels, strict=True) if (k == task) == own}
        for own in (True, False)
    ]
    return np.array([bag in sides[0] & sides[1] for bag in bags])


def accuracy(found: OneAgainstRest, *, alpha: float = ALPHA, alpha_high: float = ALPHA) -> Interval:
    """Balanced accuracy: half the share of the own recognized, half that of the others kept apart.

    0.5 is chance whatever the number of tasks. The bounds are exact for independent samples; those
    of one fold share a fit, which correlates their errors slightly.
    """
    return _combined([(0.5, found.own), (0.5, found.others)], alpha, alpha_high)


def lead(
    found: OneAgainstRest,
    control: OneAgainstRest,
    *,
    alpha: float = ALPHA,
    alpha_high: float = ALPHA,
) -> Interval:
    """Balanced accuracy minus that of a control, between bounds that hold however they depend."""
    parts = [(0.5, found.own), (0.5, found.others), (-0.5, control.own), (-0.5, control.others)]
    return _combined(parts, alpha, alpha_high)


def released_probe(
    layers: Float[np.ndarray, "layer sample d_model"],
    labels: Integer[np.ndarray, " sample"],
    groups: Integer[np.ndarray, " sample"],
    *,
    seed: int,
) -> Leak:
    """Accuracy of the released scripts' probe, and of the same one without its leak.

    A quarter of the rows is held out: of all rows at random, or all rows of a quarter of the
    groups.

    Source: docs/design.md, "Probe": rows of all layers pooled, scikit-learn's defaults.
    """
    n_layers, samples = len(layers), len(labels)
    rows, row_labels = layers.reshape(n_layers * samples, -1), np.tile(labels, n_layers)
    order = np.random.default_rng(seed).permutation(len(rows))
    at_random = np.isin(np.arange(len(rows)), order[: len(rows) // RELEASED_TEST_SHARE])
    by_group = grouped_folds(labels, groups, folds=RELEASED_TEST_SHARE, seed=seed) == 0
    found = []
    for test in (at_random, np.tile(by_group, n_layers)):
        with warnings.catch_warnings():
            # The default number of iterations is part of what is measured.
            warnings.simplefilter("ignore", ConvergenceWarning)
            fitted = LogisticRegression().fit(rows[~test], row_labels[~test])
        found.append(float(fitted.score(rows[test], row_labels[test])))
    return Leak(pooled=found[0], grouped=found[1])


def _predicted(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray, *, standardized: bool = True
) -> Integer[np.ndarray, " sample"]:
    if standardized:
        mean, spread = train.mean(axis=0), train.std(axis=0)
        spread = np.where(spread > 0, spread, 1.0)
        train, test = (train - mean) / spread, (test - mean) / spread
    # Balanced, or features that tell nothing would be told by which task the training folds lack.
    fitted = LogisticRegression(max_iter=MAX_ITERATIONS, class_weight="balanced")
    return fitted.fit(train, labels).predict(test)


def _combined(parts: list[tuple[float, np.ndarray]], alpha: float, alpha_high: float) -> Interval:
    """A weighted sum of shares; each bound shares its alpha among them, so they may depend."""
    at = partial(_combined_at, parts, (alpha, alpha_high))
    estimate = float(sum(w * hits.mean() for w, hits in parts))
    return Interval(estimate, *at(ALPHA), sum(len(hits) for w, hits in parts if w > 0), at)


def _combined_at(
    parts: list[tuple[float, np.ndarray]], alphas: tuple[float, float], level: float
) -> tuple[float, float]:
    weights = [weight for weight, _ in parts]
    errors = [alpha / len(parts) * (level / ALPHA) for alpha in alphas]
    lows, highs = ([clopper_pearson(hits, alpha=e) for _, hits in parts] for e in errors)
    return (
        float(sum(w * (s.low if w > 0 else s.high) for w, s in zip(weights, lows, strict=True))),
        float(sum(w * (s.high if w > 0 else s.low) for w, s in zip(weights, highs, strict=True))),
    )

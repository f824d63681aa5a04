import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ivmethods.model.handles import network
from ivmethods.model.memory import row_bytes
from ivmethods.model.recording import record, record_sources
from ivmethods.probes.held_out import (
    OneAgainstRest,
    accuracy,
    grouped_folds,
    held_out,
    lead,
    mean_recall,
    one_against_rest,
    probe,
    released_probe,
    word_counts,
)
from ivmethods.probes.separability import (
    dimensions,
    lda_plane,
    linearly_separable,
    separable_by_chance,
)
from ivmethods.prompts.protocols import Source
from ivmethods.statistics.univariate import clopper_pearson
from tests.models import LAYOUTS, VOCAB, wrapped

# ------------------------------------------------------------------------------------ recording


AMPLE = 2**28


def random_sources(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sources = []
    for index in range(count):
        length = 2 + index % 4
        ids = torch.randint(3, VOCAB, (length,), generator=generator).tolist()
        sources.append(Source(str(index), tuple(ids), index % length))
    return sources


@pytest.mark.parametrize("layout", LAYOUTS)
def test_sources_recorded_together_are_those_recorded_alone(layout):
    model, sources = wrapped(layout, 3), random_sources(11)
    done = []
    streams = record_sources(model, sources, progress=done.append, memory_budget=AMPLE)
    assert streams.shape[:2] == (4, 11)
    assert done[-1] == 11
    for i, source in enumerate(sources):
        alone = record(model, source.ids, positions=[source.position])[0]
        torch.testing.assert_close(streams[1:, i], alone, rtol=1e-4, atol=1e-5)


def test_more_sources_than_the_budget_has_room_for_keep_their_order():
    model, sources = wrapped("llama", 1), random_sources(40)
    together = record_sources(model, sources, memory_budget=3 * row_bytes(model, 5))
    some = [0, 33, 7, 32]
    few = record_sources(model, [sources[i] for i in some], memory_budget=AMPLE)
    torch.testing.assert_close(together[:, some], few, rtol=1e-4, atol=1e-5)


def test_the_layer_0_input_is_the_embedding_of_the_token_alone():
    model, sources = wrapped("olmo2", 2), random_sources(8)
    embedding = network(model).get_input_embeddings()
    expected = [embedding.weight[source.ids[source.position]] for source in sources]
    torch.testing.assert_close(
        record_sources(model, sources, memory_budget=AMPLE)[0], torch.stack(expected)
    )


# ---------------------------------------------------------------------------------------- folds

labelled_groups = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 30)), min_size=1, max_size=60
).map(lambda pairs: tuple(np.array(column) for column in zip(*pairs, strict=True)))


@given(labelled_groups, st.integers(2, 5), st.integers(0, 3))
def test_no_group_is_in_two_folds_and_labels_are_dealt_evenly(pairs, count, seed):
    labels, groups = pairs
    folds = grouped_folds(labels, groups, folds=count, seed=seed)
    assert set(folds) <= set(range(count))
    owned: dict[int, dict[int, int]] = {}
    for group in np.unique(groups):
        of_group = folds[groups == group]
        assert len(set(of_group)) == 1
        owned.setdefault(labels[groups == group][0], {})[group] = of_group[0]
    for of_label in owned.values():
        sizes = np.bincount(list(of_label.values()), minlength=count)
        assert sizes.max() - sizes.min() <= 1


def test_folds_depend_on_the_seed_alone():
    labels, groups = np.arange(60) % 3, np.arange(60)
    folds = [grouped_folds(labels, groups, folds=5, seed=seed) for seed in (0, 0, 1)]
    assert np.array_equal(folds[0], folds[1])
    assert not np.array_equal(folds[0], folds[2])


# --------------------------------------------------------------------------------------- probes


def world(generator, *, per_task=12, tasks=3, width=4, strengths=(0.0, 1.5, 0.7)):
    """Layers in which the tasks' means are `strengths` apart, in standard deviations of noise."""
    labels = np.repeat(np.arange(tasks), per_task)
    means = generator.normal(size=(tasks, width))
    noise = generator.normal(size=(len(strengths), len(labels), width))
    return np.array(strengths)[:, None, None] * means[labels] + noise, labels


def slow_held_out(features, labels, folds, among):
    """Predict the samples of each fold in `among` from the others in it, one sample at a time."""
    predicted = {}
    for i in np.flatnonzero(np.isin(folds, among)):
        train = np.isin(folds, among) & (folds != folds[i])
        regression = LogisticRegression(max_iter=10_000, class_weight="balanced")
        fitted = make_pipeline(StandardScaler(), regression)
        predicted[i] = fitted.fit(features[train], labels[train]).predict(features[i : i + 1])[0]
    return predicted


def test_the_probe_is_the_plain_nested_loop():
    layers, labels = world(np.random.default_rng(1), strengths=(1, 1, 1))
    folds = grouped_folds(labels, np.arange(len(labels)), folds=3, seed=0)
    chosen, expected = [], np.empty(len(labels), int)
    for fold in range(3):
        others = [other for other in range(3) if other != fold]
        recalls = []
        for layer in layers:
            inner = slow_held_out(layer, labels, folds, others)
            right = [[inner[i] == k for i in inner if labels[i] == k] for k in range(3)]
            recalls.append(np.mean([np.mean(hits) for hits in right]))
        chosen.append(int(np.argmax(recalls)))
        outer = slow_held_out(layers[chosen[-1]], labels, folds, [0, 1, 2])
        for i in np.flatnonzero(folds == fold):
            expected[i] = outer[i]
    found = probe(layers, labels, folds)
    assert list(found.chosen) == chosen
    assert np.array_equal(found.predicted, expected)
    assert len(set(chosen)) > 1, "the world is such that folds choose different layers"
    for layer, predicted in zip(layers, found.by_layer, strict=True):
        assert np.array_equal(predicted, held_out(layer, labels, folds))


def test_a_fold_has_no_part_in_choosing_its_layer_nor_in_its_fit():
    layers, labels = world(np.random.default_rng(1))
    folds = grouped_folds(labels, np.arange(len(labels)), folds=3, seed=0)
    before = probe(layers, labels, folds)
    poisoned = np.where(folds == 1, (labels + 1) % 3, labels)
    after = probe(layers, poisoned, folds)
    assert after.chosen[1] == before.chosen[1]
    assert np.array_equal(after.predicted[folds == 1], before.predicted[folds == 1])
    assert not np.array_equal(after.predicted[folds != 1], before.predicted[folds != 1])


def test_the_layer_that_holds_the_task_is_chosen_and_equal_ones_go_to_the_lowest():
    layers, labels = world(np.random.default_rng(0), strengths=(0, 9, 9, 0))
    folds = grouped_folds(labels, np.arange(len(labels)), folds=4, seed=0)
    found = probe(layers, labels, folds)
    assert list(found.chosen) == [1] * 4
    assert found.usual_layer == 1
    assert mean_recall(found.predicted, labels) == 1


@given(st.permutations(range(9)), st.floats(0.01, 100), st.floats(-9, 9))
@settings(max_examples=20)
def test_predictions_do_not_depend_on_order_scale_or_origin(order, scale, shift):
    layers, labels = world(np.random.default_rng(0), per_task=3)
    folds = np.arange(9) % 3
    expected = held_out(layers[1], labels, folds)
    order = np.array(order)
    found = held_out(scale * layers[1][order] + shift, labels[order], folds[order])
    assert np.array_equal(found, expected[order])


@pytest.mark.parametrize("samples", [30, 300])
def test_features_that_tell_nothing_are_at_chance_in_uneven_folds(samples):
    """Without balance, the task that the training folds lack most would never be predicted."""
    generator = np.random.default_rng(0)
    found = []
    for _ in range(40):
        labels, folds = generator.integers(0, 2, samples), np.arange(samples) % 5
        predicted = held_out(np.ones((samples, 2)), labels, folds)
        found.append(one_against_rest(predicted, labels, 0).accuracy)
    assert np.mean(found) == pytest.approx(0.5, abs=0.02)


def test_words_are_counted_in_lower_case_and_with_punctuation():
    counts = word_counts(["State it, state it!", "It is."])
    assert counts.tolist() == [[1, 1, 0, 0, 2, 2], [0, 0, 1, 1, 1, 0]]  # ! , . is it state


def test_mean_recall_counts_every_task_alike():
    labels, predicted = np.array([0] * 8 + [1] * 2), np.zeros(10, int)
    assert mean_recall(predicted, labels) == 0.5


# ------------------------------------------------------------------------------------- accuracy

hits = st.lists(st.booleans(), min_size=1, max_size=40).map(np.array)


@given(hits, hits, hits, hits)
def test_bounds_of_accuracy_and_lead_add_up_from_exact_ones(own, others, own2, others2):
    found, control = OneAgainstRest(own, others), OneAgainstRest(own2, others2)
    a, b = accuracy(found, alpha=0.05, alpha_high=0.02), lead(found, control)
    assert a.estimate == pytest.approx((own.mean() + others.mean()) / 2)
    assert a.estimate == pytest.approx(found.accuracy)
    parts = [clopper_pearson(part, alpha=0.025) for part in (own, others)]
    assert a.low == pytest.approx((parts[0].low + parts[1].low) / 2)
    parts = [clopper_pearson(part, alpha=0.01) for part in (own, others)]
    assert a.high == pytest.approx((parts[0].high + parts[1].high) / 2)
    assert a.n == len(own) + len(others) == b.n
    mine = [clopper_pearson(part, alpha=0.0125) for part in (own, others)]
    its = [clopper_pearson(part, alpha=0.0125) for part in (own2, others2)]
    assert b.estimate == pytest.approx(a.estimate - accuracy(control).estimate)
    assert b.low == pytest.approx(sum(m.low - i.high for m, i in zip(mine, its, strict=True)) / 2)
    assert b.high == pytest.approx(sum(m.high - i.low for m, i in zip(mine, its, strict=True)) / 2)


def test_one_against_rest_is_about_one_task():
    labels, predicted = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 2, 0])
    found = one_against_rest(predicted, labels, 0)
    assert found.own.tolist() == [True, False]
    assert found.others.tolist() == [True, True, False]
    # Another task's mistake that does not touch this one is none of it.
    assert one_against_rest(np.array([0, 0, 2, 1, 1]), labels, 0).others.all()


# ----------------------------------------------------------------------------- exact separability


def planted(generator, arrangement, *, samples=80, width=2):
    """Two classes at the corners of a square; further dimensions are noise."""
    corner = generator.choice([-1, 1], size=(samples, 2))
    is_class = corner[:, 0] > 0 if arrangement == "separable" else corner.prod(axis=1) > 0
    points = np.column_stack([5 * corner, np.zeros((samples, width - 2))])
    return points + generator.uniform(-1, 1, size=points.shape), is_class


@pytest.mark.parametrize("width", [2, 6])
def test_separable_and_xor_arrangements_are_told_apart(width):
    generator = np.random.default_rng(0)
    for _ in range(10):
        assert linearly_separable(*planted(generator, "separable", width=width))
        assert not linearly_separable(*planted(generator, "xor", width=width))


def test_with_more_dimensions_than_samples_even_xor_and_random_labels_are_separable():
    generator = np.random.default_rng(0)
    for arrangement in ("separable", "xor"):
        points, is_class = planted(generator, arrangement, width=100)
        assert linearly_separable(points, is_class)
    assert linearly_separable(points, generator.permutation(is_class))
    assert separable_by_chance(len(points), dimensions(points)) == 1


def slow_separable(points, is_class):
    """Whether projections on some line do not overlap; critical lines are normal to two points."""
    a, b = points[is_class], points[~is_class]
    directions = [np.array([1.0, 0.0]), np.array([0.0, 1.0])]
    for p, q in itertools.combinations(points, 2):
        along = (q - p).astype(float)
        for normal in (np.array([-along[1], along[0]]), along):
            if normal.any():
                turned = np.array([-normal[1], normal[0]])
                directions += [normal, normal + 1e-4 * turned, normal - 1e-4 * turned]
    gaps = [max((a @ d).min() - (b @ d).max(), (b @ d).min() - (a @ d).max()) for d in directions]
    return max(gaps) > 1e-9


grid = st.tuples(st.integers(-3, 3), st.integers(-3, 3), st.booleans())


@given(st.lists(grid, min_size=2, max_size=8))
@settings(max_examples=150)
def test_exact_separability_in_the_plane_is_that_of_all_lines(rows):
    points, is_class = np.array(rows, float)[:, :2], np.array([row[2] for row in rows])
    if is_class.all() or not is_class.any():
        is_class[0] = not is_class[0]
    assert linearly_separable(points, is_class) == slow_separable(points, is_class)


@pytest.mark.parametrize("gap", [1e-1, 1e-4])
def test_classes_are_separable_by_any_gap_and_not_where_they_touch(gap):
    line = np.array([[0.0], [1.0], [1.0], [1.1]])
    is_class = np.array([False, False, True, True])
    assert not linearly_separable(line, is_class)
    assert linearly_separable(line - gap * np.eye(4)[:, 1:2], is_class)


@pytest.mark.parametrize(("samples", "width"), [(5, 1), (6, 2), (6, 3), (6, 5)])
def test_the_share_of_separable_labelings_is_what_enumeration_finds(samples, width):
    points = np.random.default_rng(0).normal(size=(samples, width))
    labelings = [np.array(bits) for bits in itertools.product((False, True), repeat=samples)]
    # A hyperplane may leave all samples on one side.
    found = [b.all() or not b.any() or linearly_separable(points, b) for b in labelings]
    assert separable_by_chance(samples, width) == pytest.approx(np.mean(found))


def test_dimensions_are_those_the_samples_span():
    generator = np.random.default_rng(0)
    flat = generator.normal(size=(30, 3)) @ generator.normal(size=(3, 10)) + 7
    assert dimensions(flat) == 3
    assert dimensions(generator.normal(size=(5, 10))) == 4
    assert dimensions(np.ones((4, 10))) == 0


# ------------------------------------------------------------------------------------- LDA, leak


def test_the_plane_is_fitted_on_one_half_and_scored_on_the_other():
    generator = np.random.default_rng(0)
    (points,), labels = world(generator, per_task=40, strengths=(1.5,))
    is_fitted = grouped_folds(labels, np.arange(120), folds=2, seed=0) == 0
    found = lda_plane(points, labels, is_fitted)
    lda = LinearDiscriminantAnalysis(n_components=2).fit(points[is_fitted], labels[is_fitted])
    np.testing.assert_allclose(found.points, lda.transform(points))
    # Three tasks have two directions, so the plane loses nothing of equally frequent tasks.
    assert found.accuracy == pytest.approx(lda.score(points[~is_fitted], labels[~is_fitted]))
    swapped = labels.copy()
    swapped[~is_fitted] = (labels[~is_fitted] + 1) % 3
    after = lda_plane(points, swapped, is_fitted)
    np.testing.assert_array_equal(after.points, found.points)
    assert after.accuracy < 0.3 < found.accuracy


def test_random_labels_are_near_chance_in_the_plane_of_the_other_half():
    generator = np.random.default_rng(0)
    points, labels = generator.normal(size=(200, 60)), np.arange(200) % 4
    is_fitted = np.arange(200) < 100
    assert lda_plane(points, labels, is_fitted).accuracy < 0.45
    assert lda_plane(points, labels, np.arange(200) < 199).points.shape == (200, 2)


def test_where_all_points_are_the_same_there_is_no_direction():
    found = lda_plane(np.ones((80, 5)), np.arange(80) % 4, np.arange(80) < 40)
    assert not found.points.any()
    assert found.accuracy == 0.25


def test_two_tasks_have_one_direction():
    points, is_class = planted(np.random.default_rng(0), "separable")
    found = lda_plane(points, is_class.astype(int), np.arange(80) % 2 == 0)
    assert found.accuracy == 1
    assert not found.points[:, 1].any()


def test_the_released_split_leaks_the_instruction():
    """Rows tell the instruction, which is the same at every layer, and nothing of its task."""
    generator = np.random.default_rng(0)
    labels = np.arange(120) % 4
    instruction = generator.normal(size=(120, 60))
    layers = instruction + 0.1 * generator.normal(size=(6, 120, 60))
    found = released_probe(layers, labels, np.arange(120), seed=0)
    assert found.pooled > 0.7
    assert found.grouped < 0.45
    assert found.size == found.pooled - found.grouped
    clear = layers + 9 * generator.normal(size=(4, 60))[labels]
    assert abs(released_probe(clear, labels, np.arange(120), seed=0).size) < 0.02

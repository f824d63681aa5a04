"""Path measurements of a checkpoint: what is traced, stored, aligned and refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from claims.instruction_vectors import needs
from claims.instruction_vectors.columns import QUERY, columns
from claims.instruction_vectors.path_views import path_counts, prompt_columns
from claims.instruction_vectors.settings import Settings
from ivevidence import Store
from ivfixtures.measuring.measurements import CheckpointRefusedError, model_of
from ivmethods.model.layouts import weights_of
from ivmethods.model.methods import Runs
from ivmethods.paths import methods
from ivmethods.paths.graph import path_graph
from ivmethods.paths.linear_maps import completeness, linear_forms
from ivmethods.paths.tracing import trace_paths
from tests.measured import Measured, data_of

tokens = st.lists(st.integers(0, 3), min_size=1, max_size=4)


@given(st.lists(tokens, min_size=1, max_size=5), tokens, tokens)
def test_columns_hold_every_position_once_and_common_tokens_alone(queries, before, after):
    rows = [[9, 9, *before, *query, *after] for query in queries]
    aligned = columns(rows, [str(token) for token in rows[0]], first=1, t_inst=1, sub=None)
    for row, positions in zip(rows, aligned.positions, strict=True):
        assert [p for column in positions for p in column] == list(range(1, len(row)))
        assert len(positions) == len(aligned.labels)
    for c, label in enumerate(aligned.labels):
        cells = [[row[p] for p in at[c]] for row, at in zip(rows, aligned.positions, strict=True)]
        assert all(cells)
        if label != QUERY:
            assert [[int(label)]] * len(rows) == cells
    assert aligned.labels[aligned.t_inst] == "9"


def test_values_of_a_query_of_several_tokens_are_combined():
    aligned = columns([[5, 1, 7], [5, 1, 2, 7]], list("abc"), first=0, t_inst=0, sub=None)
    values = np.array([[1.0, 2, 3, np.nan], [4, 5, 6, 7]])
    assert aligned.labels == ("a", QUERY, "c")
    assert aligned.gather(values, np.add).tolist() == [[1, 2, 3], [4, 11, 7]]


PACK = Settings(max_paths=10**6)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    return Measured(Store(tmp_path_factory.mktemp("store")))


@pytest.fixture
def traced(measured):
    """What is traced of a task's data."""

    def trace(data, k, semantics="equation", settings=PACK):
        return measured(data, needs.paths(data, settings, k, semantics))

    return trace


@pytest.fixture
def counted(traced):
    """The same, by column."""
    return lambda data, *how, **settings: path_counts(data, traced(data, *how, **settings))


def model_for(data):
    return model_of(data.checkpoint, "cpu", data.settings.dtype)


def test_what_is_stored_is_what_tracing_a_sample_alone_finds(measured, traced):
    data = data_of(samples=6)
    found = traced(data, 2)
    model = model_for(data)
    weights = weights_of(model)
    for i, sample in enumerate(data.samples()):
        (form,) = linear_forms(model, [sample.instructed], weights=weights)
        starts = range(sample.t_inst - 1, len(sample.instructed))
        answers = torch.tensor([sample.answer, sample.contrast or 0])
        alone = trace_paths(form, path_graph(form, k=2), starts, answers, memory_budget=2**28)
        n = len(starts)
        assert found.totals[i, :n].tolist() == list(alone.totals)
        assert np.array_equal(found.hits[i, :n, :2], alone.hits)
        np.testing.assert_allclose(found.uses[i, :n], alone.uses, rtol=1e-6)
        assert np.isnan(found.totals[i, n:]).all()
    before = measured.store.measured
    again = traced(data_of(samples=6), 2)
    assert measured.store.measured == before
    assert np.array_equal(again.uses, found.uses, equal_nan=True)


def test_a_random_token_ranks_high_by_chance_and_the_answer_more_often(counted):
    counts = counted(data_of(samples=40), 1)
    chance = 99 / 2048
    random = np.nanmean(counts.shares(2), axis=1)
    error = random.std(ddof=1) / np.sqrt(len(random))
    assert abs(random.mean() - chance) < 4 * error
    assert np.nanmean(counts.shares(0)) > 2 * chance


def test_attribution_sums_to_the_logit_of_the_instructed_run(measured):
    data = data_of(samples=6)
    found = measured(data, methods.Attribution())
    logits = measured(data, Runs())["instructed"][1]  # METRICS: logit
    total = np.nansum(found.tokens, axis=1) + found.biases
    np.testing.assert_allclose(total, logits, rtol=1e-3)
    assert found.completeness < 1e-5


def test_the_sub_instruction_ends_before_the_instruction(traced):
    data = data_of("can_fly", samples=6)
    aligned = prompt_columns(data, 0)
    assert aligned.labels[aligned.sub] == aligned.labels[aligned.t_inst] == "."
    assert aligned.sub < aligned.t_inst
    assert traced(data, 1).first == aligned.sub - 1
    assert prompt_columns(data_of("adj_ant"), 0).sub is None


def test_more_paths_than_allowed_are_drawn_and_estimated(counted, monkeypatch):
    monkeypatch.setattr("ivmethods.paths.tracing.DRAWS", 100)
    data = data_of(samples=6)
    exact, drawn = counted(data, 3), counted(data, 3, settings=Settings(max_paths=30))
    assert not exact.drawn.any()
    assert drawn.drawn[drawn.columns.t_inst]
    assert np.array_equal(exact.totals, drawn.totals)
    assert (drawn.low <= drawn.high).all()
    inside = (drawn.low <= exact.high) & (exact.high <= drawn.most)
    assert inside.mean() > 0.9
    assert (drawn.low < drawn.most)[:, drawn.columns.t_inst].all()
    assert np.array_equal(exact.low, exact.most)
    t_inst = exact.columns.t_inst
    assert drawn.high[:, t_inst].mean() == pytest.approx(exact.high[:, t_inst].mean(), rel=0.25)


def test_released_semantics_has_answers_and_epsilon_of_its_own(traced):
    data = data_of(samples=6)
    equation, released = (traced(data, 1, name) for name in ("equation", "released"))
    assert np.array_equal(equation.totals, released.totals, equal_nan=True)
    assert not np.array_equal(equation.hits, released.hits, equal_nan=True)


def test_an_incomplete_linear_form_is_refused(traced, monkeypatch):
    monkeypatch.setitem(methods.LARGEST_INCOMPLETENESS, "float32", 0.0)
    with pytest.raises(CheckpointRefusedError, match=r"^completeness=.*but should be at most 0"):
        traced(data_of(samples=6), 1)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_linear_form_of_16_bits_is_as_complete_as_their_rounding_allows(measured, dtype):
    data = data_of(samples=6, dtype=dtype)
    error = measured(data, methods.Attribution()).completeness
    assert error > methods.LARGEST_INCOMPLETENESS["float32"] / 10, "the dtype is that of the model"
    assert error < methods.LARGEST_INCOMPLETENESS[dtype] / 4
    # Maps frozen at another prompt are told from rounding all the same.
    model, samples = model_for(data), data.samples()
    prompts = [samples[0].instructed, samples[1].instructed]
    one, other = linear_forms(model, prompts, weights=weights_of(model))
    assert completeness(replace(one, gate=other.gate)) > methods.LARGEST_INCOMPLETENESS[dtype]


def test_a_missing_contrast_has_no_hits(traced):
    data = data_of("anim_color", samples=7)
    samples = data.samples()
    samples[2] = replace(samples[2], contrast=None)
    found = traced(data, 1)
    assert np.isnan(found.hits[2, :3, 1]).all()
    assert np.isfinite(found.hits[2, :3, [0, 2]]).all()

"""Fan-out = one run a tuple = plain PyTorch hooks; and what no patch may change stays the same."""

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ivmethods.model.handles import network
from ivmethods.model.memory import row_bytes
from ivmethods.model.metrics import METRICS
from ivmethods.model.recording import record, record_sites
from ivmethods.patching.fan_out import fan_out, fan_out_each
from ivmethods.patching.reference import batched, by_hooks, one_by_one, patched
from ivmethods.patching.sweep import layer_tuples, sweep
from tests.models import (
    LAYOUTS,
    WIDTH,
    random_samples,
    random_vectors,
    toy_model,
    wrapped,
)

AMPLE = 2**28
wrapped = functools.cache(wrapped)
shapes = st.lists(
    st.integers(1, 7).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1))),
    min_size=1,
    max_size=4,
)


def run(model, samples, vectors, order, runner, budget=AMPLE):
    return sweep(model, samples, vectors, order=order, memory_budget=budget, runner=runner)


def difference(one, other):
    assert one.tuples == other.tuples
    assert torch.equal(one.degenerate, other.degenerate)
    assert torch.equal(one.effects.isnan(), other.effects.isnan())
    return float((one.effects - other.effects).nan_to_num().abs().max())


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=12)
@given(shapes=shapes, n_layers=st.integers(1, 4), order=st.integers(1, 3), seed=st.integers(0, 99))
def test_fan_out_equals_one_run_a_tuple_and_plain_hooks(layout, shapes, n_layers, order, seed):
    model = wrapped(layout, n_layers)
    samples = random_samples(shapes, seed=seed)
    vectors = random_vectors(len(samples), n_layers, seed=seed)
    fast = run(model, samples, vectors, order, fan_out)
    for slow in (batched, one_by_one, by_hooks):
        assert difference(fast, run(model, samples, vectors, order, slow)) < 1e-4


@pytest.mark.parametrize("layout", LAYOUTS)
def test_eager_attention_runs_one_sample_a_pass(layout):
    model = wrapped(layout, 3, attention="eager")
    samples = random_samples([(5, 0), (5, 0), (3, 1)])
    vectors = random_vectors(3, 3)
    fast = run(model, samples, vectors, 3, fan_out_each)
    assert difference(fast, run(model, samples, vectors, 3, by_hooks)) < 1e-4


@settings(max_examples=15)
@given(rows=st.integers(8, 60), order=st.integers(1, 3))
def test_a_smaller_memory_budget_changes_nothing(rows, order):
    model = wrapped("olmo2", 4)
    samples = random_samples([(5, 0), (5, 0), (5, 0), (4, 2)])
    vectors = random_vectors(4, 4)
    small = run(model, samples, vectors, order, fan_out, budget=rows * row_bytes(model, 5))
    assert difference(small, run(model, samples, vectors, order, fan_out)) < 1e-5


def test_the_budget_bounds_the_rows_of_a_pass():
    model = wrapped("olmo2", 4)
    largest = 0

    def counting(model, batch):
        nonlocal largest
        rows, logits = fan_out(model, batch)
        largest = max(largest, len(rows))
        return rows, logits

    budget = 9 * row_bytes(model, 5)
    run(model, random_samples([(5, 0)] * 4), random_vectors(4, 4), 3, counting, budget=budget)
    assert 1 < largest <= 9


def test_a_budget_below_one_first_layer_is_refused_with_the_remedy():
    model = wrapped("olmo2", 4)
    with pytest.raises(
        MemoryError, match=r"memory_budget=2 rows, but should be at least 5 rows.*--"
    ):
        run(
            model,
            random_samples([(5, 0)]),
            random_vectors(1, 4),
            3,
            fan_out,
            budget=2 * row_bytes(model, 5),
        )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_patching_a_run_with_its_own_activations_changes_nothing(layout):
    model = wrapped(layout, 3)
    samples = random_samples([(5, 0), (5, 0), (4, 2), (1, 0)])
    own = record_sites(model, samples, memory_budget=AMPLE)
    assert float(run(model, samples, own, 3, fan_out).effects.nan_to_num().abs().max()) < 1e-5


@pytest.mark.parametrize("layout", LAYOUTS)
def test_positions_and_layers_before_the_patch_are_bit_equal(layout):
    model = wrapped(layout, 4)
    ids, vectors = random_samples([(6, 3)])[0].target, random_vectors(1, 4)[0]
    plain = record(model, ids, positions=list(range(6)))
    with patched(model, (2,), 3, vectors):
        changed = record(model, ids, positions=list(range(6)))
    after = record(model, ids, positions=list(range(6)))
    assert torch.equal(changed[:3], plain[:3])
    assert torch.equal(changed[:, :2], plain[:, :2])
    assert not torch.allclose(changed[5, 3], plain[5, 3], atol=1e-3)
    assert torch.equal(after, plain)


def test_the_last_block_is_inert_unless_the_site_is_last():
    model = wrapped("llama", 3)
    vectors = random_vectors(2, 3)
    inert = run(model, random_samples([(5, 0), (4, 1)]), vectors, 3, fan_out)
    degenerate = [t for t, flag in zip(inert.tuples, inert.degenerate, strict=True) if flag]
    assert degenerate == [t for t in layer_tuples(3, 3) if t[-1] == 2]
    effect = inert.of("logit")
    assert torch.equal(effect[:, inert.tuples.index((2,))], torch.zeros(2))
    assert torch.equal(effect[:, inert.tuples.index((0, 2))], effect[:, inert.tuples.index((0,))])
    active = run(model, random_samples([(1, 0)]), vectors[:1], 1, fan_out)
    assert not active.degenerate.any()
    assert active.of("logit")[0, 2].abs() > 1e-3


def test_logit_diff_is_left_out_exactly_where_there_is_no_contrast_token():
    model = wrapped("gpt2", 2)
    samples = random_samples([(4, 0)] * 6)
    result = run(model, samples, random_vectors(6, 2), 2, fan_out)
    missing = result.of("logit_diff").isnan().all(dim=1).numpy()
    assert np.array_equal(missing, [sample.contrast is None for sample in samples])
    others = [name for name in METRICS if name != "logit_diff"]
    assert not any(result.of(name).isnan().any() for name in others)


def test_progress_counts_every_sample_once():
    seen = []
    model = wrapped("olmo2", 3)
    sweep(
        model,
        random_samples([(4, 0)] * 5),
        random_vectors(5, 3),
        order=2,
        memory_budget=15 * row_bytes(model, 4),
        runner=fan_out,
        progress=seen.append,
    )
    assert seen[-1] == 5
    assert seen == sorted(set(seen))


@pytest.mark.parametrize(("rule", "interaction"), [("sum", 0.0), ("product", 6.0)])
def test_interaction_of_hand_set_networks_is_known(rule, interaction):
    model = toy_model(rule)
    vectors = torch.zeros(2, 4, 4)
    vectors[:, 0, 0], vectors[:, 1, 1] = 2.0, 3.0
    samples = random_samples([(4, 0), (6, 0)])
    for sample in samples:
        object.__setattr__(sample, "answer", 3)
    result = run(model, samples, vectors, 2, fan_out)
    effect = result.of("logit")
    one, two, both = (effect[:, result.tuples.index(t)] for t in ((0,), (1,), (0, 1)))
    assert torch.allclose(both - one - two, torch.full((2,), interaction), atol=1e-6)
    assert float(both.min()) == pytest.approx(6.0 if rule == "product" else 5.0)


def test_the_model_is_left_as_it_was():
    model = wrapped("olmo2", 3)
    samples, vectors = random_samples([(5, 0)]), random_vectors(1, 3)
    ids = torch.tensor([samples[0].target])
    before = network(model)(ids).logits
    for runner in (fan_out, batched, one_by_one, by_hooks):
        run(model, samples, vectors, 2, runner)
    assert torch.equal(network(model)(ids).logits, before)
    assert vectors.shape == (1, 3, WIDTH)

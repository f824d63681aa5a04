"""The plan's gates, costs and text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claims.instruction_vectors import gates
from claims.instruction_vectors.paper import PAPER
from ivfixtures.checkpoints import resolving as checkpoints
from ivfixtures.measuring.plan_text import Plan, Planned, lines, prefixed
from ivfixtures.suite.papers import read_settings
from ivmethods.method import Size
from ivmethods.patching.fan_out import fan_out
from ivmethods.patching.sweep import sweep
from ivmethods.paths.methods import Attribution
from tests.gguf_writing import write_llama
from tests.models import random_samples, random_vectors, wrapped
from tests.running import saved


@pytest.mark.parametrize(("orders", "is_closed"), [("1", True), ("1,2", False), ("1,2,3", False)])
def test_what_orders_leave_out_is_a_gate(orders, is_closed):
    settings = read_settings(PAPER, {"orders": orders})
    assert bool(gates.order(2).closed(None, settings)) == is_closed


def test_layouts_without_linear_maps_and_weights_elsewhere_are_a_gate(checkpoint, tmp_path):
    known, other = (
        checkpoints.config(checkpoints.resolve(str(folder)))
        for folder in (checkpoint, saved("gptj", tmp_path / "gptj"))
    )
    assert Attribution().runs_on(known, remote=False) is None
    assert Attribution().runs_on(known, remote=True)
    assert "olmo2, olmo3, llama" in Attribution().runs_on(other, remote=False)


@settings(max_examples=15)
@given(layers=st.integers(1, 5), order=st.integers(1, 3), length=st.integers(2, 6))
def test_a_sweeps_cost_is_that_of_the_blocks_it_runs(layers, order, length):
    order = min(order, layers)
    model, samples = wrapped("olmo2", layers), random_samples([(length, 1), (length, 1)])
    ran = 0

    def count(_block, args):
        nonlocal ran
        ran += args[0].shape[0] * args[0].shape[1]

    handles = [block._module.register_forward_pre_hook(count) for block in model.blocks]
    try:
        vectors = random_vectors(2, layers)
        sweep(model, samples, vectors, order=order, memory_budget=2**30, runner=fan_out)
    finally:
        for handle in handles:
            handle.remove()
    tokens = sum(len(sample.target) for sample in samples)
    size = Size(parameters=1, layers=layers, heads=1, width=1, vocabulary=1)
    assert size.sweep(tokens, order) == pytest.approx(2.0 * ran / layers)


def test_parameters_are_counted_from_headers(checkpoint, tmp_path):
    found = checkpoints.load(checkpoints.resolve(str(checkpoint))).model
    assert checkpoints.parameters(checkpoints.resolve(str(checkpoint))) == found.num_parameters()
    path = tmp_path / "llama.gguf"
    model, _ = write_llama(path)
    assert checkpoints.parameters(checkpoints.resolve(str(path))) == model.num_parameters()


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 "), (3, "3.0 "), (9.96, "10 "), (999.4, "999 "), (999.6, "1.0 k"), (2.34e15, "2.3 P")],
)
def test_numbers_have_two_digits_and_a_prefix(number, text):
    assert prefixed(number) == text


def test_tables_add_up_and_the_listing_names_each():
    every = [
        Planned("one", "adj", "runs", "stored", 4e9),
        Planned("one", "adj", "sweep", "missing", 5e12),
        Planned("two", "adj", "sweep", "open", 2e12),
    ]
    found = Plan(
        planned={(str(i),): one for i, one in enumerate(every)},
        cells={"one": 3, "two": 1, "bad": 2},
        parameters={"one": 1_700_000, "two": 135_000_000},
        problems={"bad": "damaged"},
    )
    text = list(lines(found, listing=True))
    assert text[:3] == [
        "in the store: one adj runs",
        "to make: one adj sweep, 5.0 TFLOP at most",
        "open: two adj sweep, 2.0 TFLOP at most",
    ]
    tables = [line.split() for line in text[4:]]
    assert tables[1] == [*("one", "3", "1.7", "M", "2", "1", "1", "0", "5.0", "T")]
    assert tables[2] == [*("two", "1", "135", "M", "1", "0", "0", "1", "2.0", "T")]
    assert tables[-2] == [*("all", "3", "1", "1", "1", "7.0", "T")]
    assert text[-1] == "not planned: bad: damaged"
    assert list(lines(found, listing=False)) == text[4:]

"""Work in pieces: what happens where memory runs out, and how much there is."""

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ivmethods.model import memory
from ivmethods.model.handles import network
from ivmethods.model.memory import free_bytes, in_pieces, row_bytes
from ivmethods.patching import controls
from ivmethods.patching.controls import effects_of
from ivmethods.patching.fan_out import fan_out
from ivmethods.patching.sweep import sweep
from tests.models import random_samples, random_vectors, wrapped

AMPLE = 2**28
ERRORS = {
    "an accelerator's": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."),
    "the CPU's": RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 12"),
}


def halves(piece, rows):
    """A list in slices of at most so many items."""
    size = max(1, rows)
    return [piece[start : start + size] for start in range(0, len(piece), size)]


@given(items=st.integers(1, 60), rows=st.integers(1, 60), room=st.integers(1, 60))
def test_everything_is_run_once_in_pieces_that_fit(items, rows, room):
    ran, tried = [], []

    def run(piece):
        tried.append(len(piece))
        if len(piece) > room:
            raise ERRORS["an accelerator's"]
        ran.extend(piece)

    found = in_pieces([list(range(items))], rows, count=len, split=halves, run=run)
    assert ran == list(range(items))
    assert max(tried) <= rows
    failed = [size for size in tried if size > room]
    assert failed == sorted(set(failed), reverse=True), "a size that failed is never tried again"
    assert found == rows if not failed else found == failed[-1] // 2


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_a_piece_that_cannot_be_smaller_is_an_error_that_says_what_to_do(error):
    def run(piece):
        raise error

    start = f"memory={error}, but should be enough for 1 rows"
    said = rf"^{re.escape(start)}.*layers at once, or .*--device"
    with pytest.raises(MemoryError, match=said):
        in_pieces([[1, 2, 3]], 2, count=len, split=halves, run=run)


def test_other_errors_are_not_taken_for_it():
    def run(piece):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        in_pieces([[1, 2]], 2, count=len, split=halves, run=run)


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("room", [23, 9, 8])
def test_a_sweep_goes_on_in_halves_with_the_same_effects(room, error):
    model = wrapped("olmo2", 4)
    samples, vectors = random_samples([(5, 0)] * 3 + [(4, 2)] * 2), random_vectors(5, 4)
    sizes, done = [], []

    def scarce(model, batch):
        rows, values = fan_out(model, batch)
        sizes.append(len(rows))
        if len(rows) > room:
            raise error
        return rows, values

    found = sweep(
        model,
        samples,
        vectors,
        order=3,
        memory_budget=AMPLE,
        runner=scarce,
        progress=done.append,
    )
    ample = sweep(model, samples, vectors, order=3, memory_budget=AMPLE, runner=fan_out)
    assert torch.allclose(found.effects, ample.effects, atol=1e-5, equal_nan=True)
    assert sizes[0] > room
    # Once memory has run out, later groups start from what fitted.
    assert sum(size > room for size in sizes) == 1
    assert done[-1] == 5


def test_a_sweep_that_fits_nowhere_says_so():
    def scarce(model, batch):
        raise ERRORS["an accelerator's"]

    model = wrapped("olmo2", 3)
    with pytest.raises(MemoryError, match="the smallest part of the work"):
        sweep(
            model,
            random_samples([(5, 0)]),
            random_vectors(1, 3),
            order=2,
            memory_budget=AMPLE,
            runner=scarce,
        )


def test_controls_go_on_in_halves_too(monkeypatch):
    model, run = wrapped("olmo2", 3), controls.patched_scores
    samples, draws = random_samples([(5, 0)] * 6), random_vectors(3, 3)
    ample = effects_of(model, samples, draws, (0, 1), memory_budget=AMPLE)

    def scarce(model, ids, *rest):
        if len(ids) > 4 * 2:
            raise ERRORS["an accelerator's"]
        return run(model, ids, *rest)

    monkeypatch.setattr(controls, "patched_scores", scarce)
    found = effects_of(model, samples, draws, (0, 1), memory_budget=AMPLE)
    assert torch.allclose(found, ample, atol=1e-5, equal_nan=True)


def test_activations_of_16_bits_take_half_as_much():
    model = wrapped("llama", 2)
    wide = row_bytes(model, 1000) - row_bytes(model, 0)
    network(model).to(torch.bfloat16)
    assert row_bytes(model, 1000) - row_bytes(model, 0) == wide / 2


def test_the_budget_is_a_quarter_of_what_is_free_on_the_fullest_device(monkeypatch):
    free = {"cuda:0": 80, "cuda:1": 40}
    monkeypatch.setattr(
        torch.cuda, "mem_get_info", lambda device: (free[str(device)] * 2**30, 99 * 2**30)
    )
    assert free_bytes([torch.device("cuda:0")]) == 20 * 2**30
    assert free_bytes([torch.device("cuda:0"), torch.device("cuda:1")]) == 10 * 2**30


def test_on_cpu_it_is_at_most_one_gib(monkeypatch, tmp_path):
    meminfo = tmp_path / "meminfo"
    monkeypatch.setattr(memory, "_MEMINFO", meminfo)
    for kib, expected in ((2**30, 2**30), (2**20, 2**28)):
        meminfo.write_text(f"MemTotal: 99 kB\nMemAvailable:   {kib} kB\n")
        assert free_bytes([torch.device("cpu")]) == expected

"""Inquiries: what is asked for, in which order, up to which gate, and how results come back."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivevidence import Decision, Store
from ivfixtures.checkpoints.resolving import resolve
from ivfixtures.data.of_checkpoint import CheckpointData
from ivfixtures.errors import NotMeasuredError
from ivfixtures.measuring.inquiry import Closed, Declared, Gate, Inquiry, Then
from ivfixtures.measuring.measurements import Measurements, Reader
from ivfixtures.measuring.requests import Request
from ivmethods.method import Array, Method


@dataclass(frozen=True)
class Number(Method):
    """A method that runs no model, by its number."""

    value: int

    name: ClassVar = "number"
    forms: ClassVar = {"value": Array("int64", "")}
    runs_model: ClassVar = False

    def inputs(self, data):
        return ()

    def compute(self, inputs, running):
        return {"value": np.int64(self.value)}, {}

    def read(self, result):
        return int(result.arrays["value"])


class Elsewhere(Number):
    """One that no model can be run for."""

    def runs_on(self, config, remote):
        return "it has other layers"


def never(inquiry, **results):
    """What no results are there to choose by."""
    raise AssertionError(results)


SHOWN, AT_GATE = Number(-1), Number(-2)  # others are from 0 on


class Numbers(CheckpointData):
    """Data of an embedded checkpoint that is told apart by its name alone."""

    shown: ClassVar = {"shown": SHOWN}
    checkpoint = resolve("tiny-olmo2-sft")
    count = 1

    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return self.name

    @property
    def digests(self):
        return {"weights": self.name}


class Reading:
    """Reads what is known: of data and number, both. all that was asked for, in order."""

    def __init__(self, unknown=()):
        self.unknown, self.asked = unknown, []

    def __call__(self, request):
        self.asked.append(request)
        if request.method in self.unknown:
            raise NotMeasuredError("missing", str(request.method))
        return request.data.name, request.method.value


HERE, THERE = Numbers("here"), Numbers("there")
CLOSED = Closed(Decision("not_applicable", "closed"))
numbers = st.integers(0, 3).map(Number)
leaves = st.none() | numbers | numbers.map(lambda number: Request(THERE, number))
trees = st.recursive(
    leaves, lambda inside: st.dictionaries(st.sampled_from("abc"), inside, max_size=3), max_leaves=5
)
needs = st.dictionaries(
    st.sampled_from("xyz"), trees | trees.map(lambda tree: lambda data, settings: tree), max_size=3
)


def gate(is_closed, *, passable=False, name="gate", needs=None):
    def closed(data, settings, **results):
        return CLOSED if is_closed else None

    return Gate(name, closed, {"at": AT_GATE} if needs is None else needs, passable=passable)


def result_of(tree, data):
    """What a need is read as, said anew."""
    if callable(tree):
        tree = tree(data, None)
    if isinstance(tree, dict):
        return {name: result_of(branch, data) for name, branch in tree.items()}
    if tree is None:
        return None
    request = tree if isinstance(tree, Request) else Request(data, tree)
    return request.data.name, request.method.value


def numbers_of(reading):
    return [request.method.value for request in reading.asked]


@given(needs)
def test_results_have_the_form_of_needs(declared):
    answer = Inquiry(Declared(needs=declared), [HERE], None).ask(Reading())
    assert answer.arguments == {name: result_of(need, HERE) for name, need in declared.items()}
    assert list(answer.shown) == [{"shown": ("here", -1)}]


@given(needs, st.integers(2, 3))
def test_of_several_parts_results_come_as_tuples_in_their_order(declared, count):
    parts = [Numbers(f"part {number}") for number in range(count)]
    answer = Inquiry(Declared(needs=declared), parts, None).ask(Reading())
    for name, need in declared.items():
        assert answer.arguments[name] == tuple(result_of(need, part) for part in parts)
    assert answer.arguments.keys() == declared.keys()


@given(needs, st.lists(st.tuples(st.booleans(), st.booleans()), max_size=4), st.booleans())
def test_a_closed_gate_asks_for_nothing_after_it(declared, kinds, anyway):
    gates = [
        gate(closed, passable=passable, name=str(i), needs={"at": Number(100 + i)})
        for i, (closed, passable) in enumerate(kinds)
    ]
    reading, stops = Reading(), [closed and not (passable and anyway) for closed, passable in kinds]
    inquiry = Inquiry(Declared(gates, declared), [HERE], None, anyway=anyway)
    answer = inquiry.ask(reading)
    at_gates = [number for number in numbers_of(reading) if number >= 100]
    reached = stops.index(True) + 1 if any(stops) else len(stops)
    assert at_gates == [100 + i for i in range(reached)]
    assert [closed.gate for closed in answer.passed] == [
        str(i) for i, (closed, _) in enumerate(kinds[:reached]) if closed and not stops[i]
    ]
    if any(stops):
        assert (answer.closed.gate, answer.closed.data) == (str(reached - 1), HERE)
        assert {n for n in numbers_of(reading) if n < 100} == {-1}
        assert not answer.results
    else:
        assert answer.closed is None
        assert answer.arguments.keys() == declared.keys()


def test_a_gate_is_closed_by_any_part_and_says_whose_it_is():
    def closed(data, settings, at):
        return CLOSED if data is THERE else None

    declared = Declared([Gate("one", closed, {"at": AT_GATE})], {"x": Number(1)})
    reading = Reading()
    answer = Inquiry(declared, [HERE, THERE, Numbers("third")], None).ask(reading)
    assert (answer.closed.gate, answer.closed.data) == ("one", THERE)
    asked = [(request.data.name, request.method.value) for request in reading.asked]
    assert ("here", 1) in asked
    assert ("there", 1) not in asked
    # Every part is shown.
    assert list(answer.shown) == [{"shown": (name, -1)} for name in ("here", "there", "third")]


def test_a_gate_of_all_looks_at_all_parts_before_anything_is_measured():
    seen = []

    def closed(parts, settings):
        seen.append((parts, settings))
        return CLOSED

    declared = Declared(
        [gate(False), Gate("all", closed, of_all=True)], {"x": Number(1)}, {"y": Then(never, None)}
    )
    reading = Reading()
    answer = Inquiry(declared, [HERE, THERE], "settings").ask(reading)
    assert seen == [((HERE, THERE), "settings")]
    assert (answer.closed.gate, answer.closed.data) == ("all", None)
    assert numbers_of(reading) == [-1, -1]


def test_what_the_model_cannot_be_run_for_is_not_applicable_before_its_gates():
    reading, declared = Reading(), Declared([gate(True)], {"x": {"in": Elsewhere(1)}})
    answer = Inquiry(declared, [HERE], None).ask(reading)
    decision = answer.closed.decision
    assert (decision.verdict, decision.reason) == ("not_applicable", "it has other layers")
    assert numbers_of(reading) == [-1]


UNKNOWN = {
    None: [-1],
    "gates": [-1, 100, 101],
    "all": [-1, 100, 101, 0, 1],
}


@pytest.mark.parametrize("how", UNKNOWN)
@pytest.mark.parametrize("known", [(), (SHOWN,), (SHOWN, Number(100)), (Number(0),)])
def test_what_is_asked_for_where_results_are_not_there(how, known):
    gates = [gate(False, needs={"at": Number(100 + i)}) for i in range(2)]
    declared = Declared(gates, {"x": Number(0), "y": Number(1)}, {"z": Then(never, None)})
    every = [SHOWN, Number(100), Number(101), Number(0), Number(1)]
    reading = Reading(unknown=[method for method in every if method not in known])
    with pytest.raises(NotMeasuredError) as raised:
        Inquiry(declared, [HERE], None).ask(reading, unknown=how)
    first = next(method for method in every if method in reading.unknown)
    assert raised.value.digest == str(first)
    if how is None:
        assert numbers_of(reading) == [each.value for each in every[: every.index(first) + 1]]
    else:
        assert numbers_of(reading) == UNKNOWN[how]


@pytest.mark.parametrize("how", ["gates", "all"])
def test_behind_a_gate_that_is_known_to_be_closed_nothing_is_asked_for(how):
    first, second = gate(False, needs={"at": Number(100)}), gate(True, needs={"at": Number(101)})
    last = gate(False, needs={"at": Number(102)})
    reading = Reading(unknown=[SHOWN, Number(100)])
    declared = Declared([first, second, last], {"x": Number(0)})
    answer = Inquiry(declared, [HERE], None).ask(reading, unknown=how)
    assert answer.closed
    assert {*numbers_of(reading)} == {-1, 100, 101}


def test_needs_of_all_parts_are_asked_for_at_once_where_gates_are_known():
    reading = Reading(unknown=[Number(0), Number(1)])
    declared = Declared([gate(False)], {"x": Number(0), "y": Number(1)})
    with pytest.raises(NotMeasuredError):
        Inquiry(declared, [HERE], None).ask(reading, unknown="gates")
    assert numbers_of(reading) == [-1, -2, 0, 1]


@given(needs, st.integers(1, 2))
def test_what_depends_on_results_is_chosen_by_them(declared, count):
    parts, seen = [HERE, THERE][:count], []

    def choose(inquiry, **results):
        seen.append((inquiry, results))
        return {"chosen": Number(7), "none": None}

    then = {"later": Then(choose, like=lambda data, settings: Number(8))}
    inquiry = Inquiry(Declared(needs=declared, then=then), parts, None)
    answer = inquiry.ask(Reading())
    found = answer.arguments
    assert found.pop("later") == {"chosen": ("here", 7), "none": None}
    assert seen == [(inquiry, found)]
    assert list(inquiry.methods_like()) == [("later", Request(HERE, Number(8)))]


def test_equal_requests_are_one_measurement(tmp_path):
    measurements = Measurements(Store(tmp_path), device="cpu", dtype="float32")
    reader = Reader(measurements)
    declared = Declared(
        [gate(False, needs={"at": Number(1)})],
        {"x": Number(1), "y": lambda data, settings: {"again": Number(1), "other": Number(2)}},
        {"z": Then(lambda inquiry, x, y: Number(x + y["other"]), None)},
    )
    answer = Inquiry(declared, [HERE], None).ask(reader)
    assert answer.arguments == {"x": 1, "y": {"again": 1, "other": 2}, "z": 3}
    assert measurements.store.measured == 4  # with what is shown
    assert {request.method.value for request in reader.made} == {-1, 1, 2, 3}
    Inquiry(declared, [HERE], None).ask(Reader(measurements))
    assert measurements.store.measured == 4


def test_settings_and_data_reach_needs_and_gates():
    settings, seen = SimpleNamespace(value=5), []

    def closed(data, settings, at):
        seen.append((data, settings, at))

    declared = Declared(
        [Gate("one", closed, {"at": AT_GATE})], {"x": lambda data, chosen: Number(chosen.value)}
    )
    answer = Inquiry(declared, [HERE], settings).ask(Reading())
    assert answer.arguments == {"x": ("here", 5)}
    assert seen == [(HERE, settings, ("here", -2))]

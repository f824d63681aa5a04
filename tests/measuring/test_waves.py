"""Waves of jobs: gates, then needs, then what depends on them; they end, whatever is asked for."""

from collections import Counter
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, ClassVar

import numpy as np
import pytest

from ivevidence import Decision, Store
from ivfixtures.checkpoints.registry import resolve
from ivfixtures.data.instructed import InstructedData
from ivfixtures.data.tasks import load_tasks
from ivfixtures.measuring.executors import ExecutorError
from ivfixtures.measuring.executors.waves import STAGES, Waves
from ivfixtures.measuring.executors.worker import run_job
from ivfixtures.measuring.inquiry import Closed, Declared, Gate, Inquiry, Then
from ivfixtures.measuring.lookups import ReadOnlyStore
from ivfixtures.measuring.measurements import Measurements
from ivmethods.method import Array, Method
from tests.running import OPTIONS


class Quiet(InstructedData):
    """Data of which cells show nothing but what is asked."""

    shown: ClassVar = {}


@pytest.fixture(scope="module")
def data():
    return Quiet(resolve("tiny-olmo2-sft"), load_tasks()["adj_ant"], OPTIONS)


@dataclass(frozen=True)
class Number(Method):
    """A number, after those in front of it."""

    value: int
    after: tuple[int, ...] = ()
    made_of: tuple[int, ...] = ()
    fails: bool = False

    name: ClassVar = "number"
    forms: ClassVar = {"value": Array("int64", "")}
    runs_model: ClassVar = False

    def before(self):
        return tuple(map(Number, self.after))

    def parts(self):
        return tuple(map(Number, self.made_of))

    def compute(self, inputs, running):
        if self.fails:
            raise ZeroDivisionError("in the worker")
        return {"value": np.int64(self.value)}, {}

    def read(self, result):
        return int(result.arrays["value"])


def gate(number, *, closed=False, **more):
    """A gate that looks at a number."""

    def look(data, settings, **found):
        assert found == {"looked at": number}
        return Closed(Decision("not_applicable", "closed")) if closed else None

    return Gate(f"gate {number}", look, {"looked at": Number(number)}, **more)


AFTER_3 = {"then": Then(lambda inquiry, need, **_: Number(need + 1), like=Number(0))}
WHOLE = Declared([gate(1), gate(2)], {"need": Number(3)}, AFTER_3)


class Run:
    """Waves of inquiries over one store, measured here."""

    def __init__(self, folder, data):
        self.folder, self.data, self.store = folder, data, Store(folder / "store")
        self.errors: Counter[str] = Counter()

    def waves(self, *declared, anyway=False):
        reading = ReadOnlyStore(self.store.place)
        measurements = Measurements(reading, device="cpu", dtype="float32")
        made = [partial(Inquiry, each, [self.data], None, anyway=anyway) for each in declared]
        inquiries = dict(enumerate(made))
        return Waves({str(k): made for k, made in inquiries.items()}, measurements, self.folder)

    def numbers(self, *declared, **options):
        """What each wave measured."""
        waves, found = self.waves(*declared, **options), []
        while wave := waves.next(self.store.digests()):
            found.append(self.measured(wave))
            waves.measurements.forget()
        return found

    def measured(self, wave):
        (folder,) = wave
        folder.prepare()
        self.errors.update(run_job(folder.path).errors.values())
        return [each["method"]["fields"]["value"] for each in folder.job.requests]


@pytest.fixture
def run(tmp_path, data):
    return Run(tmp_path, data)


def test_gates_are_one_wave_then_needs_then_what_depends_on_them(run):
    assert run.numbers(WHOLE) == [[1, 2], [3], [4]]
    assert run.numbers(WHOLE) == []


def test_what_several_cells_ask_for_is_asked_for_once(run):
    other = Declared([gate(2)], {"need": Number(3), "more": Number(5)}, AFTER_3)
    assert run.numbers(WHOLE, other) == [[1, 2], [3, 5], [4]]


@pytest.mark.parametrize("which", [1, 2])
def test_nothing_is_measured_past_a_closed_gate(run, which):
    gates = [gate(number, closed=number == which, passable=True) for number in (1, 2)]
    declared = Declared(gates, WHOLE.needs, WHOLE.then)
    assert run.numbers(declared) == [[1, 2]]
    assert run.numbers(declared) == []
    assert run.numbers(declared, anyway=True) == [[3], [4]]


def test_not_even_what_later_gates_look_at_where_the_first_is_known(run):
    assert run.numbers(Declared([gate(1)])) == [[1]]
    assert run.numbers(Declared([gate(1, closed=True), gate(2)])) == []


def test_what_comes_before_and_parts_are_in_the_same_job_in_their_order(run):
    made = Number(9, after=(7,), made_of=(8,))
    assert run.numbers(Declared(needs={"one": made, "two": Number(8)})) == [[7, 8, 9]]


def test_an_error_is_asked_for_once_and_stops_no_other(run):
    failing = Declared([gate(1)], {"bad": Number(5, fails=True), "need": Number(3)}, AFTER_3)
    assert run.numbers(failing, WHOLE) == [[1, 2], [5, 3], [4]]
    assert run.errors == {"ZeroDivisionError: in the worker": 1}
    assert run.numbers(failing, WHOLE) == [[5]]


def test_a_cell_that_cannot_say_what_it_needs_stops_no_other(run):
    def broken(*_, **__):
        raise ValueError("a cell's own")

    cells = [
        Declared(needs={"need": broken}),
        Declared([Gate("broken", broken)], {"need": Number(6)}),
        Declared(needs={"need": Number(3)}, then={"then": Then(broken, like=Number(0))}),
    ]
    assert run.numbers(*cells, WHOLE) == [[3, 1, 2], [4]]


def test_a_need_that_is_always_another_ends(run):
    numbers = count()
    declared = Declared(needs={"need": lambda data, settings: Number(next(numbers))})
    assert len(run.numbers(declared)) == STAGES


def test_what_was_not_submitted_is_asked_for_again_if_it_is_still_missing(run):
    waves = run.waves(WHOLE)
    for _ in range(STAGES + 1):  # a job of another run is under way, again and again
        first = waves.next(run.store.digests())
        waves.take_back(first)
    assert run.measured(waves.next(run.store.digests())) == [1, 2]
    assert run.measured(waves.next(run.store.digests())) == [3]
    assert run.measured(waves.next(run.store.digests())) == [4]
    assert waves.next(run.store.digests()) == []


def test_a_store_whose_records_are_damaged_is_mended(run):
    run.numbers(WHOLE)
    made = Declared(WHOLE.gates, {"need": Number(9, after=(7,), made_of=(8,))})
    run.numbers(made)
    for path in (run.folder / "store").glob("*.json"):
        path.write_text("{}")
    assert run.numbers(WHOLE, made) == [[1, 2], [3, 7, 8, 9], [4]]
    assert run.numbers(WHOLE, made) == []


@dataclass(frozen=True)
class Strange(Number):
    """A method whose parameters can be told, but not itself."""

    what: Any = None

    @property
    def parameters(self):
        return {}


@pytest.mark.parametrize("what", [frozenset({1}), b"bytes", float("nan"), print])
def test_what_has_no_form_in_json_is_one_line(run, what):
    waves = run.waves(Declared(needs={"need": Strange(1, what=what)}))
    with pytest.raises(ExecutorError, match=r"^what Strange is run on=.*without --executor$"):
        waves.next(frozenset())

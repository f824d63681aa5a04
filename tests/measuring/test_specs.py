"""What jobs carry: every method with its inputs comes back as it was, and nothing else is taken."""

import json
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from claims.instruction_vectors import needs, probing
from claims.instruction_vectors.settings import Settings
from ivevidence import Store
from ivfixtures.checkpoints.registry import Checkpoint, resolve
from ivfixtures.data.instructed import InstructedData, behaviour
from ivfixtures.data.paired import PairedData
from ivfixtures.data.tasks import load_tasks
from ivfixtures.measuring.executors.given import from_job, to_job
from ivfixtures.measuring.executors.jobs import Job, JobFolder
from ivfixtures.measuring.executors.specs import spec, value_of
from ivfixtures.measuring.executors.worker import run_job
from ivfixtures.measuring.measurements import Measurements
from ivfixtures.measuring.requests import Request, whole
from ivmethods.method import Method
from ivmethods.methods import METHODS
from ivmethods.model.methods import Runs
from ivmethods.patching.head_methods import ActivationPatching, AttributionPatching, PairScores
from ivmethods.patching.methods import AllLayers
from ivmethods.paths.methods import Attribution
from ivmethods.prompts.protocols import Sample
from tests.running import OPTIONS


@pytest.fixture(scope="module")
def data():
    """Data of an embedded checkpoint."""
    options = replace(OPTIONS, tasks=load_tasks(), samples=4)
    return InstructedData(resolve("tiny-olmo2-sft"), options.tasks["adj_ant"], options)


@pytest.fixture
def measurements(tmp_path):
    return Measurements(Store(tmp_path), device="cpu", dtype="float32")


def every_request(data):
    """Requests of all methods, as the claims ask for them."""
    settings = Settings()
    wanted = [
        *(behaviour(data), Runs(), AllLayers(), Attribution()),
        *(need(data, settings) for need in (needs.sweep, needs.control_sweep)),
        *(need(data, settings) for need in (needs.released_sweep, needs.no_op)),
        *(needs.controls(data, (1, 3)), needs.controls(data)),
        *needs.paths_by_k(data, settings).values(),
        needs.paths(data, settings, semantics="released"),
        probing.probes(data, settings),
    ]
    every = [Request(data, method) for method in wanted]
    every += [needs.contrast_paths(data, settings), probing.random_probe(data, settings)]
    pairs = PairedData(data.checkpoint, data.task, data.settings)
    on_pairs = PairScores(), ActivationPatching("heads"), AttributionPatching("heads")
    every += [Request(pairs, method) for method in on_pairs]
    return [part for request in every for part in whole(request)]


def test_every_method_comes_back_with_the_key_that_it_had(data, measurements):
    requests = {measurements.digest(request): request for request in every_request(data)}
    assert {request.method.name for request in requests.values()} == {*METHODS}
    listed, rows = json.loads(json.dumps(to_job(requests)))
    found = from_job(listed, rows)
    assert [*found] == [*requests]
    for digest, request in found.items():
        assert request.method == requests[digest].method
        assert measurements.digest(request) == digest
        assert measurements.key(request) == measurements.key(requests[digest])
        assert request.data.inputs(request.method) == tuple(
            list(rows) for rows in requests[digest].data.inputs(request.method)
        )


# --------------------------------------------------------------------------------- hostile jobs


@dataclass(frozen=True)
class Sum(Method):
    """A method that runs no model."""

    of: int

    name: ClassVar = "sum"
    runs_model: ClassVar = False

    def compute(self, inputs, running):
        return {}, {}


@pytest.fixture
def run(data, measurements, tmp_path):
    """Run a job of two requests that is changed first: their digests, and the result."""

    def run(change=lambda listed, rows: None):
        requests = {measurements.digest(r): r for r in (Request(data, Sum(k)) for k in (1, 2))}
        listed, rows = json.loads(json.dumps(to_job(requests)))
        change(listed, rows)
        measuring = {"device": "cpu", "dtype": "float32", "memory_budget": None}
        measuring["store"] = str(tmp_path / "store")
        job = Job("c", tuple(listed), rows, measuring, str(tmp_path))
        folder = JobFolder(tmp_path / "jobs" / job.name, job)
        folder.prepare()
        return [*requests], run_job(folder.path)

    return run


def test_a_job_measures_what_it_asks_for(run, tmp_path):
    digests, result = run()
    assert result.is_whole
    assert (result.measured, result.measurements) == (2, tuple(sorted(digests)))
    assert Store(tmp_path / "store").digests() == {*digests}


TYPES = {
    "no method": ("ivmethods.prompts.protocols:Sample", "should be a kind of Method"),
    "a function": ("os:system", "should be a kind of Method"),
    "the base": ("ivmethods.method:Running", "should be a kind of Method"),
    "no such module": ("nowhere.to.be:Found", "should be importable by the worker"),
    "no such name": ("ivmethods.methods:Found", "should be importable by the worker"),
    "no module": (":Found", "should be importable by the worker"),
    "no name": ("ivmethods.methods", "should be importable by the worker"),
    "relative": (".methods:Runs", "should be importable by the worker"),
    "two lines": ("ivmethods\n.methods:Runs\x1b[31m", "should be importable by the worker"),
}


@pytest.mark.parametrize("kind", TYPES)
def test_a_type_that_is_no_method_is_one_line(run, kind):
    name, said = TYPES[kind]
    _, result = run(lambda listed, rows: listed[0]["method"].update(type=name))
    assert result.failure.startswith("type=")
    assert said in result.failure
    assert result.failure.isprintable()
    assert not result.measured


@pytest.mark.parametrize(
    "fields", [{}, {"of": "many"}, {"of": 1, "and": 2}, {"of": None}, [], None, "fields"]
)
def test_fields_that_a_method_has_not_are_one_line(run, fields):
    _, result = run(lambda listed, rows: listed[0]["method"].update(fields=fields))
    assert result.failure.startswith("fields of tests.measuring.test_specs:Sum=")
    assert result.failure.endswith("install the same version everywhere")
    assert result.failure.isprintable()


@pytest.mark.parametrize(
    "change",
    [
        lambda listed, rows: listed[0].pop("method"),
        lambda listed, rows: listed[0]["method"].pop("fields"),
        lambda listed, rows: listed[0]["checkpoint"].update(type="tests.measuring.test_specs:Sum"),
        lambda listed, rows: listed[0]["data"].update(more=1),
        lambda listed, rows: listed[0].update(inputs=["gone"]),
        lambda listed, rows: rows.update({at: [{"type": "os:environ"}] for at in rows}),
        lambda listed, rows: rows.clear(),
        lambda listed, rows: listed.insert(0, None),
    ],
)
def test_a_job_that_lacks_something_fails_in_one_line(run, change):
    _, result = run(change)
    assert result.failure
    assert "\n" not in result.failure
    assert not result.measured


def test_a_key_that_differs_here_is_its_requests_error(run):
    digests, result = run(lambda listed, rows: listed[0]["method"]["fields"].update(of=3))
    (message,) = result.errors.values()
    assert [*result.errors] == digests[:1]
    assert message.startswith("key of a measurement=")
    assert f"but should be {digests[0][:12]} [tiny-olmo2-sft, sum]" in message
    assert result.measurements == (digests[1],)


def test_what_a_spec_is_of_is_looked_at():
    checkpoint = resolve("tiny-olmo2-sft")
    assert value_of(json.loads(json.dumps(spec(checkpoint))), Checkpoint) == checkpoint
    with pytest.raises(ValueError, match="should be a kind of Method"):
        value_of(spec(checkpoint), Method)
    sample = Sample("big", (1, 2, 3), 1, (0, 3), 0, 4, None)
    assert value_of(json.loads(json.dumps(spec(sample))), object) == sample

"""Keys of measurements, and the forms that what is stored under them is held to."""

import warnings
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
import pytest

from ivevidence import EvidenceError, Store, StoreWarning
from ivfixtures.checkpoints.registry import resolve
from ivfixtures.data.instructed import InstructedData
from ivfixtures.data.of_checkpoint import inputs_digest
from ivfixtures.data.tasks import load_tasks
from ivfixtures.measuring.forms import ORIGIN, Form
from ivfixtures.measuring.measurements import Measurements
from ivfixtures.measuring.requests import Request
from ivmethods.method import Array, Fact, Method
from ivmethods.methods import METHODS
from ivmethods.model.methods import Behaviour
from ivmethods.model.metrics import METRICS
from ivmethods.patching.check_methods import NoOp
from ivmethods.patching.methods import LayerSweep
from ivmethods.prompts.protocols import Sample, Source
from tests.running import OPTIONS

KEY = {"method": "some"}


@pytest.fixture
def data():
    """Data of an embedded checkpoint, for measurements that run no model."""
    return InstructedData(resolve("tiny-olmo2-sft"), load_tasks()["adj_ant"], OPTIONS)


@dataclass(frozen=True)
class Norms(Method):
    """A method that runs no model."""

    layer: int

    name: ClassVar = "norms"
    forms: ClassVar = {"norms": Array("float32", "")}
    runs_model: ClassVar = False

    def compute(self, inputs, running):
        return {"norms": np.float32(self.layer)}, {}


@pytest.fixture
def measurements(tmp_path):
    return Measurements(Store(tmp_path), device="cpu", dtype="float32")


def test_measurements_of_one_method_are_told_apart_by_their_parameters(measurements, data):
    first, second, again = (measurements.get(Request(data, Norms(n))) for n in (1, 2, 1))
    assert [float(each.arrays["norms"]) for each in (first, second, again)] == [1, 2, 1]
    assert first.digest == again.digest != second.digest
    assert (measurements.store.measured, measurements.store.reused) == (2, 0)
    measurements.forget()
    assert measurements.get(Request(data, Norms(1))).digest == first.digest
    assert (measurements.store.measured, measurements.store.reused) == (2, 1)


def test_inputs_are_tokens_and_positions_whatever_people_call_them():
    sample = Sample("big", (1, 2, 3), 1, (0, 3), 0, 4, None)
    source = Source("State it.", (1, 2), 1)
    found = inputs_digest(([sample], [source]))
    same = inputs_digest(([replace(sample, query="Big")], [replace(source, text="State  it.")]))
    assert same == found
    for other in ({"instructed": (1, 2, 2)}, {"t_inst": 0}, {"site": 1}, {"contrast": 4}):
        assert inputs_digest(([replace(sample, **other)], [source])) != found
    assert inputs_digest(([sample], [replace(source, position=0)])) != found
    assert inputs_digest(([sample, source],)) != found


def test_a_text_that_no_model_sees_is_in_no_key(measurements, data):
    twin = replace(data.task, valid=replace(data.task.valid, pattern="x"), name="another")
    changed = replace(data.task, prompt="Word: {query}. Answer:")
    of, of_twin, of_changed = (
        measurements.digest(Request(each, Norms(1)))
        for each in (data, data.of_task(twin), data.of_task(changed))
    )
    assert twin.digest != data.task.digest
    assert of_twin == of != of_changed


def sweep(tuples=2):
    effects = np.zeros((len(METRICS), 3, tuples), np.float32)
    effects[METRICS.index("logit_diff")] = np.nan
    arrays = {"effects": effects, "target": effects[:, :, 0], "degenerate": np.zeros(tuples, bool)}
    return arrays, {"tuples": [[layer] for layer in range(tuples)], "runner": "batched"}


SIZES = {"metric": len(METRICS), "sample": 3}


def test_what_has_its_form_passes():
    Form.of(LayerSweep).check(SIZES, *sweep())
    Form.of(Behaviour).check(SIZES, {}, {"answers": ["a", "b", "c"]})


@pytest.mark.parametrize(
    ("arrays", "info", "said"),
    [
        ({"effects": np.zeros((5, 3, 2), np.int8)}, {}, "effects='int8', but should be float32"),
        ({"effects": np.zeros((5, 3, 4), np.float32)}, {}, "shape of degenerate=(2,)"),
        ({"effects": np.zeros((5, 4, 2), np.float32)}, {}, "shape of effects=(5, 4, 2)"),
        ({"effects": np.full((5, 3, 2), 2, np.float32)}, {}, "value of effects=2.0"),
        ({"more": np.zeros(1)}, {}, "differing arrays='more'"),
        ({}, {"tuples": "01"}, "tuples='01', but should be a list"),
        ({}, {"tuples": [[0], ["1"]]}, "tuples[1][0]='1', but should be a whole number"),
        ({"target": np.full((5, 3), np.nan, np.float32)}, {}, "value of target=nan"),
        ({"effects": np.full((5, 3, 2), np.inf, np.float32)}, {}, "value of effects=inf"),
        ({}, {"tuples": [[1], [0]]}, "tuples=[[1], [0]], but should be what the method gives"),
        ({}, {"tuples": [[0], [-1]]}, "tuples=[[0], [-1]], but should be what"),
        ({}, {"tuples": [[], [0]]}, "tuples=[[], [0]], but should be what"),
        ({}, {"runner": "none"}, "runner='none', but should be one of fan_out"),
        ({}, {"tuples": [[0], [1], [2]]}, "shape of tuples=(3,)"),
        ({}, {ORIGIN: {"device": ["cpu"]}}, "measured with.device=['cpu']"),
    ],
)
def test_what_has_another_form_is_one_line(arrays, info, said):
    good = sweep()
    with pytest.raises(EvidenceError) as error:
        Form.of(LayerSweep).check(SIZES, good[0] | arrays, good[1] | info)
    assert str(error.value).startswith(said)
    assert str(error.value).endswith("[sweep]")


def test_an_index_lies_within_its_axis():
    method = Form("m", {"chosen": Array("int64", "fold", 0.0, "layer")})
    method.check({"layer": 2}, {"chosen": np.array([0, 1])}, {})
    for wrong in ([0, 2], [-1, 0]):
        with pytest.raises(EvidenceError, match="value of chosen"):
            method.check({"layer": 2}, {"chosen": np.array(wrong)}, {})


def test_a_record_of_another_form_is_measured_again(tmp_path):
    """Answers as one text are characters to whoever takes them for a list."""
    check = partial(Form("some", facts={"answers": Fact(tuple[str, ...])}).check, {})
    Store(tmp_path).measure(KEY, lambda: ({}, {"answers": "abc"}))
    with pytest.warns(StoreWarning, match="is damaged, so it is measured again: answers='abc'"):
        again = Store(tmp_path).measure(KEY, lambda: ({}, {"answers": ["a"]}), check)
    assert again.info["answers"] == ["a"]
    assert Store(tmp_path).find(again.digest, check).info["answers"] == ["a"]


def test_a_result_of_another_form_is_not_kept(tmp_path):
    check = partial(Form("some").check, {})
    with pytest.raises(EvidenceError, match=r"differing facts='more'.*; correct the method"):
        Store(tmp_path).measure(KEY, lambda: ({}, {"more": 1}), check)
    assert not [*tmp_path.glob("*.json")]


def test_filters_that_make_errors_of_warnings_do_not_keep_damage(tmp_path):
    digest = Store(tmp_path).measure(KEY, lambda: ({}, {"a": 1})).digest
    (tmp_path / f"{digest}.json").write_text("{}")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("error")
        again = Store(tmp_path).measure(KEY, lambda: ({}, {"a": 2}))
    assert again.info == {"a": 2}
    assert Store(tmp_path).find(digest).info == {"a": 2}
    assert [each.category for each in seen] == [StoreWarning]


def test_names_of_methods_are_their_own():
    assert all(METHODS[name].name == name for name in METHODS)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_kept_no_op_that_is_not_finite_is_of_another_form(value):
    with pytest.raises(EvidenceError, match="value of effects"):
        Form.of(NoOp).check(
            {}, {"effects": np.full((2, 3), value, np.float32)}, {"runner": "batched"}
        )

"""The numbers of every method on an embedded checkpoint stay, or get a new version."""

import json

import pytest

from ivfixtures.measuring import judge
from ivmethods.methods import METHODS
from tests import golden

VERSIONS = {name: method.version for name, method in METHODS.items()} | {
    judge.FORM.name: judge.VERSION
}
GOLDEN = json.loads(golden.FILE.read_text())


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return golden.measured(tmp_path_factory.mktemp("store"))


@pytest.mark.parametrize("name", GOLDEN)
def test_numbers_are_those_of_their_version(name, found):
    version = VERSIONS[golden.method_of(name)]
    write = "write its golden numbers with python -m tests.golden"
    assert GOLDEN[name]["version"] == version, f"{name} has version {version}: {write}"
    lines = golden.moved(GOLDEN[name]["numbers"], found[name]["numbers"])
    assert not lines, "\n".join([f"{name}, under version {version} in its class:", *lines])


def test_every_method_has_golden_numbers(found):
    assert {*map(golden.method_of, GOLDEN)} == VERSIONS.keys()
    assert GOLDEN.keys() == found.keys()


def test_a_number_that_moves_is_named_and_rounding_is_not():
    before = {"mean of effects": 1.234, "effects": [0.0, None], "share: mean of by_words": 0.5}
    assert golden.moved(before, before | {"mean of effects": 1.2341, "effects": [5e-5, None]}) == []
    assert golden.moved(before, before | {"effects": [0.0, 0.1]}) == [
        "effects: [0.0, null] -> [0.0, 0.1]"
    ]
    assert golden.moved(before, {}) != []


def test_numbers_of_an_old_version_are_not_written_over(tmp_path, monkeypatch, found):
    kept = {**found, "runs": {"version": VERSIONS["runs"], "numbers": {"more": 1}}}
    path = tmp_path / "golden.json"
    path.write_text(json.dumps(kept))
    monkeypatch.setattr(golden, "FILE", path)
    monkeypatch.setattr(golden, "measured", lambda folder: found)
    with pytest.raises(SystemExit, match="runs more: is in one of both only"):
        golden.main(tmp_path)
    assert json.loads(path.read_text()) == kept
    kept["runs"]["version"] = VERSIONS["runs"] - 1
    path.write_text(json.dumps(kept))
    golden.main(tmp_path)
    assert json.loads(path.read_text()) == found

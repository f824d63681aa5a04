"""What measurements were made with: kept with each, shown, and flagged where a cell mixes them."""

import json
from importlib.metadata import version

import torch

from ivevidence import Measurement
from ivfixtures.measuring import origins
from ivfixtures.measuring.origins import ORIGIN, differences, origin, together, with_origin
from tests.running import PACK, TASKS, saved, write_tasks

pytest_plugins = ["pytester"]


def made(**facts):
    return Measurement("0" * 64, {}, {}, {ORIGIN: facts} if facts else {}, reused=True)


def test_origins_that_agree_are_told_once_and_without_a_note():
    of = {"runs": made(device="cpu", torch="2.13"), "sweep": made(device="cpu", torch="2.13")}
    assert together(of) == {"device": "cpu", "torch": "2.13"}
    assert differences(of) == ()


def test_origins_that_differ_are_noted_with_who_was_made_with_what():
    of = {"runs": made(device="cpu", torch="2.13"), "sweep": made(device="H200", torch="2.12")}
    of |= {"paths": made(device="cpu", torch="2.12"), "kept before": made()}
    assert together(of) == {"device": "cpu, H200", "torch": "2.13, 2.12"}
    assert differences(of) == (
        "measured on several devices: cpu (runs, paths); H200 (sweep)",
        "measured with several versions of torch: 2.13 (runs); 2.12 (sweep, paths)",
    )


def test_the_origin_is_that_of_the_process_and_changes_nothing_else():
    arrays, info = with_origin(lambda: ({"a": 1}, {"b": 2}), "cpu")()
    assert (arrays, info.pop("b")) == ({"a": 1}, 2)
    assert info == {ORIGIN: {**origin("cpu"), "threads": str(torch.get_num_threads())}}
    assert info[ORIGIN]["device"] == "cpu"
    for library in ("torch", "tokenizers", "scikit-learn"):
        assert info[ORIGIN][library] == version(library)


def test_what_only_moves_last_digits_is_told_but_not_noted():
    of = {"runs": made(threads="1", attention="sdpa", **{"memory budget": "1 GiB"})}
    of |= {"sweep": made(threads="2", attention="sdpa", **{"memory budget": "0.8 GiB"})}
    assert together(of)["threads"] == "1, 2"
    assert differences(of) == ()
    of["paths"] = made(attention="eager")
    (note,) = differences(of)
    assert note == "measured with several kinds of attention: sdpa (runs, sweep); eager (paths)"


def test_an_accelerator_is_called_by_its_name(monkeypatch):
    monkeypatch.setattr(origins.torch.cuda, "get_device_name", lambda device: f"H200 {device}")
    monkeypatch.setattr(origins.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(origins.torch.cuda, "device_count", lambda: 2)
    assert origin.__wrapped__("cuda:1")["device"] == "H200 cuda:1"
    assert origin.__wrapped__("auto")["device"] == "H200 0, H200 1"


def test_a_cell_of_measurements_made_apart_says_so(pytester, monkeypatch):
    """Behaviour is measured in this environment, the rest in one with another torch."""
    folder = saved("olmo2", pytester.path / "checkpoint")
    tasks = write_tasks(pytester.path / "tasks")
    assert "adj_ant" in TASKS
    run = ["--pyargs", f"{PACK}.test_localization", "-p", "no:cacheprovider", "-q"]
    run += ["--checkpoint", str(folder), "--tasks", str(tasks), "--samples", "4"]
    run += ["--set", "instruction_vectors.orders=1", "--measure-anyway"]
    run += ["--store", str(pytester.path / "store"), "-k", "adj_ant"]

    def cell():
        pytester.inline_run(*run, f"--html={pytester.path}/report.html", "--self-contained-html")
        (found,) = json.loads((pytester.path / "report.evidence.json").read_text())["cells"]
        return found

    first = cell()
    made_with = first["provenance"][ORIGIN]
    assert made_with["torch"] == version("torch")
    assert made_with["attention"] == "sdpa"
    assert made_with["memory budget"].endswith(" GiB")
    assert not any("several" in note for note in first["notes"])

    records = {
        path: json.loads(path.read_text()) for path in (pytester.path / "store").glob("*.json")
    }
    (controls,) = [p for p, r in records.items() if r["key"]["method"].startswith("controls")]
    for path in (controls, controls.with_suffix(".safetensors")):
        path.unlink()
    monkeypatch.setattr(origins, "origin", lambda device: {"device": device, "torch": "9.9"})
    second = cell()
    assert second["provenance"][ORIGIN]["torch"] == f"{version('torch')}, 9.9"
    (note,) = [note for note in second["notes"] if "several" in note]
    assert note.startswith(f"measured with several versions of torch: {version('torch')} (")
    assert "9.9 (controls" in note

"""Where checkpoints come from, as users name them: GGUF files and the hub, whole and damaged."""

import hashlib
import json
import os
import shutil
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from ivevidence import read_evidence
from ivfixtures.checkpoints.gguf_header import whole_size
from ivfixtures.checkpoints.resolving import CheckpointError, digests, expand, load, resolve
from tests.gguf_writing import EMPTY, write_llama
from tests.running import has_traceback, printed

COMMIT = "0" * 39 + "1"
ONE_LINE = r".+?=.*, but should be .+ \[.+\]; .+"


@pytest.fixture
def claims(pytester, tasks):
    """Run claims on a checkpoint, as a user does."""

    def run(name, *options, only=("claims.instruction_vectors.test_behaviour",)):
        return pytester.runpytest_inprocess(
            *("--pyargs", *only, "--checkpoint", str(name), "--tasks", str(tasks)),
            *("--samples", "8", "-p", "no:cacheprovider", "-W", "default", *options),
        )

    return run


def evidence(pytester):
    return read_evidence(pytester.path / "reports" / "claims.evidence.json")


def error_lines(result):
    """What a run says of a checkpoint: its lines that name quantity, expectation and place."""
    lines = [line.removeprefix("ERROR: ") for line in map(str.strip, printed(result).split("\n"))]
    return [line for line in lines if "but should be" in line and not line.startswith("FAILED")]


# GGUF


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A GGUF file, and the model and tokenizer that it was written from."""
    for name in ("gguf", "accelerate"):
        pytest.importorskip(name)
    path = tmp_path_factory.mktemp("written") / "model.gguf"
    return path, *write_llama(path)


def test_a_gguf_file_computes_what_was_written(written):
    path, model, tokenizer = written
    loaded = load(resolve(str(path)))
    text = "Given an adjective, state its antonym. Ünï"
    assert loaded.tokenizer(text).input_ids == tokenizer(text).input_ids
    ids = tokenizer(text, return_tensors="pt").input_ids
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(ids).logits, model.eval()(ids).logits)


def test_a_gguf_file_is_judged_to_evidence(written, claims, pytester):
    checkpoint = resolve(str(written[0]))
    both = (
        "claims.instruction_vectors.test_behaviour",
        "claims.instruction_vectors.test_localization",
    )
    options = ["--measure-anyway", "--xfail-refuted", "-k", "adj_ant"]
    options += ["--set", "instruction_vectors.orders=1"]
    result = claims(written[0], *options, only=both)
    found = evidence(pytester)
    assert not found.errors, printed(result)
    names = {f"instruction_vectors/{name}" for name in ("behaviour", "localization")}
    assert {cell.claim.name for cell in found.cells} == names
    for cell in found.cells:
        assert cell.checkpoint == str(written[0])
        assert digests(checkpoint).weights in json.dumps(cell.provenance)


def test_the_header_says_how_large_a_whole_file_is(written, tmp_path):
    assert whole_size(written[0]) == written[0].stat().st_size
    (tmp_path / "empty.gguf").write_bytes(EMPTY)
    assert whole_size(tmp_path / "empty.gguf") == len(EMPTY)


@settings(max_examples=60)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_gguf_file_that_was_cut_short_is_one_line(written, tmp_path_factory, share):
    data = written[0].read_bytes()
    path = tmp_path_factory.getbasetemp() / "cut.gguf"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(CheckpointError, match=ONE_LINE) as caught:
        resolve(str(path))
    assert "download the file again" in str(caught.value)


@settings(max_examples=25)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_in_the_header_is_refused_or_harmless(written, tmp_path_factory, place, bit):
    data = bytearray(written[0].read_bytes())
    header = data.index(b"general.architecture"), data.index(b"token_embd.weight") + 100
    data[int(header[0] + place * (header[1] - header[0]))] ^= 1 << bit
    path = tmp_path_factory.getbasetemp() / "flipped.gguf"
    path.write_bytes(data)
    with suppress(CheckpointError):
        load(resolve(str(path)))


def _cut(data):
    return data[: -len(data) // 3]


def _flip(data):
    return data[:9] + bytes([data[9] ^ 0x20]) + data[10:]


@pytest.mark.parametrize(
    ("damage", "expected"),
    [(_cut, "size="), (_flip, "header=cut short"), (lambda data: b"<html>" + data, "first bytes=")],
)
def test_a_damaged_gguf_file_ends_the_run_with_one_line(
    written, claims, tmp_path, damage, expected
):
    path = tmp_path / "model.gguf"
    path.write_bytes(damage(written[0].read_bytes()))
    result = claims(path)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = error_lines(result)
    assert line.startswith(expected)
    assert str(path) in line
    assert "download the file again" in line


# Folders


@pytest.mark.parametrize("damage", [_cut, _flip, lambda data: b"", lambda data: data + b"\0"])
def test_a_damaged_safetensors_file_ends_the_run_with_one_line(
    checkpoint, claims, tmp_path, damage
):
    folder = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    weights = folder / "model.safetensors"
    weights.write_bytes(damage(weights.read_bytes()))
    result = claims(folder)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = error_lines(result)
    assert line.startswith("weights=")
    assert str(weights) in line
    assert "download or save the file again" in line


def test_damage_that_shows_when_loading_is_a_line_a_cell_without_a_traceback(
    checkpoint, claims, tmp_path
):
    folder = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.2.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    result = claims(folder)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    lines = error_lines(result)
    assert len(lines) == 2
    assert all(line.startswith("tensors missing=model.layers.2.") for line in lines)
    assert not has_traceback(result)


# The hub


def cached(folder, cache, hub_id="org/name"):
    """Lay a checkpoint's files out as the hub's client caches them; return their blobs."""
    entry = cache / f"models--{hub_id.replace('/', '--')}"
    snapshot = entry / "snapshots" / COMMIT
    for path in (entry / "refs", entry / "blobs", snapshot):
        path.mkdir(parents=True)
    (entry / "refs" / "main").write_text(COMMIT)
    blobs = {}
    for path in sorted(Path(folder).iterdir()):
        content = path.read_bytes()
        as_git = hashlib.sha1(b"blob %d\0" % len(content) + content)
        name = hashlib.sha256(content) if path.suffix == ".safetensors" else as_git
        blobs[path.name] = entry / "blobs" / name.hexdigest()
        blobs[path.name].write_bytes(content)
        (snapshot / path.name).symlink_to(os.path.relpath(blobs[path.name], snapshot))
    return blobs


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """An empty hub cache without a network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    digests.cache_clear()  # other tests have other checkpoints of these names
    yield tmp_path / "hub"
    digests.cache_clear()


def test_a_cached_hub_checkpoint_is_judged_offline_to_evidence(claims, pytester, offline):
    local = resolve("tiny-olmo2-sft")
    cached(local.source, offline, "org/tiny")
    names = ("org/tiny", "--checkpoint", f"org/tiny@{COMMIT}")
    result = claims(*names, "--measure-anyway", "--xfail-refuted")
    found = evidence(pytester)
    assert not found.errors, printed(result)
    assert {cell.checkpoint for cell in found.cells} == {"org/tiny", f"org/tiny@{COMMIT}"}
    assert len(found.cells) == 4
    assert all(digests(local).weights in json.dumps(cell.provenance) for cell in found.cells)


def test_a_blob_that_is_not_what_the_hub_stated_is_one_line(checkpoint, offline):
    blob = cached(checkpoint, offline)["model.safetensors"]
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    with pytest.raises(CheckpointError, match=ONE_LINE) as caught:
        digests(resolve("org/name"))
    assert str(caught.value).startswith("sha256=")
    assert f"delete {blob} and download it again" in str(caught.value)


def test_a_checkpoint_that_is_nowhere_is_a_line_a_cell(claims, offline, pytester):
    result = claims("org/name")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    line = (
        "checkpoint=missing, but should be whole in the hub's cache, as HF_HUB_OFFLINE is set "
        "[org/name]; unset HF_HUB_OFFLINE, or set HF_HOME to the folder of the cache that holds it"
    )
    assert error_lines(result) == [line, line]
    assert not has_traceback(result)
    assert [line in error.message for error in evidence(pytester).errors] == [True, True]


def test_what_the_cache_does_not_hold_is_one_line(checkpoint, offline):
    cached(checkpoint, offline)
    assert digests(resolve("org/name")) == digests(resolve(str(checkpoint)))
    for name in ("org/name@v2", f"org/name@{'2' * 40}"):
        with pytest.raises(CheckpointError, match=f"checkpoint=missing.*{name}"):
            digests(resolve(name))
    with pytest.raises(CheckpointError, match=r"revisions=out of reach.*name each revision"):
        expand("org/name@step*")
    (offline / "models--org--name/snapshots" / COMMIT / "model.safetensors").unlink()
    digests.cache_clear()
    with pytest.raises(CheckpointError, match="weights=missing"):
        digests(resolve("org/name"))


ANSWERS = {  # status, the hub's code and message
    "gated": (403, "GatedRepo", "Access to model org/gated is restricted."),
    "login": (401, "GatedRepo", "Access to model org/login is restricted."),
    "absent": (404, "RepoNotFound", "Repository not found"),
    "revision": (404, "RevisionNotFound", "Invalid rev id: v9"),
    "token": (401, "", "Invalid credentials in Authorization header"),
    "down": (503, "", "Service unavailable"),
}


class Hub(BaseHTTPRequestHandler):
    """A hub that refuses, each checkpoint in its own way."""

    def do_GET(self):
        status, code, message = ANSWERS[self.path.split("/")[4]]
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", message)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@contextmanager
def serving():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def hub(monkeypatch, offline):
    """The hub that refuses, and the client's true errors; the cache is empty."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving() as address:
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
        yield address


REFUSALS = [
    ("org/gated", "access=gated", "accept its terms on {page}, then set HF_TOKEN"),
    ("org/login", "access=gated", "accept its terms on {page}, then set HF_TOKEN"),
    ("org/absent", "checkpoint=not found", "check the name; if it is a private one, set HF_TOKEN"),
    ("org/revision@v9", "revision='v9'", "choose one of {page}"),
    ("org/token", "access=refused (401)", "the present token is not accepted"),
    ("org/down", "hub=error 503", "check the network, or name a local folder"),
]


@pytest.mark.parametrize(("name", "expected", "remedy"), REFUSALS)
def test_what_the_hub_refuses_is_one_line_that_says_what_to_do(hub, name, expected, remedy):
    page = f"{hub}/{name.partition('@')[0]}"
    with pytest.raises(CheckpointError, match=ONE_LINE) as caught:
        digests(resolve(name))
    line = str(caught.value)
    assert line.startswith(f"{expected}, but should be")
    assert f"[{name}]; " in line
    assert remedy.format(page=page) in line
    if "@" not in name:
        with pytest.raises(CheckpointError) as listed:
            expand(f"{name}@step*")
        assert str(listed.value) == line


def test_a_gated_checkpoint_is_a_line_a_cell(hub, claims):
    result = claims("org/gated")
    assert len(error_lines(result)) == 2
    assert all(line.startswith("access=gated") for line in error_lines(result))
    assert not has_traceback(result)


def test_no_network_is_one_line(hub, monkeypatch):
    with serving() as address:
        pass  # nobody listens there now
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
    with pytest.raises(CheckpointError, match=ONE_LINE) as caught:
        digests(resolve("org/name"))
    assert str(caught.value).startswith("hub=")
    assert "refused" in str(caught.value)
    assert "check the network" in str(caught.value)
    with pytest.raises(CheckpointError, match="check the name, the network"):
        expand("org/name@step*")


def test_a_cached_checkpoint_needs_no_hub(hub, offline, checkpoint):
    cached(checkpoint, offline, "org/gated")
    assert digests(resolve("org/gated")) == digests(resolve(str(checkpoint)))

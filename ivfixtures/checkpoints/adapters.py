"""Low-rank adapters in peft's format: what their files must be, and the merging into their base."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ivfixtures.checkpoints.tensor_headers import tensors
from ivfixtures.checkpoints.weights import ADAPTER_CONFIG, PICKLED
from ivfixtures.plain_files import problem, read_json

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

ADAPTER_WEIGHTS = "adapter_model.safetensors"
# Settings of LoRA that decide which tensors there are and what they add up to.
_READ = (
    *("r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora"),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
    *("modules_to_save", "bias", "lora_bias", "fan_in_fan_out"),
)
# Settings that change nothing once training is over, or nothing while another one is off.
_PASSED_OVER = (
    *("base_model_name_or_path", "task_type", "auto_mapping", "inference_mode"),
    *("peft_type", "peft_version", "lora_dropout", "megatron_core", "qalora_group_size"),
    "init_lora_weights",
)
_ADAPTED = re.compile(r"([A-Za-z0-9_]+)\.lora_A\.")
# peft takes a text for a pattern, a list for names; but keys of ranks are patterns.
_NAMES_OR_PATTERN = ("target_modules", "exclude_modules")
_NAMES = ("layers_pattern", "modules_to_save", "rank_pattern", "alpha_pattern")
# What peft's own keys are made of: a dot may stand for any letter, but nothing is repeated.
_PLAIN = re.compile(r"\^?[A-Za-z0-9_.-]+\$?")
# Other beginnings (PiSSA, LoftQ, ...) take the adapter's part out of the base.
_BEGINNINGS = (True, False, "gaussian", "orthogonal")


def adapter_base(folder: Path) -> str:
    """Return what the adapter of a folder calls its base.

    Raises: CheckpointError.
    """
    path = folder / ADAPTER_CONFIG
    base = read_json(path).get("base_model_name_or_path")
    if not base or not isinstance(base, str):
        remedy = "give base_model_name_or_path a registry name, folder, GGUF file or hub id"
        raise problem("base", repr(base), "named by the adapter", path, remedy)
    return base


def adapter_files(folder: Path) -> tuple[Path, Path]:
    """Check an adapter's settings and the header of its tensors; return both files.

    Raises: CheckpointError.
    """
    config, weights = folder / ADAPTER_CONFIG, folder / ADAPTER_WEIGHTS
    settings = read_json(config)
    _check_settings(settings, config)
    if not weights.is_file():
        pickled = any(path for pattern in PICKLED for path in folder.glob(pattern))
        got = "pickled" if pickled else "missing"
        expected = f"{ADAPTER_WEIGHTS}; pickles run code" if pickled else ADAPTER_WEIGHTS
        remedy = "save it with peft's save_pretrained, which writes safetensors"
        raise problem("adapter", got, expected, folder, remedy)
    adapted = {
        match[1]
        for tensor in tensors(weights)
        if (match := _ADAPTED.search(tensor.name)) is not None
    }
    _check_names(settings, sorted(adapted), config)
    return config, weights


def merge(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """Add an adapter to the weights of its base, in place, and return the plain model.

    Needs peft. Its own reading of the files is not used: it may fall back on pickles, and what is
    missing from them it leaves at random.

    Raises: CheckpointError if the tensors are not those that the settings call for on this base.
    """
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
    from peft import set_peft_model_state_dict as set_state
    from safetensors.torch import load_file

    config, weights = adapter_files(folder)
    settings = {key: value for key, value in read_json(config).items() if key in _READ}
    adapted: Any = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **settings))
    wanted = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    given = load_file(weights)
    _check_tensors(wanted, given, weights)
    set_state(adapted, given)
    return adapted.merge_and_unload(safe_merge=True)


def _check_settings(config: dict[str, Any], path: Path) -> None:
    remedy = "merge it with peft where it was trained, and save the whole model"
    if (kind := config.get("peft_type")) != "LORA":
        raise problem("peft_type", repr(kind), "'LORA'", path, remedy)
    beginning = config.get("init_lora_weights", True)
    if beginning not in _BEGINNINGS:
        expected = f"one of {', '.join(map(str, _BEGINNINGS))}"
        raise problem("init_lora_weights", repr(beginning), expected, path, remedy)
    for key, value in sorted(config.items()):
        if value and key not in (*_READ, *_PASSED_OVER):
            raise problem(f"setting {key}", repr(value), "off: only LoRA is read", path, remedy)


def _check_names(settings: dict[str, Any], adapted: list[str], path: Path) -> None:
    """Names only: peft matches patterns on every module, and some patterns take for ever."""
    for key in (*_NAMES_OR_PATTERN, *_NAMES):
        value = settings.get(key) or []
        pattern = key in _NAMES_OR_PATTERN and isinstance(value, str) and value != "all-linear"
        names = [*value] if isinstance(value, list | dict) else [value]
        if pattern or not all(isinstance(name, str) and _PLAIN.fullmatch(name) for name in names):
            remedy = f"list names instead: {', '.join(adapted)}"
            raise problem(key, repr(value), "names of modules, no patterns", path, remedy)


def _check_tensors(wanted: dict[str, Tensor], given: dict[str, Tensor], path: Path) -> None:
    shapes = [{key: tuple(value.shape) for key, value in of.items()} for of in (wanted, given)]
    expected, got = shapes
    wrong = sorted(key for key in expected.keys() | got.keys() if expected.get(key) != got.get(key))
    if wrong:
        first, more = wrong[0], len(wrong) - 1
        raise problem(
            f"tensor {first} (and {more} more)" if more else f"tensor {first}",
            str(got.get(first, "missing")),
            str(expected.get(first, "absent")),
            path,
            "name the base that it was trained on, and keep its settings as they were saved",
        )

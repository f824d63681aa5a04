"""Which settings of a checkpoint's JSON files are handed to transformers.

An allow-list: what transformers declares, and what can point nowhere. Without it, transformers
follows names in these files to other files, kernels and code, which nothing checked or digested.
What no code of transformers that reads a configuration of this kind names is a note of others.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from ivfixtures.plain_files import problem, read_json

CONFIG = "config.json"
MAX_LAYERS = 4096
_LAYERS = "num_hidden_layers"
# Texts and lists that configuration classes and AutoTokenizer read without declaring them.
_UNDECLARED = (
    *("model_type", "rope_scaling", "rope_parameters", "torch_dtype", "layer_types"),
    *("tokenizer_class", "model_name", "partial_rotary_factors", "moe_layers_enum"),
    *("attention_layers", "hybrid_layer_ids", "per_layer_config"),
    *("index_topk_pattern", "linear_attn_config", "sparse_attention_config", "attention_windows"),
)
_TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
# The form of what a model returns is ours, and so is the choice of attention and kernels.
_OURS = (
    *("return_dict", "use_return_dict", "torchscript", "return_dict_in_generate"),
    *("output_attentions", "output_hidden_states", "output_scores", "output_logits"),
    *("attn_implementation", "experts_implementation", "name_or_path"),
)
# Notes of other programs, a checkpoint's own code, which is never run, and settings of training,
# of other heads, and of the one choice that transformers has.
_NOTES = (
    *("summary_type", "prefix", "init_config", "init_device", "custom_pipelines"),
    *("activation_function", "mlp_type", "norm_type", "topk_method", "scoring_func"),
    *("auto_map", "transformers.js_config", "task_specific_params", "unsloth_version"),
    *("finetuning_task", "license", "model_name_or_path", "torch_version", "loss_type"),
    "tokenizer_name",
)
_TOKENIZER = (
    *("tokenizer_class", "backend", "chat_template", "added_tokens_decoder", "errors"),
    *("extra_special_tokens", "additional_special_tokens", "model_specific_special_tokens"),
    *("model_input_names", "padding_side", "truncation_side"),
)
# Paths on the machine of whoever saved it; transformers puts those of the folder in their place.
_TOKENIZER_NOTES = (
    *("auto_map", "name_or_path", "processor_class", "unsloth_version", "device_map"),
    *("tokenizer_file", "special_tokens_map_file", "vocab_file", "merges_file"),
)


def allowed_settings(path: Path) -> dict[str, Any] | None:
    """Return what of a settings file is handed on; None for files that hold no settings.

    Raises: CheckpointError, it is damaged, or says something that cannot be honoured.
    """
    read = _READERS.get(path.name)
    return read(read_json(path), path) if read else None


def config_class(kind: object) -> Any:
    """Return transformers' class of configurations of a model type; None if it has none."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return CONFIG_MAPPING[kind] if isinstance(kind, str) and kind in CONFIG_MAPPING else None


def layers(config: Mapping[str, Any], path: Path) -> int | None:
    """Return how many layers a configuration states for its language model, if it does.

    Raises: CheckpointError, the number is not one of layers.
    """
    inner = config.get("text_config")
    stated = inner if isinstance(inner, dict) and inner else config
    kind = stated.get("model_type", config.get("model_type"))
    names = (_LAYERS, getattr(config_class(kind), "attribute_map", {}).get(_LAYERS, _LAYERS))
    for name in names:
        number = stated.get(name)
        if number is None:
            continue
        if type(number) is not int or not 1 <= number <= MAX_LAYERS:
            expected, remedy = f"1 to {MAX_LAYERS}", "correct it, or choose another checkpoint"
            raise problem(name, repr(number), expected, path, remedy)
        return number
    return None


def _of_model(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    if config.get("quantization_config") or config.get("compression_config"):
        remedy = "name the model that was quantized instead, for an adapter in its "
        remedy += "base_model_name_or_path; or dequantize it once, and save that"
        got = "quantized weights"
        raise problem("checkpoint", got, "weights of 16 bits or more", path, remedy)
    layers(config, path)
    return _declared(config, config_class(config.get("model_type")), path)


def _declared(config: Mapping[str, Any], made: Any, path: Path) -> dict[str, Any]:
    """Cut a configuration down to what its class declares, nested ones too."""
    if is_dataclass(made):
        declared = [field.name for field in fields(made)]
    else:
        declared = [*inspect.signature(made).parameters]
    names = {*declared, *made.attribute_map, *_UNDECLARED}
    inner = {**made.sub_configs}

    def part(key: str, value: Any) -> Any:
        if key not in inner or not isinstance(value, dict):
            return _public(value)
        own = config_class(value.get("model_type")) or inner[key]
        return _declared(value, own, path) if hasattr(own, "attribute_map") else value

    def known(key: str) -> bool:
        return key in names

    idle = {key for key in config if key not in names and not hasattr(made, key)}
    idle = {key for key in idle if isinstance(config[key], str | list | dict)}
    idle -= _named(Path(inspect.getfile(made)).parent) if idle else idle
    notes = {*_OURS, *_NOTES, *_generation()} - names
    kept = _kept(config, path, known, notes=notes | {*_OURS} | idle)
    shadowing = [key for key in kept if key not in names and callable(getattr(made, key, None))]
    if shadowing:
        raise _refused(shadowing[0], config[shadowing[0]], path)
    return {key: part(key, value) for key, value in kept.items()}


def _public(value: Any) -> Any:
    """A value without the private settings inside it, but for the marks of infinities."""
    if isinstance(value, list):
        return [_public(part) for part in value]
    if not isinstance(value, dict):
        return value
    private = [key for key in value if key in _OURS or (key.startswith("_") and key != "__float__")]
    return {key: _public(part) for key, part in value.items() if key not in private}


def _of_tokenizer(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    def known(key: str) -> bool:
        return key in _TOKENIZER or key.endswith("_token")

    return _kept(config, path, known, notes=_TOKENIZER_NOTES)


def _of_generation(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    known = {*_generation(), "_from_model_config", *_TOKEN_IDS} - {*_OURS}
    return {key: value for key, value in config.items() if key in known}


@functools.cache
def _generation() -> frozenset[str]:
    """Names of settings of generation; transformers takes none of them from a configuration."""
    from transformers import GenerationConfig

    return frozenset(key for key in vars(GenerationConfig()) if not key.endswith("_token_id"))


@functools.cache
def _named(package: Path) -> frozenset[str]:
    """All attributes and texts in the code of transformers that a package of a model may run."""
    import transformers

    shared = Path(inspect.getfile(transformers)).parent
    parts = ("integrations", "generation", "loss", "quantizers", "utils", "models/auto")
    folders = (shared, *(shared / part for part in parts), package)
    code = "".join(file.read_text("utf-8") for folder in folders for file in folder.glob("*.py"))
    return frozenset(re.findall(r"""(?<=[."'])[A-Za-z_]\w*""", code))


def _kept(
    config: Mapping[str, Any],
    path: Path,
    known: Callable[[str], bool],
    *,
    notes: Collection[str],
) -> dict[str, Any]:
    """Known settings and numbers; private ones and notes are left out, all else is refused."""
    kept = {}
    for key, value in config.items():
        if key in notes or (key.startswith("_") and not known(key)):
            continue
        if known(key) or value is None or isinstance(value, bool | int | float):
            kept[key] = value
        elif value:
            raise _refused(key, value, path)
    return kept


def _refused(key: str, value: object, path: Path) -> Exception:
    remedy = "remove it from the file if the model is the same without it"
    expected = "absent: transformers does not declare it, or would follow it elsewhere"
    return problem(f"setting {key}", repr(value), expected, path, remedy)


_READERS: dict[str, Callable[[Mapping[str, Any], Path], dict[str, Any]]] = {
    CONFIG: _of_model,
    "generation_config.json": _of_generation,
    "tokenizer_config.json": _of_tokenizer,
    "special_tokens_map.json": _of_tokenizer,
}

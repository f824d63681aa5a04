"""Loading of models and tokenizers from checked files, without noise and without foreign code."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import (
    MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSpeechSeq2Seq,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from ivfixtures.checkpoints import gguf_header
from ivfixtures.checkpoints.adapters import merge
from ivfixtures.checkpoints.settings_files import CONFIG
from ivfixtures.checkpoints.tensor_headers import EXTRA
from ivfixtures.checkpoints.views import view
from ivfixtures.checkpoints.weights import folder_files, tokenizer_files
from ivfixtures.plain_files import CheckpointError, problem

_TRIAL = "A text, Ünïcode and 12 digits. " * 20
# Factors of rotary positions, which transformers computes from the settings.
_GGUF_EXTRA = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")
DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def load_model(
    folder: Path, gguf: str | None, adapter: Path | None = None, *, device: str, dtype: str
) -> PreTrainedModel:
    """Load a language model for evaluation, its weights complete, as its configuration says.

    adapter: the folder of a low-rank adapter that is merged into the weights. device: `auto`
    spreads the model over all devices (needs accelerate).

    Raises: CheckpointError if a file is damaged, a tensor missing, or device or dtype unknown.
    """
    if dtype not in DTYPES:
        raise problem("dtype", repr(dtype), f"one of {', '.join(DTYPES)}", folder, "choose one")
    options: dict[str, Any] = {"dtype": DTYPES[dtype], "output_loading_info": True}
    options |= {"device_map": "auto"} if device == "auto" else {}
    files = _files(folder, gguf) if gguf else folder_files(folder).weights
    config = load_config(folder, gguf)
    with _reading(folder, gguf), view(files) as seen:
        options |= {"gguf_file": str(seen / gguf)} if gguf else {"use_safetensors": True}
        try:
            model, info = _from_pretrained(config, seen, attn_implementation="sdpa", **options)
        except ValueError as error:
            # The error by which transformers says that an architecture has no sdpa attention.
            if "scaled_dot_product_attention" not in str(error):
                raise
            model, info = _from_pretrained(config, seen, attn_implementation="eager", **options)
        model.name_or_path = model.config.name_or_path = str(folder)
    _check_complete(info, folder / (gguf or ""))
    if gguf:
        _check_numbers(model, folder / gguf)
    if adapter:
        _require(("peft",), "adapters", "LoRA adapters", adapter)
        with _quietly(adapter, expected=f"a LoRA adapter of {model.config.model_type}"):
            model = merge(model, adapter)
    if device != "auto":
        _move(model, device, folder)
    return model.eval().requires_grad_(False)


def load_untrained(
    folder: Path, gguf: str | None, *, seed: int, device: str, dtype: str
) -> PreTrainedModel:
    """Build a model of a checkpoint's configuration, its weights drawn at random as for training.

    device: as in `load_model`.

    Raises: CheckpointError if the configuration is damaged.
    """
    config = load_config(folder, gguf)
    # Drawn on the CPU, so that the numbers are the same wherever the model runs.
    with _reading(folder, gguf), torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        model = model_class(config).from_config(
            config, dtype=DTYPES[dtype], trust_remote_code=False
        )
    if device == "auto":
        from accelerate import dispatch_model, infer_auto_device_map

        kept_whole = model._no_split_modules
        model = dispatch_model(
            model, infer_auto_device_map(model, no_split_module_classes=kept_whole)
        )
    else:
        _move(model, device, folder)
    untrained: PreTrainedModel = model.eval().requires_grad_(False)
    return untrained


def load_skeleton(folder: Path, hub_id: str) -> PreTrainedModel:
    """Build a causal language model of the hub without its weights; it is called by its hub id.

    Raises: CheckpointError if its configuration is damaged.
    """
    config = load_config(folder, None)
    config.name_or_path = hub_id
    with _reading(folder, None), torch.device("meta"):
        model = model_class(config).from_config(config, trust_remote_code=False)
    model.name_or_path = hub_id
    skeleton: PreTrainedModel = model.eval()
    return skeleton


def load_tokenizer(folder: Path, gguf: str | None) -> PreTrainedTokenizerBase:
    """Load a checkpoint's tokenizer.

    Raises: CheckpointError if its files are damaged.
    """
    with _reading(folder, gguf), view(_files(folder, gguf)) as seen:
        tokenizer = AutoTokenizer.from_pretrained(seen, **_local(seen, gguf))
        tokenizer.name_or_path = str(folder)
        # Some damage shows only here: truncation that cannot be, ids that lead nowhere.
        tokenizer.decode(tokenizer(_TRIAL).input_ids)
        return tokenizer


def load_config(folder: Path, gguf: str | None) -> PreTrainedConfig:
    """Load a checkpoint's configuration.

    Raises: CheckpointError if it is damaged.
    """
    with _reading(folder, gguf), view(_files(folder, gguf)) as seen:
        config = AutoConfig.from_pretrained(seen, **_local(seen, gguf))
        config.name_or_path = str(folder)
        return config


def _files(folder: Path, gguf: str | None) -> tuple[Path, ...]:
    """The files of a checkpoint but for the weights beside its configuration."""
    named = folder / (gguf or CONFIG)
    return (*((named,) if named.exists() else ()), *tokenizer_files(folder))


def _local(seen: Path, gguf: str | None) -> dict[str, Any]:
    # A bare name would be looked for in the working directory first.
    options = {"gguf_file": str(seen / gguf)} if gguf else {}
    return {"local_files_only": True, "trust_remote_code": False, **options}


def _check_complete(info: dict[str, Any], where: Path) -> None:
    """Refuse what transformers would draw at random, and what it would drop."""
    lacking = sorted(info["missing_keys"]) + sorted(str(key) for key in info["mismatched_keys"])
    if lacking:
        got, remedy = f"{lacking[0]} and {len(lacking) - 1} more", "save the whole model again"
        raise problem("tensors missing", got, "none", where, remedy)
    left = sorted(key for key in info["unexpected_keys"] if not EXTRA.search(key))
    if left:
        got, remedy = f"{left[0]} and {len(left) - 1} more", "correct model_type and sizes in "
        remedy += f"{CONFIG}, or merge what was trained beside the model, and save it again"
        raise problem("tensors left over", got, "none", where, remedy)


def _check_numbers(model: PreTrainedModel, path: Path) -> None:
    """Check that all tensors of a GGUF file were taken; its reader does not say which it drops."""
    given = {tensor.name: tensor.numbers for tensor in gguf_header.read_header(path).tensors}
    for name in _GGUF_EXTRA:
        given.pop(name, None)
    if model.config.get_text_config().tie_word_embeddings:
        given.pop("output.weight", None)
    taken = model.num_parameters()
    if sum(given.values()) != taken:
        remedy = "choose another file: transformers reads this architecture only in part"
        got = f"{sum(given.values()):,}"
        raise problem("numbers in tensors", got, f"the model's {taken:,}", path, remedy)


def model_class(config: PreTrainedConfig) -> Any:
    """The class that loads a language model of this configuration: encoder-decoders are whole."""
    if type(config) in MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING and config.is_encoder_decoder:
        return AutoModelForSpeechSeq2Seq
    return AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM


def _from_pretrained(
    config: PreTrainedConfig, folder: Path, **options: Any
) -> tuple[PreTrainedModel, dict[str, Any]]:
    found: Any = model_class(config).from_pretrained(
        folder, local_files_only=True, trust_remote_code=False, **options
    )
    return found


def _move(model: PreTrainedModel, device: str, folder: Path) -> None:
    if device.startswith("meta"):
        raise problem("device", device, "one that computes", folder, "choose another device")
    try:
        torch.nn.Module.to(model, device)
    except (RuntimeError, AssertionError, ValueError) as error:
        remedy = "choose another device"
        raise problem("device", device, _first_line(error), folder, remedy) from error


@contextmanager
def _reading(folder: Path, gguf: str | None) -> Iterator[None]:
    where = folder / gguf if gguf else folder
    if gguf:
        _require(("gguf", "accelerate"), "gguf", "GGUF files", where)
    with _quietly(where, expected="readable by transformers"):
        yield


@contextmanager
def _quietly(where: Path, *, expected: str) -> Iterator[None]:
    """Keep stderr quiet, and turn whatever a file makes the reader raise into one line."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        # For the bars: those of the GGUF reader heed no setting.
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    except CheckpointError:
        raise
    except BaseException as error:  # damaged files fail anywhere in the readers
        # That of tokenizers, in Rust, is no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        got, remedy = _first_line(error), "download or save it again, or choose another checkpoint"
        raise problem("checkpoint", got, expected, where, remedy) from error
    finally:
        logging.set_verbosity(verbosity)


def _require(packages: tuple[str, ...], extra: str, files: str, where: Path) -> None:
    absent = [name for name in packages if find_spec(name) is None]
    if absent:
        got, remedy = f"without {', '.join(absent)}", f"pip install 'ivclaims[{extra}]'"
        raise problem("environment", got, f"able to read {files}", where, remedy)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__

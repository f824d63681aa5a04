"""Every measurement on a small random model of each architecture, as a table.

    python -m benchmarks.architectures [--write] [ARCHITECTURE ...]

Prints docs/architectures.md, or with --write rewrites it. Figures are rounded up to powers of ten,
as their digits are rounding errors that vary with the machine.
"""

import argparse
import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from nnsight import TransformersModel
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM
from transformers.utils import logging

from ivmethods.behaviour import greedy_answers
from ivmethods.checks import RUNNERS, RunnerName, check
from ivmethods.controls import effects_of, norm_matched_random
from ivmethods.layouts import LAYOUTS, weights_of
from ivmethods.linear_maps import completeness, linear_forms
from ivmethods.metrics import METRICS
from ivmethods.model import network, wrap
from ivmethods.prompts import Sample
from ivmethods.recording import record_sites
from ivmethods.reference import by_hooks
from ivmethods.sweep import sweep
from tests.models import number_tokenizer, random_samples

PAGE = Path(__file__).parents[1] / "docs" / "architectures.md"
BUDGET = 2**28
LAYERS = 3
SHAPES = [(5, 0), (5, 0), (6, 1)]  # (length, patch site) of the samples
FINEST = -6

COMMON = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_OWN_HEADS = {"num_key_value_heads": 4}  # heads share nothing, or are shared in another way
_SLIDING = {"sliding_window": 3}
_MLA = _OWN_HEADS | {
    **{"q_lora_rank": 8, "kv_lora_rank": 8, "v_head_dim": 4},
    **{"qk_rope_head_dim": 4, "qk_nope_head_dim": 4},
}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8}
_LOCAL_EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
_LINEAR_ATTENTION = {
    "layer_types": ["linear_attention", "linear_attention", "full_attention"],
    **{"linear_num_key_heads": 4, "linear_num_value_heads": 4},
    **{"linear_key_head_dim": 4, "linear_value_head_dim": 4},
}
# By model_type, a variant behind the comma: what its small configuration has beside COMMON.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "olmo2": {},
    "olmo3": _SLIDING,
    "llama": {},
    "mistral": _SLIDING,
    "qwen2": {},
    "qwen3": {"head_dim": 6},
    "smollm3": {},
    "gemma": {"head_dim": 6},
    "gemma2": {"head_dim": 6, **_SLIDING},
    "gemma3_text": {"head_dim": 6, **_SLIDING},
    "granite": {"residual_multiplier": 0.6, "embedding_multiplier": 3.0, "logits_scaling": 2.0},
    "phi3": {},
    "stablelm": {},
    "stablelm, parallel": {"use_parallel_residual": True},
    "gpt2": {},
    "gpt_neox": _OWN_HEADS,
    "gpt_neox, serial": _OWN_HEADS | {"use_parallel_residual": False},
    "gptj": {"rotary_dim": 4},
    "gpt_neo": {"attention_types": [[["global", "local", "global"], 1]], "window_size": 3},
    "gpt_bigcode": {},
    "falcon": {},
    "falcon, alibi": {"alibi": True, "parallel_attn": False, "multi_query": False},
    "falcon, new": {"new_decoder_architecture": True, "num_kv_heads": 2},
    "bloom": {},
    "mpt": {"expansion_ratio": 2},
    "opt": {"ffn_dim": 24, "word_embed_proj_dim": 16},
    "opt, post-norm": {"ffn_dim": 24, "word_embed_proj_dim": 8, "do_layer_norm_before": False},
    "xglm": {"ffn_dim": 24},
    "openai-gpt": {},
    "olmo": {},
    "phi": {},
    "cohere2": {"logit_scale": 1.0, **_SLIDING},
    "glm4": {"head_dim": 4},
    "starcoder2": {},
    "nemotron": {"head_dim": 4},
    "gemma4_text": {
        **{"head_dim": 4, "global_head_dim": 4, "num_kv_shared_layers": 0},
        **{"hidden_size_per_layer_input": 4, "vocab_size_per_layer_input": 40},
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
    },
    "mixtral": _LOCAL_EXPERTS,
    "qwen2_moe": {**_EXPERTS, "shared_expert_intermediate_size": 8, "mlp_only_layers": [1]},
    "qwen3_moe": {**_EXPERTS, "head_dim": 4, "mlp_only_layers": [1]},
    "olmoe": {"num_experts": 4, "num_experts_per_tok": 2},
    "granitemoe": _LOCAL_EXPERTS,
    "gpt_oss": {**_LOCAL_EXPERTS, "head_dim": 4},
    "deepseek_v3": {
        **{**_MLA, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8},
        **{"n_group": 2, "topk_group": 1, "first_k_dense_replace": 1},
    },
    "qwen3_next": {
        **{**_EXPERTS, **_LINEAR_ATTENTION, "head_dim": 4},
        "shared_expert_intermediate_size": 8,
    },
    "olmo_hybrid": _LINEAR_ATTENTION,
}
REFUSED: dict[str, dict[str, Any]] = {
    "t5": {"num_layers": 2, "d_kv": 4, "d_ff": 24},
    "mamba": {},
    "rwkv": {},
    "falcon_h1": {"mamba_d_ssm": 16, "mamba_n_heads": 4, "mamba_d_head": 4},
    "bert": {},
    "gemma3n_text": {
        **{"head_dim": 4, "num_kv_shared_layers": 0, "altup_num_inputs": 2},
        **{"hidden_size_per_layer_input": 4, "vocab_size_per_layer_input": 40},
        **{"layer_types": ["full_attention"] * LAYERS, "activation_sparsity_pattern": None},
    },
}


@dataclass(frozen=True)
class Figures:
    """What came out on one architecture; differences are of logits, absolute.

    no_op: largest effect of a run's own activations. parity: largest difference between every pair
    of layers, or a control, as they are measured and by plain hooks one by one. effect: the largest
    effect among those. completeness: relative error of the linear form; None without a layout.
    behaviour: whether the greedy answers are those of choosing the largest logit token by token.
    """

    attention: str
    runner: RunnerName
    no_op: float
    parity: float
    effect: float
    completeness: float | None
    behaviour: bool


def main() -> None:
    """Print or write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("architectures", nargs="*", default=list(ARCHITECTURES))
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.set_verbosity_error()
    found = {name: measure(small_model(name)) for name in options.architectures}
    text = page(found, {name: refusal(name) for name in REFUSED})
    if options.write:
        PAGE.write_text(text, encoding="utf-8")
    else:
        print(text, end="")


def small_network(name: str, *, seed: int = 0) -> Any:
    """A random transformers model of an architecture, its biases and norms not idle."""
    kind = name.partition(",")[0]
    options = COMMON | ARCHITECTURES.get(name, {}) | REFUSED.get(name, {})
    config = AutoConfig.for_model(kind, **_as_called_by(kind, options))
    loader = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    torch.manual_seed(seed)
    net = loader.from_config(config).eval().requires_grad_(False)
    for parameter in net.parameters():
        if parameter.ndim == 1:
            parameter += 0.3 * torch.randn(parameter.shape)
    return net


def small_model(name: str, *, seed: int = 0) -> TransformersModel:
    """The random model of an architecture behind the handle that the methods take."""
    return wrap(small_network(name, seed=seed), number_tokenizer())


def measure(model: TransformersModel) -> Figures:
    """Run sweep, controls, behaviour and, where it has a layout, the linear form of a model."""
    net, samples = network(model), random_samples(SHAPES)
    checks = check(model, samples, memory_budget=BUDGET)
    assert checks.passed, (type(net).__name__, checks)
    draw = norm_matched_random(record_sites(model, samples)[0], draws=1, seed=0)
    vectors = draw.expand(len(samples), -1, -1)
    fast, slow = (
        sweep(model, samples, vectors, order=2, memory_budget=BUDGET, runner=runner)
        for runner in (RUNNERS[checks.runner], by_hooks)
    )
    pair = (0, 1)
    control = effects_of(model, samples, draw, pair, memory_budget=BUDGET)
    logit = METRICS.index("logit")
    differences = [
        fast.effects[logit] - slow.effects[logit],
        control[logit, :, 0] - slow.effects[logit, :, slow.tuples.index(pair)],
    ]
    return Figures(
        attention=net.config._attn_implementation,
        runner=checks.runner,
        no_op=checks.no_op,
        parity=max(checks.hook_parity, *(float(each.abs().max()) for each in differences)),
        effect=float(slow.effects[logit].abs().max()),
        completeness=_completeness(model, samples),
        behaviour=greedy_answers(model, samples[:1]) == [_token_by_token(model, samples[0])],
    )


def refusal(name: str) -> str:
    """The error that an architecture is refused with."""
    net = small_network(name)
    try:
        wrap(net, number_tokenizer())
    except ValueError as error:
        return str(error)
    raise AssertionError(f"{name} is not refused")


def page(found: dict[str, Figures], refusals: dict[str, str]) -> str:
    """The page in Markdown."""
    rows = ([name, *_columns(figures)] for name, figures in found.items())
    refused = ([name, f"`{line}`"] for name, line in refusals.items())
    head = ["architecture", "attention", "sweep", "effect", "no-op", "parity", "behaviour", "paths"]
    return f"""# Architectures

<!-- written by `python -m benchmarks.architectures --write` -->

Sweeps, controls and behaviour run on every decoder-only model of transformers whose blocks return
the residual stream. These were run, on random models of {LAYERS} layers in float32, each by the
kind of sweep that the checks of a run choose by themselves: a growing batch (`fan_out`), the same
with one sample a pass, or plain batches; windows are shorter than the prompts here, which takes
masks. `no-op` and `parity` (all pairs of layers and a control, against plain hooks one by one)
are the largest differences of logits, next to the largest `effect`; `behaviour` says whether greedy
answers are those of choosing token by token; `paths` is the relative error of the linear form,
where there is one ([paths.md](paths.md)).

{_table(head, rows)}

Refused, before anything is measured:

{_table(["architecture", "error"], refused)}
"""


def _columns(figures: Figures) -> Iterable[str]:
    form = figures.completeness
    return (
        figures.attention,
        figures.runner,
        f"{figures.effect:.2g}",
        at_most(figures.no_op),
        at_most(figures.parity),
        "yes" if figures.behaviour else "no",
        "no" if form is None else at_most(form),
    )


def at_most(figure: float) -> str:
    """A figure rounded up to a power of ten, 1e-6 at the finest."""
    power = FINEST if figure == 0 else max(FINEST, math.ceil(math.log10(figure)))
    return f"≤ 1e{power}"


def _table(head: list[str], rows: Iterable[Iterable[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def _as_called_by(kind: str, options: dict[str, Any]) -> dict[str, Any]:
    """Options under the names that an architecture's configuration has itself, where it differs.

    A configuration takes its own name for an option and the common one, and the last one wins.
    """
    own = getattr(type(AutoConfig.for_model(kind)), "attribute_map", {})
    named = {own.get(option, option): value for option, value in options.items()}
    if kind in ("falcon", "gpt_bigcode"):
        named.pop("num_key_value_heads", None)  # which follow from their own options
    return named


def _completeness(model: TransformersModel, samples: list[Sample]) -> float | None:
    if network(model).config.model_type not in LAYOUTS:
        return None
    weights = weights_of(model)
    forms = linear_forms(model, [sample.instructed for sample in samples], weights=weights)
    return max(map(completeness, forms))


def _token_by_token(model: TransformersModel, sample: Sample) -> str:
    net, tokenizer, ids = network(model), model.tokenizer, list(sample.instructed)
    for _ in range(8):
        ids.append(int(net(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
        if ids[-1] == tokenizer.eos_token_id:
            break
    return str(tokenizer.decode(ids[len(sample.instructed) :], skip_special_tokens=True))


if __name__ == "__main__":
    main()

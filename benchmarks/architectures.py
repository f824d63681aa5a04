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

from benchmarks.small_configurations import ARCHITECTURES, COMMON, LAYERS, REFUSED
from ivmethods.model.behaviour import greedy_answers
from ivmethods.model.handles import network, wrap
from ivmethods.model.layouts import LAYOUTS, weights_of
from ivmethods.model.metrics import METRICS
from ivmethods.model.recording import record_sites
from ivmethods.patching.checks import RUNNERS, RunnerName, check
from ivmethods.patching.controls import effects_of, norm_matched_random
from ivmethods.patching.reference import by_hooks
from ivmethods.patching.sweep import sweep
from ivmethods.paths.linear_maps import completeness, linear_forms
from ivmethods.prompts.protocols import Sample
from tests.models import number_tokenizer, random_samples

PAGE = Path(__file__).parents[1] / "docs" / "architectures.md"
NEW_TOKENS = 8
BUDGET = 2**28
SHAPES = [(5, 0), (5, 0), (6, 1)]  # (length, patch site) of the samples
FINEST = -6


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
    draw = norm_matched_random(
        record_sites(model, samples, memory_budget=BUDGET)[0], draws=1, seed=0
    )
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
        behaviour=_answer(model, samples[0]) == _token_by_token(model, samples[0]),
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


def _answer(model: TransformersModel, sample: Sample) -> str:
    stops = [model.tokenizer.eos_token_id]
    options = {"new_tokens": NEW_TOKENS, "stops": stops, "memory_budget": BUDGET}
    return greedy_answers(model, [sample], **options)[0]


def _token_by_token(model: TransformersModel, sample: Sample) -> str:
    net, tokenizer, ids = network(model), model.tokenizer, list(sample.instructed)
    for _ in range(NEW_TOKENS):
        ids.append(int(net(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
        if ids[-1] == tokenizer.eos_token_id:
            break
    return str(tokenizer.decode(ids[len(sample.instructed) :], skip_special_tokens=True))


if __name__ == "__main__":
    main()

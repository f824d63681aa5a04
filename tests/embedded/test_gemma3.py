"""A real model of another layout, from a package that the user installs under the Gemma terms."""

import pytest
import torch

from ivfixtures.checkpoints.resolving import CheckpointError, load, resolve
from ivfixtures.embedded.tiny.splits import load_tiny_tasks
from ivmethods.model.handles import wrap
from ivmethods.model.layouts import weights_of
from ivmethods.patching.checks import check
from ivmethods.paths.linear_maps import completeness, linear_forms
from ivmethods.paths.methods import LARGEST_INCOMPLETENESS
from ivmethods.prompts.protocols import tokenize_sample

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def gemma():
    for package in ("gguf", "accelerate"):
        pytest.importorskip(package)
    try:
        return load(resolve("gemma3-270m"))
    except CheckpointError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def samples(gemma):
    """Two of each task."""
    return [
        tokenize_sample(
            gemma.tokenizer,
            query=fact.query,
            instruction=task.rephrasings[0],
            prompt=task.prompt.format(query=fact.query),
            answer=fact.answer,
            contrast=fact.contrast,
        )
        for task in load_tiny_tasks()
        for fact in task.facts[:2]
    ]


def test_it_is_what_its_file_says(gemma):
    config = gemma.model.config
    assert config.model_type == "gemma3_text"
    assert (config.num_hidden_layers, config.hidden_size, config.vocab_size) == (18, 640, 262144)
    whole = [i for i, kind in enumerate(config.layer_types) if kind == "full_attention"]
    assert (whole, config.sliding_window) == ([5, 11, 17], 512)
    assert gemma.model.model.embed_tokens.embed_scale.item() == pytest.approx(640**0.5, rel=1e-2)


def test_it_reads_and_writes_english(gemma):
    """Wrong norms, scales or tokens would all show here."""
    text = "The Eiffel Tower is a wrought-iron lattice tower on the Champ de Mars in Paris, France."
    found = gemma.tokenizer(text, return_tensors="pt").input_ids
    assert found[0, 0] == gemma.tokenizer.bos_token_id
    assert gemma.tokenizer.decode(found[0, 1:]) == text
    with torch.no_grad():
        assert gemma.model(found, labels=found).loss < 3  # nats a token; 12.5 by chance


def test_its_activations_can_be_patched(gemma, samples):
    found = check(wrap(gemma.model, gemma.tokenizer), samples[::2], memory_budget=2**30)
    assert found.passed, found


def test_its_linear_form_is_complete(gemma, samples):
    model = wrap(gemma.model, gemma.tokenizer)
    prompts = [sample.instructed for sample in samples]
    forms = linear_forms(model, prompts, weights=weights_of(model))
    assert max(map(completeness, forms)) <= LARGEST_INCOMPLETENESS["float32"] / 10

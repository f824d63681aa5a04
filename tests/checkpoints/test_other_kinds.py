"""Models of other kinds can be subjects: what cannot be run on them is not applicable, no error."""

import json

import pytest
from transformers import BartConfig, BartForConditionalGeneration, LlamaConfig, MambaConfig

from ivfixtures.checkpoints.resolving import load, resolve
from ivmethods.model.methods import Runs
from ivmethods.patching.head_methods import PairScores
from ivmethods.patching.methods import AllLayers
from ivmethods.probes.methods import InstructionResiduals
from tests.models import text_tokenizer


@pytest.fixture(scope="module")
def encoder_decoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bart")
    tokenizer = text_tokenizer("byte")
    sides = ("encoder", "decoder")
    sizes = {f"{side}_{name}": 2 for side in sides for name in ("layers", "attention_heads")}
    sizes |= {f"{side}_ffn_dim": 24 for side in sides}
    config = BartConfig(vocab_size=len(tokenizer), d_model=16, **sizes)
    model = BartForConditionalGeneration(config)
    model.generation_config.eos_token_id = model.config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_an_encoder_decoder_is_loaded_whole(encoder_decoder):
    loaded = load(resolve(str(encoder_decoder)))
    assert isinstance(loaded.model, BartForConditionalGeneration)


def test_its_cells_are_not_applicable_and_nothing_is_measured(encoder_decoder, pytester, tasks):
    pytester.runpytest_inprocess(
        *("--pyargs", "claims", "--checkpoint", str(encoder_decoder), "--tasks", str(tasks)),
        *("--samples", "8", "-p", "no:cacheprovider", "--store", "store", "--html", "report.html"),
    )
    evidence = json.loads((pytester.path / "report.evidence.json").read_text())
    assert evidence["run"]["measured"] == 0
    decisions = {
        cell["claim"]["name"]: cell["decision"]
        for cell in evidence["cells"]
        if cell["task"] != "all" and "published" not in cell["claim"]["name"]
    }
    assert {decision["verdict"] for decision in decisions.values()} == {"not_applicable"}
    reason = "architecture=encoder-decoder, but should be decoder-only"
    assert decisions["instruction_vectors/localization"]["reason"].startswith(reason)


@pytest.mark.parametrize("method", [Runs(), AllLayers(), InstructionResiduals(()), PairScores()])
@pytest.mark.parametrize(
    "config", [BartConfig(), MambaConfig()], ids=["encoder-decoder", "state-space"]
)
def test_methods_say_that_they_cannot_be_run_on_other_kinds(method, config):
    assert "but should be decoder-only" in method.runs_on(config, False)
    assert method.runs_on(LlamaConfig(), False) is None

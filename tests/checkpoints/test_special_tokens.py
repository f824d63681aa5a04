"""Tokenizers that do not do what their configuration says, and ids that no embedding has."""

import json

import pytest
from tokenizers import processors

from ivfixtures.checkpoints import resolving as checkpoints
from ivfixtures.checkpoints.special_tokens import follow_configuration, require_embedded
from ivfixtures.data.instructed import InstructedData
from ivfixtures.data.tasks import load_tasks
from tests.models import text_tokenizer
from tests.running import OPTIONS, saved


def prepared(folder, kind="byte", **settings):
    """A folder whose tokenizer_config.json has settings that its tokenizer.json may not follow."""
    text_tokenizer(kind).save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return folder


@pytest.mark.parametrize(
    ("kind", "settings", "around"),
    [
        ("byte", {"add_bos_token": True}, (1, None)),
        ("byte", {"add_bos_token": True, "add_eos_token": True}, (1, 2)),
        ("byte_bos", {"add_bos_token": False}, (None, None)),
        ("byte_bos", {"add_eos_token": True}, (1, 2)),
        ("byte_eos", {"add_bos_token": True}, (1, 2)),
    ],
)
def test_a_tokenizer_follows_its_configuration(tmp_path, kind, settings, around):
    saved("llama", tmp_path)
    prepared(tmp_path, kind, **settings)
    checkpoint = checkpoints.resolve(str(tmp_path))
    tokenizer = checkpoints.tokenizer(checkpoint)
    bare = tokenizer("big", add_special_tokens=False)["input_ids"]
    begin, end = ([] if token is None else [token] for token in around)
    assert tokenizer("big")["input_ids"] == [*begin, *bare, *end]
    said = ", ".join(f"{name}={str(value).lower()}" for name, value in settings.items())
    assert f"its configuration: {said} (" in checkpoints.tokenizer_note(checkpoint)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [("byte", {}), ("byte", {"add_bos_token": False}), ("byte_bos", {"add_bos_token": True})],
)
def test_one_that_does_is_left_alone(tmp_path, kind, settings):
    tokenizer = text_tokenizer(kind)
    assert follow_configuration(tokenizer, prepared(tmp_path, kind, **settings)) is None


def test_what_cannot_be_followed_is_one_line(tmp_path):
    folder = prepared(tmp_path, "no_bos", add_bos_token=True)
    line = (
        r"^tokenizer configuration=add_bos_token=true, but should be what it does, or can be made "
        r"to do \[.*tokenizer_config.json\]; name the token in the file, or correct the setting$"
    )
    with pytest.raises(ValueError, match=line):
        follow_configuration(checkpoints.load_tokenizer(folder, None), folder)
    tokenizer = checkpoints.load_tokenizer(prepared(tmp_path, add_bos_token=True), None)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<pad> $A", special_tokens=[("<pad>", 0)]
    )
    with pytest.raises(ValueError, match="tokenizer configuration=add_bos_token=true"):
        follow_configuration(tokenizer, folder)


def test_ids_beyond_the_embedding_are_one_line_before_the_model_is_loaded(tmp_path, monkeypatch):
    folder = saved("llama", tmp_path)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"vocab_size": 300}))
    monkeypatch.setattr(checkpoints, "load_model", None)
    checkpoint = checkpoints.resolve(str(folder))
    data = InstructedData(checkpoint, load_tasks()["adj_ant"], OPTIONS)
    line = (
        r"^token id=3\d\d \('.+'\), but should be below 300, the rows of the embedding \[.*\]; giv"
    )
    with pytest.raises(ValueError, match=line):
        data.samples()
    with pytest.raises(ValueError, match=line):
        data.source()
    require_embedded([999], None, text_tokenizer("byte"), "here")

"""Pairs of a task's prompts as the data of a cell: what a reader is told, and what is refused."""

import pytest

from ivfixtures.data import instructed
from ivfixtures.data.paired import PairedData
from ivfixtures.plain_files import CheckpointError
from tests.measured import data_of


def paired(**changed):
    data = data_of(**changed)
    return PairedData(data.checkpoint, data.task, data.settings)


def test_a_reader_is_told_of_prompts_and_of_pairs_that_are_lacking():
    assert not any("pairs were asked for" in note for note in paired(samples=4).notes)
    many = paired(samples=1000)
    assert f"1000 pairs were asked for; there are {many.count}" in many.notes
    assert {*data_of(samples=4).prompting_notes} <= {*many.notes}
    remote = paired(samples=4, remote=True)
    assert any("NDIF" in note for note in remote.notes)


def test_tokens_without_an_embedding_are_one_line(monkeypatch):
    config = instructed.config(data_of().checkpoint)
    monkeypatch.setattr(config, "vocab_size", 5)
    with pytest.raises(CheckpointError, match="rows of the embedding"):
        paired(samples=4)

"""What is planted for localization, by plain hooks, and what the suite says of it."""

import pytest

from ivfixtures.checkpoints.registry import family
from ivfixtures.embedded.planted.localization import LAYERS, READ_IN, SUBJECTS
from tests.evidence_levels import unbacked
from tests.planted import judged
from tests.planted_patching import patched

# Which of the instruction's positions restore the answer, and whether the contrast's T_inst does.
RESTORING = {
    "planted-localization-t-inst": ({-1}, False),
    "planted-localization-alike": ({-1, -2}, False),
    "planted-localization-neighbour": ({-2}, False),
    "planted-localization-unspecific": ({-1}, True),
}


@pytest.mark.parametrize("name", SUBJECTS)
def test_answers_are_restored_from_where_the_card_says(name):
    subject = patched(name)
    positions, contrast = RESTORING[name]
    assert subject.share(subject.instructed()) == 1
    assert subject.share(subject.target()) == 0
    own, other = map(subject.residuals, (subject.instruction, subject.contrast))

    def restored(layer, vector):
        return subject.share(subject.target({layer: vector}))

    for layer in range(LAYERS):
        is_read = layer < READ_IN
        for position in range(-own.shape[1], 0):
            expected = is_read and position in positions
            assert restored(layer, own[layer, position]) == expected, (layer, position)
        assert restored(layer, other[layer, -1]) == (is_read and contrast)


@pytest.mark.slow
def test_the_suite_finds_what_is_planted(tmp_path):
    names = [checkpoint.name for checkpoint in family("planted-localization")]
    assert names == list(SUBJECTS)
    cells = judged(tmp_path, *names, claim="localization")
    assert not any(map(unbacked, cells))
    assert {(c.checkpoint, c.task): c.decision.verdict for c in cells} == {
        (names[0], "anim_color"): "supported",
        (names[0], "can_fly"): "supported",
        (names[1], "anim_color"): "inconclusive",  # its lead is exactly the threshold
        (names[2], "anim_color"): "refuted",
        (names[3], "anim_color"): "refuted",
    }

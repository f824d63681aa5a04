"""What is planted for superadditivity, by plain hooks, and what the suite says of it."""

from itertools import combinations

import pytest
import torch

from ivfixtures.checkpoints.registry import family
from ivfixtures.embedded.planted.superadditivity import LAYERS, SUBJECTS
from tests.evidence_levels import unbacked
from tests.planted import judged
from tests.planted_patching import patched

EARLY, MIDDLE = {0, 1}, {2, 3, 4}
TUPLES = [t for order in (1, 2, 3) for t in combinations(range(LAYERS - 1), order)]


def told(name, a, b, side):
    """The formula of a card."""
    return {
        "and": a & b,
        "most": 0.4 * a + 0.4 * b + 0.2 * (a & b),
        "halves": b if side else a,
        "logits": (a + b) / 2,
        "alone": a,
    }[name.rsplit("-", 1)[1]]


@pytest.mark.parametrize("name", SUBJECTS)
def test_logits_are_moved_as_the_card_says(name):
    subject = patched(name)
    assert subject.share(subject.instructed()) == 1
    own = subject.residuals(subject.instruction)[:, -1]
    unpatched = subject.logit(subject.target())
    whole = subject.logit(subject.instructed()) - unpatched
    sides = {side: [] for side in (0, 1)}
    for layers in TUPLES:
        moved = subject.logit(subject.target({i: own[i] for i in layers})) - unpatched
        a, b = (int(bool(part & {*layers})) for part in (EARLY, MIDDLE))
        for side, rows in sides.items():
            shares = torch.tensor(told(name, a, b, side)) * whole
            rows.append((moved - shares).abs() < 1e-3)
    fits = [torch.stack(rows).all(dim=0) for rows in sides.values()]
    assert (fits[0] | fits[1]).all(), "every query is moved as on one of the sides"
    assert name.endswith("halves") == (not (fits[0] & fits[1]).any())
    assert fits[0].any()
    assert fits[1].any()


@pytest.mark.parametrize(
    ("name", "early", "middle", "together"),
    [
        ("planted-superadditivity-and", 0, 0, 1),
        ("planted-superadditivity-most", 0.2, 0.2, 1),
        ("planted-superadditivity-logits", 0, 0, 1),
        ("planted-superadditivity-alone", 1, 0, 1),
    ],
)
def test_reciprocal_ranks_are_moved_as_the_card_says(name, early, middle, together):
    subject = patched(name)
    own = subject.residuals(subject.instruction)[:, -1]
    for layers, expected in (((1,), early), ((3,), middle), ((1, 3), together), ((), 0)):
        rank = subject.reciprocal_rank(subject.target({i: own[i] for i in layers}))
        torch.testing.assert_close(rank, torch.full_like(rank, expected), atol=0.01, rtol=0)


def test_the_contrast_restores_no_answer():
    subject = patched("planted-superadditivity-and")
    other = subject.residuals(subject.contrast)[:, -1]
    assert subject.share(subject.target(dict(enumerate(other)))) == 0


@pytest.mark.slow
def test_the_suite_finds_what_is_planted(tmp_path):
    names = [checkpoint.name for checkpoint in family("planted-superadditivity")]
    assert names == list(SUBJECTS)
    cells = judged(tmp_path, *names, claim="superadditivity")
    assert not any(map(unbacked, cells))
    expected = ("supported", "supported", "refuted", "refuted", "not_applicable")
    assert {(c.checkpoint, c.metric): c.decision.verdict for c in cells} == {
        (name, metric): verdict
        for name, verdict in zip(names, expected, strict=True)
        for metric in ("rr", "logit")
    }

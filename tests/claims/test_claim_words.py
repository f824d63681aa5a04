"""Claims say no more than their evidence shows: the words of titles and estimands against levels.

Quotes are the papers' own and are not looked at. A list of words cannot judge the evidence.
"""

import importlib
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import claims as packs
from claims.instruction_vectors import test_linear_separability as separability
from claims.instruction_vectors import test_localization as localization
from claims.instruction_vectors.paper import PAPER
from ivevidence import Claim, EvidenceError
from ivevidence.records.cells import LEVELS
from tests.evidence_examples import example_cell
from tests.evidence_levels import unbacked
from tests.worked_pack import worked_claim

# The stems of words that take a level, from the strongest on. After the narrow and the broad
# technical sense of "mechanistic" in Saphra & Wiegreffe 2024, arXiv:2410.09087; the list is ours,
# and their definitions were not compared word for word (UNVERIFIED).
STEMS = {
    "L3": (
        *("caus", "drive", "driving", "responsib", "carr", "mediat", "mechanis", "because"),
        *("determin", "produc", "used by", "rely on", "relies on", "circuit"),
    ),
    "L1": (
        *("encod", "represent", "contain", "correlat", "decod", "separab", "read off"),
        *("associated", "attend"),
    ),
}
RANKS = {level: max(rank - 1, 0) for rank, level in enumerate(LEVELS)}  # audit: as behaviour


def too_strong(claim):
    """The words of a claim's title and estimand that take a higher level than it declares."""
    text = f"{claim.title}. {claim.estimand}".lower()
    stems = [s for level in STEMS if RANKS[level] > RANKS[claim.level] for s in STEMS[level]]
    pattern = rf"\b(?:{'|'.join(map(re.escape, stems))})\w*" if stems else "$^"
    return re.findall(pattern, text)


def claim(title, level, estimand=""):
    direction = "sufficient" if level == "L3" else None
    return Claim("a/b", title, "p", "1", "q", estimand, "r", level=level, direction=direction)


@pytest.fixture(scope="module")
def declared():
    """The claims of all packs, and that of the documentation."""
    files = sorted(Path(packs.__file__).parent.glob("*/test_*.py"))
    names = [f"claims.{path.parent.name}.{path.stem}" for path in files]
    return [importlib.import_module(name).CLAIM for name in names] + [worked_claim()["CLAIM"]]


def test_every_claim_declares_a_level_and_says_no_more(declared):
    assert {each.name: too_strong(each) for each in declared if too_strong(each)} == {}
    assert all(each.level for each in declared)
    assert {each.level for each in declared} == LEVELS.keys()


@pytest.mark.parametrize(
    ("title", "least"),
    [
        ("Head 3 drives the answer", "L3"),
        ("The vector is carried by few layers", "L3"),
        ("The MLP is used by later heads", "L3"),
        ("It relies on a circuit and correlates with rank", "L3"),
        ("A mechanistic account", "L3"),
        ("The residual encodes the task", "L1"),
        ("Effects correlate between stages", "L1"),
        ("The checkpoint follows the instruction", "L0"),
        ("Scarring of the uncaused", "L0"),
    ],
)
def test_a_title_takes_a_level(title, least):
    for level in LEVELS:
        assert bool(too_strong(claim(title, level))) == (RANKS[level] < RANKS[least])
        assert bool(too_strong(claim("", level, title))) == (RANKS[level] < RANKS[least])


def test_a_claim_of_ours_would_say_too_much_at_a_lower_level():
    assert too_strong(replace(localization.CLAIM, level="L2")) == ["carries"]
    assert too_strong(replace(separability.CLAIM, level="L0")) == ["separable"]


@given(st.lists(st.sampled_from([s for stems in STEMS.values() for s in stems] + ["head", "of"])))
def test_the_words_are_those_that_begin_with_a_stem(words):
    """As the obvious loop has it."""
    title = "-".join(words)  # so that "read off" begins no other word
    begun = [w for w in words if any(w.startswith(s) for s in STEMS["L1"] + STEMS["L3"])]
    assert bool(too_strong(claim(title, "L0"))) == bool(begun)


def test_a_claim_of_a_paper_has_to_declare_its_level():
    with pytest.raises(TypeError, match="level"):
        PAPER.claim("x", title="", section="", quote="", estimand="", rule="")
    with pytest.raises(EvidenceError, match="level='L4', but should be one of audit, L0, L1"):
        claim("", "L4")


@pytest.mark.parametrize(
    ("level", "direction", "message"),
    [
        ("L3", None, "direction=None, but should be one of necessary, sufficient, both, as level"),
        ("L1", "both", "direction='both', but should be None, as level=L1 changes nothing inside"),
        ("audit", "necessary", "as level=audit changes nothing inside a model"),
    ],
)
def test_a_causal_claim_states_its_direction_and_no_other_does(level, direction, message):
    with pytest.raises(EvidenceError, match=message):
        replace(claim("", "L2"), level=level, direction=direction)
    assert replace(claim("", "L2"), direction="necessary").direction == "necessary"


@pytest.fixture
def backed():
    """A cell with all that the highest level takes: a quarter of its 50 samples picked."""
    cell = example_cell()
    criteria = tuple(replace(c, n=38) for c in cell.decision.criteria)
    roles = dict.fromkeys(("runs", "no-op paper", "sweep contrast paper", "controls (1,)"), "d1")
    return replace(
        cell,
        claim=claim("", "L3"),
        decision=replace(cell.decision, criteria=criteria),
        measurements=roles,
        parameters={"picking samples": list(range(12))},
    )


@pytest.mark.parametrize(
    ("roles", "lacking"),
    [
        ([], []),
        (["no-op paper"], ["a no-op"]),
        (["sweep contrast paper"], []),
        (["controls (1,)"], []),
        (["controls (1,)", "sweep contrast paper"], ["an intervention", "a matched null"]),
    ],
)
def test_a_causal_claim_is_backed_by_an_intervention_a_no_op_and_a_null(backed, roles, lacking):
    kept = {role: one for role, one in backed.measurements.items() if role not in roles}
    assert unbacked(replace(backed, measurements=kept)) == lacking


@pytest.mark.parametrize("picking", [[], list(range(13)), list(range(50))])
def test_a_causal_claim_is_judged_on_samples_that_did_not_pick(backed, picking):
    cell = replace(backed, parameters={"picking samples": picking})
    assert unbacked(cell) == ["picking apart from deciding"]


def test_lower_levels_take_less(backed):
    bare = replace(backed, measurements={}, parameters={})
    for level, lacking in (("L2", ["an intervention"]), ("L1", []), ("L0", []), ("audit", [])):
        assert unbacked(replace(bare, claim=claim("", level))) == lacking

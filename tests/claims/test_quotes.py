"""Claims quote the paper word for word; digests of what is quoted hold where the paper is not."""

import hashlib
import importlib
from pathlib import Path

import pytest

import claims.instruction_vectors as pack
from tests.worked_pack import worked_claim

ROOT = Path(__file__).parents[2]
PAPER = ROOT.parent / "shared" / "paper" / "paper.txt"
# The SHA-256 of each quoted passage, with single spaces, and its section. Whoever changes a quote
# looks the passage up in the paper.
QUOTED = {
    "instruction_vectors/active_layers": (
        "6.1",
        "b726ee5bb860fecd763c811674753839c71d229779bc52d338025810a736eefc",
    ),
    "instruction_vectors/behaviour": (
        "3",
        "997a9c74276eadd5641d10474ce254c8abc3c3bd5e48ee9b7296cdb629b7f5c5",
    ),
    "instruction_vectors/head_sharing": (
        "6.1",
        "46d450b7bfc7c319bda33f532c2861a6ece6154e4814230d279f4043852f92cb",
    ),
    "instruction_vectors/linear_separability": (
        "5.1",
        "cc08a4ddbe858dee49d85aac2c0d52594b608f4929965c300adceb781a06c323",
    ),
    "instruction_vectors/localization": (
        "5.1",
        "6883834f3d65bb2abca7f22d8fe23266fae239888206dcb0837f620c6f3a6f84",
    ),
    "instruction_vectors/published_audit": (
        "5.1, Tables 5-8",
        "db4c46574f48e6e1d22a8f3ec7b9468a14678e3d2c2be6b85805ae859cd4c325",
    ),
    "instruction_vectors/stages": (
        "5.1",
        "651a7fd7fe37e20f75acfa6b1b3160f9dbbe2cb5d767937b5d56878287eddfe3",
    ),
    "instruction_vectors/superadditivity": (
        "5.1",
        "2843af05af95f8457dd173f91a06941f9e3963c9c58758bd1c67902990bbfaef",
    ),
    "instruction_vectors/tinst_path_dominance": (
        "6.1",
        "5b044e1d0b82594f593e8dcd56c0068df20d410c5df59fd1c03f0262c88765ce",
    ),
    "my_claims/digest": ("5", "f81e66657c85327736631190bf9688b07c2d0087224a489ba28278c122d4676f"),
}


def passage(text):
    return " ".join(text.split())


@pytest.fixture(scope="module")
def quoting():
    """All claims, that of the documentation included, by name."""
    names = [path.stem for path in Path(pack.__file__).parent.glob("test_*.py")]
    found = [importlib.import_module(f"{pack.__name__}.{name}").CLAIM for name in names]
    return {claim.name: claim for claim in [*found, worked_claim()["CLAIM"]]}


def test_claims_quote_the_passages_that_were_compared_with_the_paper(quoting):
    found = {
        name: (claim.section, hashlib.sha256(passage(claim.quote).encode()).hexdigest())
        for name, claim in quoting.items()
    }
    assert found == QUOTED


@pytest.mark.skipif(not PAPER.is_file(), reason="the paper's text is not here")
@pytest.mark.parametrize("name", QUOTED)
def test_these_passages_are_in_the_paper(quoting, name):
    text = passage(PAPER.read_text(encoding="utf-8"))
    # The text has each formula twice, as it is read and as it is typeset.
    text = text.replace(r"Tinst{T}_{\text{inst}}", "T_inst")
    for part in passage(quoting[name].quote).split(" [...] "):
        assert part in text

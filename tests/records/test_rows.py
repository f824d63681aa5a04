"""Rows of claims: how many cells hold, what the sentence says, and how often that is wrong."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivevidence import Criterion, Decision, Evidence, read_evidence, write_evidence
from ivevidence.compare.merging import merge
from ivevidence.records.files import SCHEMA
from ivevidence.records.rows import claim_rows, holm, sentence_verdict
from ivevidence.report.row_text import conclusion_text, holds_text, row_lines
from tests.evidence_examples import CLAIMS, example_cell

BOUNDS = {"supported": (0.2, 0.4), "refuted": (-0.4, 0.0), "inconclusive": (0.0, 0.2)}
CLAIM = replace(CLAIMS[1], quantifier="all")


def cell(number, verdict, level=None, *, metric=None, claim=CLAIM, planted=None):
    """A cell on a task of its own."""
    criteria = ()
    if verdict in BOUNDS:
        low, high = BOUNDS[verdict]
        criteria = (Criterion("share", "", (low + high) / 2, low, high, 0.1, 50, level=level),)
    bare = replace(example_cell(claim, task=f"task{number}", metric=metric), figures=())
    return replace(bare, decision=Decision(verdict, "", criteria), planted=planted)


def cells(*levels, verdict="supported", **others):
    return [cell(k, verdict, level, **others) for k, level in enumerate(levels)]


def row(found):
    (only,) = claim_rows(found)
    return only


def ends(found):
    return row(found).least, row(found).most


def test_p_values_are_adjusted_step_by_step():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8))
def test_adjusted_p_values_keep_their_order_and_are_no_smaller(p_values):
    adjusted = holm(p_values)
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    ordered = [adjusted[k] for k in np.argsort(p_values, kind="stable")]
    assert ordered == sorted(ordered)


def test_holm_counts_the_cells_that_are_certain_together():
    assert ends(cells(0.001, 0.01, 0.02, 0.04)) == (4, 4)
    assert ends(cells(0.001, 0.02, 0.02, 0.04)) == (1, 4)
    assert ends(cells(0.001, 0.02, 0.02, 0.04, verdict="refuted")) == (0, 3)
    assert holds_text(row(cells(0.001, 0.02, 0.02, 0.04))) == "holds in 1 to 4 of 4"


def test_a_cell_without_a_level_counts_as_five_percent():
    assert ends(cells(0.001, 0.001, None)) == (3, 3)
    assert ends(cells(0.001, None, None)) == (1, 3)


def test_what_is_open_counts_on_neither_side_but_in_the_family():
    """A level on an open criterion, or beside another verdict, decides nothing."""
    found = [*cells(0.02, 0.02), *(cell(k, "inconclusive", 0.001) for k in (7, 8))]
    assert ends(found) == (0, 4)


def test_all_criteria_must_be_beyond_and_any_may_be_short():
    low, high = BOUNDS["supported"]
    both = [Criterion(name, "", 0.3, low, high, 0.1, 50, level=0.001) for name in "ab"]
    both[1] = replace(both[1], level=0.04)
    supported = replace(cell(0, "supported"), decision=Decision("supported", "", tuple(both)))
    assert ends([supported, cell(1, "inconclusive")]) == (0, 2)
    low, high = BOUNDS["refuted"]
    short = tuple(replace(c, estimate=-0.2, low=low, high=high) for c in both)
    refuted = replace(cell(0, "refuted"), decision=Decision("refuted", "", short))
    assert ends([refuted, cell(1, "inconclusive")]) == (0, 1)


@pytest.mark.parametrize(
    ("verdicts", "joined", "counted"),
    [
        (("supported", "supported"), (1, 0), (1, 1)),
        (("supported", "inconclusive"), (0, 0), (0, 1)),
        (("supported", "refuted"), (0, 1), (0, 0)),
        (("not_applicable", "refuted"), (0, 1), (0, 0)),
        (("not_applicable", "supported"), (0, 0), (0, 0)),
    ],
)
def test_metrics_of_one_question_are_joined(verdicts, joined, counted):
    found = [cell(0, v, 0.01, metric=m) for v, m in zip(verdicts, ("rr", "logit"), strict=True)]
    assert (row(found).supported, row(found).refuted) == joined
    assert ends(found) == counted


def test_a_refutation_in_one_of_two_metrics_takes_twice_the_evidence():
    for level, most in ((0.02, 0), (0.03, 1)):
        found = [cell(0, "refuted", level, metric="rr"), cell(0, "inconclusive", metric="logit")]
        assert ends(found) == (0, most)


def test_metrics_that_are_questions_of_their_own_have_their_own_rows():
    claim = replace(CLAIM, by_metric=True)
    found = [cell(0, "refuted", metric=m, claim=claim) for m in ("rr", "logit")]
    assert [each.name for each in claim_rows(found)] == [
        f"{CLAIM.name}, {m}" for m in ("rr", "logit")
    ]


def test_planted_cells_are_controls_and_stand_beside():
    own = cells(0.001, 0.001)
    planted = [
        cell(10, "supported", 0.001, planted="holds"),
        cell(11, "inconclusive", planted="holds"),
        cell(12, "refuted", 0.001, planted="fails"),
        cell(13, "refuted", 0.001, planted="unknown"),
    ]
    found = row([*own, *planted])
    assert (found.least, found.most, found.applicable, found.verdict) == (2, 2, 2, "supported")
    said = "planted ones: 1 of 2 true, 0 of 1 look-alikes, 1 left out"
    assert said in conclusion_text(found)
    alone = row(planted)
    assert (alone.applicable, alone.verdict) == (0, None)
    assert holds_text(alone) == "planted cells only"


def test_a_claim_that_most_cells_do_not_meet_is_not_applicable():
    own = cells(0.001, 0.001)
    absent = [cell(k, "not_applicable") for k in (10, 11, 12)]
    assert row(own + absent[:2]).verdict == "supported"
    found = row(own + absent)
    assert (found.verdict, found.applicable, found.not_applicable) == ("not_applicable", 2, 3)
    assert "2 of 5 cells apply" in conclusion_text(found)


def test_the_cell_about_all_others_is_not_one_of_them():
    whole = replace(cell(0, "refuted"), stage="all", task="all")
    assert row([whole, *cells(0.001)]).applicable == 1


@given(st.sampled_from(["all", "most", "exists"]), st.integers(1, 9), st.data())
def test_a_sentence_has_the_verdict_that_every_number_between_the_ends_has(said, cells, data):
    least = data.draw(st.integers(0, cells))
    most = data.draw(st.integers(least, cells))
    is_true = {
        "all": lambda number: number == cells,
        "most": lambda number: number > cells / 2,
        "exists": lambda number: number > 0,
    }[said]
    truths = {is_true(number) for number in range(least, most + 1)}
    verdict = {(True,): "supported", (False,): "refuted"}.get(tuple(truths), "inconclusive")
    assert sentence_verdict(said, least, most, cells) == verdict


def test_without_a_quantifier_nothing_is_said_of_the_sentence():
    found = row(cells(0.001, claim=replace(CLAIM, quantifier=None)))
    assert (found.least, found.verdict) == (1, None)


def test_rows_are_written_read_off_the_cells_and_never_trusted(tmp_path):
    path, found = tmp_path / "x.evidence.json", cells(0.001, 0.02, 0.02, 0.04)
    write_evidence(path, found)
    assert '"least": 1, "most": 4' in path.read_text()
    assert read_evidence(path).rows == claim_rows(found)
    lie = replace(row(found), least=4, verdict="supported")
    assert Evidence(SCHEMA, cells=found, rows=[lie]).rows == claim_rows(found)


def test_rows_of_shards_are_those_of_the_whole_run():
    found = cells(0.02, 0.02, 0.04)
    shards = {
        name: Evidence(SCHEMA, cells=part)
        for name, part in {"a": found[:1], "b": found[1:]}.items()
    }
    assert [row.least for row in shards["a"].rows] == [1]
    assert merge(shards).rows == claim_rows(found)
    assert row(found).least == 0


def test_lines_are_aligned():
    first, second = cells(0.001), cells(0.001, claim=replace(CLAIMS[0], quantifier="most"))
    lines = row_lines(claim_rows(first + second), indent=2)
    assert lines == [
        "  instruction_vectors/superadditivity  holds in 1 of 1  1 supported  "
        "| in all cells: ✓ supported; certain in every cell",
        "  instruction_vectors/localization     holds in 1 of 1  1 supported  "
        "| in most cells: ✓ supported; certain in more than half",
    ]


def test_rows_of_several_packs_stand_under_the_title_of_their_paper():
    """In the order of the cells, the rows of one paper together."""
    names = ("a/one", "second/two", "a/three")
    papers = {"a": "First Paper, arXiv:1", "second": "Second\x1b[31m Paper, arXiv:2"}
    claims = [replace(CLAIM, name=name, paper=papers[name.partition("/")[0]]) for name in names]
    found = claim_rows(replace(cell(0, "supported", 0.001), claim=claim) for claim in claims)
    lines = row_lines(found, indent=2)
    assert [line.partition("  holds")[0].rstrip() for line in lines] == [
        "  First Paper, arXiv:1",
        "    a/one",
        "    a/three",
        "  Second␛[31m Paper, arXiv:2",
        "    second/two",
    ]
    assert len({line.index("holds") for line in lines if "holds" in line}) == 1
    assert [line.split()[0] for line in row_lines(found[::2])] == ["a/one", "a/three"]

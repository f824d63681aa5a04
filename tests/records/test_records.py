import json
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ivevidence import (
    CellError,
    CellRecord,
    Claim,
    Criterion,
    Decision,
    Drift,
    Evidence,
    EvidenceError,
    Expectation,
    Figure,
    Prompt,
    Table,
    read_evidence,
    write_evidence,
)
from ivevidence.figures.data import SIDES
from ivevidence.records import files as evidence_file
from tests.evidence_examples import ERRORS, RUN, example_cell, example_cells

texts = st.text(max_size=8)
numbers = st.floats(allow_nan=True, allow_infinity=True)
finite = st.floats(allow_nan=False, allow_infinity=False)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def criteria(draw: st.DrawFn) -> Criterion:
    low, high = sorted(draw(st.tuples(finite, finite)))
    p_value = draw(st.none() | st.floats(0, 1))
    count, side = draw(st.integers(0, 10**6)), draw(st.sampled_from(SIDES))
    threshold = draw(st.floats(0, 1e9, exclude_min=True) if side == "within" else finite)
    name, text = draw(texts), draw(texts)
    return Criterion(name, text, draw(numbers), low, high, threshold, count, p_value, side=side)


@st.composite
def prompts(draw: st.DrawFn) -> Prompt:
    tokens = draw(st.lists(texts, min_size=1, max_size=4))
    marks = draw(st.dictionaries(st.integers(0, len(tokens) - 1), texts))
    return Prompt(draw(texts), tuple(tokens), marks, draw(texts), draw(texts))


@st.composite
def tables(draw: st.DrawFn) -> Table:
    columns = draw(st.lists(texts, max_size=3))
    entry = texts | st.integers() | numbers | st.none()
    row = st.lists(entry, min_size=len(columns), max_size=len(columns)).map(tuple)
    return Table(draw(texts), tuple(columns), tuple(draw(st.lists(row, max_size=2))))


@st.composite
def decisions(draw: st.DrawFn) -> Decision:
    found = draw(st.lists(criteria(), max_size=2))
    outcomes = {criterion.outcome for criterion in found}
    verdicts = ["inconclusive", "not_applicable"]
    verdicts += ["supported"] * (outcomes <= {"beyond"})
    verdicts += ["refuted"] * (not outcomes or "short" in outcomes)
    needed = draw(st.none() | st.integers(0, 10**6))
    return Decision(draw(st.sampled_from(verdicts)), draw(texts), found, needed, draw(texts))


cells = st.builds(
    CellRecord,
    claim=st.builds(
        Claim,
        *[texts] * 7,
        thresholds=st.dictionaries(texts, finite, max_size=2),
        level=st.none() | st.sampled_from(["audit", "L0", "L1", "L2"]),
    ),
    checkpoint=texts,
    family=st.none() | texts,
    stage=texts,
    task=texts,
    metric=st.none() | texts,
    decision=decisions(),
    figures=st.just(example_cell().figures),
    tables=st.lists(tables(), max_size=2),
    prompts=st.lists(prompts(), max_size=2),
    controls=st.lists(tables(), max_size=1),
    notes=st.lists(texts, max_size=2),
    measurements=st.dictionaries(texts, texts, max_size=2),
    samples=st.just(["a", "b"]),
    per_sample=st.dictionaries(
        texts, st.lists(numbers | st.none(), min_size=2, max_size=2), max_size=2
    ),
    parameters=st.dictionaries(texts, plain, max_size=2),
    provenance=st.dictionaries(texts, plain, max_size=2),
    command=texts,
)


@given(cells)
def test_a_record_survives_json(cell):
    text = json.dumps(cell.to_json(), allow_nan=False)
    assert CellRecord.from_json(json.loads(text)) == cell


@given(st.text())
@example(" /[]%?#&<>\"'\n")
def test_cell_ids_are_safe_in_files_and_links(name):
    cell = replace(example_cell(), checkpoint=name, task=name, metric=name)
    left, inside = cell.cell_id.removesuffix("]").split("[")
    allowed = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
    assert set(left) <= allowed | {"/"}  # between the pack and the claim
    assert set(inside) <= allowed


def test_names_that_differ_only_in_replaced_characters_are_different_cells():
    ids = {replace(example_cell(), checkpoint=name).cell_id for name in ("a b", "a?b", "a_b")}
    assert len(ids) == 3


def test_cell_id_keeps_hub_names_readable():
    cell = replace(example_cell(), checkpoint="allenai/OLMo-2-0425-1B", metric="rr")
    assert cell.cell_id == "instruction_vectors/localization[allenai_OLMo-2-0425-1B-adj_comp-rr]"


@pytest.mark.parametrize(
    ("low", "high", "p_value", "outcome", "margin"),
    [
        (0.2, 0.4, None, "beyond", 0.1),
        (0.2, 0.4, 0.01, "beyond", 0.1),
        (0.2, 0.4, 0.05, "open", 0.1),
        (0.0, 0.05, 0.9, "short", -0.05),
        (0.05, 0.3, 0.001, "open", None),
        (0.1, 0.3, None, "open", None),
        (None, 0.05, None, "short", -0.05),
        (None, 0.4, None, "open", None),
        (0.2, None, None, "beyond", 0.1),
        (None, None, 0.001, "open", None),
    ],
)
def test_outcome_needs_the_whole_interval_and_the_test(low, high, p_value, outcome, margin):
    criterion = Criterion("c", "", 0.2, low, high, 0.1, 50, p_value)
    assert criterion.outcome == outcome
    assert criterion.margin == pytest.approx(margin)


@pytest.mark.parametrize(
    ("p_value", "message"),
    [
        (float("nan"), "p_value=nan, but should be finite"),
        (np.float32("nan"), "p_value=nan, but should be finite"),
        (-0.1, "p_value=-0.1, but should be at least 0"),
        (1.1, "p_value=1.1, but should be at most 1"),
    ],
)
def test_an_undefined_p_value_is_refused_not_dropped(p_value, message):
    with pytest.raises(EvidenceError, match=message):
        Criterion("c", "", 0.2, 0.2, 0.3, 0.1, 50, p_value)


def test_evidence_from_before_there_were_sides_and_levels_is_read_as_it_was():
    cell = replace(example_cell(), figures=())
    data = {"schema": 3, "cells": [cell.to_json()]}
    for criterion in data["cells"][0]["decision"]["criteria"]:
        del criterion["side"]
    for name in ("level", "direction"):
        del data["cells"][0]["claim"][name]
    assert Evidence.from_json(data).cells == (cell,)


def test_numpy_values_and_undefined_numbers_become_plain():
    criterion = Criterion("c", "", np.float32(0.5), -np.inf, np.float64(1), 0, np.int64(7))
    assert (criterion.estimate, criterion.low, criterion.high, criterion.n) == (0.5, None, 1.0, 7)
    assert all(
        type(criterion.to_json()[f.name]) in (str, float, int, type(None))
        for f in fields(criterion)
    )


SHORT, OPEN, BEYOND = (
    Criterion("c", "", 0.5, 0.4, 0.6, threshold, 50) for threshold in (0.7, 0.5, 0.3)
)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Decision("maybe", ""), "verdict='maybe', but should be one of supported"),
        (lambda: Figure("pie", "", "", {}), "kind='pie', but should be one of matrix"),
        (lambda: Figure("matrix", "", "", {"unit": ""}), "data.rows=None, but should be given"),
        (lambda: Table("t", ("a",), ((1, 2),)), r"rows\[0\]=\[1, 2\], but should be 1 entries"),
        (lambda: Table("t", ("a",), ((True,),)), r"rows\[0\]\[0\]=True, but should be a text, a n"),
        (lambda: Prompt("p", ("a",), {1: "T_inst"}, "", ""), "marks=1, but should be a position"),
        (lambda: Criterion("c", "", 1, 2, 1, 0, 5), "low=2.0, but should be at most high=1.0"),
        (lambda: Criterion("c", "", "1", 0, 1, 0, 5), "estimate='1', but should be a number"),
        (lambda: Expectation("yes"), "verdict='yes', but should be one of supported"),
        (
            lambda: replace(example_cell(), samples=["a"]),
            r"values of per_sample\['effect'\]=50, but should be as many as .* \(1\)",
        ),
        (
            lambda: Decision("supported", "", (SHORT,)),
            "supported verdict='c short', but should be wi",
        ),
        (lambda: Decision("supported", "", (BEYOND, SHORT)), "'c beyond, c short', but should be"),
        (lambda: Decision("supported", "", (OPEN,)), "with every criterion beyond its threshold"),
        (lambda: Decision("refuted", "", (BEYOND, OPEN)), "with a criterion short of its thresho"),
        (lambda: Decision("inconclusive", "", (), -1), "samples_to_decide=-1, but should be at l"),
        (lambda: replace(SHORT, n=-1), r"n=-1, but should be at least 0 \[Criterion\]"),
        (lambda: Expectation("refuted", n=-1), r"n=-1, but should be at least 0 \[Expectation\]"),
        (
            lambda: Drift("d", 0, None, None, 1, (2, -1), True),
            r"n\[1\]=-1, but should .* \[Drift\]",
        ),
        (
            lambda: Evidence(3, cells=(example_cell(), example_cell())),
            r"localization\[tiny-olmo2-planted-sft-adj_comp\]=2, but should be one \[Evid",
        ),
        (lambda: CellError("c", 3), "message=3, but should be a text"),
        (lambda: CellError("c", b"m"), "message=b'm', but should be a text"),
        (lambda: replace(SHORT, n=True), "n=True, but should be a whole number"),
        (lambda: replace(SHORT, n=5.0), "n=5.0, but should be a whole number"),
        (lambda: Expectation("refuted", n=np.nan), "n=nan, but should be a whole number"),
        (lambda: replace(example_cell(), notes={"a"}), r"notes=\{'a'\}, but should be a list"),
        (lambda: replace(example_cell(), parameters={"x": object()}), r"parameters.*plain JSON"),
    ],
)
def test_a_wrong_field_is_refused_by_name_when_built(build, message):
    with pytest.raises(EvidenceError, match=message):
        build()


@pytest.mark.parametrize(
    ("values", "named"), [(["c"], {}), (["c", "m", "more"], {}), (["c", "m"], {"cell": "d"})]
)
def test_a_record_is_built_from_one_value_a_field(values, named):
    with pytest.raises(TypeError):
        CellError(*values, **named)


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "evidence.json"
    write_evidence(path, example_cells()[:3], errors=ERRORS, run=RUN)
    return path


def test_an_evidence_file_is_read_as_it_was_written(written):
    evidence = read_evidence(written)
    assert list(evidence.cells) == example_cells()[:3]
    assert evidence.errors == ERRORS
    assert evidence.run == RUN


def _change(data, path, value):
    *way, last = path
    for step in way:
        data = data[step]
    data[last] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["schema"], 2, "schema=2, but should be 3"),
        (["cells", 1, "decision", "verdict"], "yes", r"cells\[1\].decision.verdict='yes'"),
        (["cells", 0, "claim", "quote"], None, r"cells\[0\].claim.quote=None"),
        (["cells", 0, "claim", "extra"], 1, r"cells\[0\].claim.extra=1, but should be no field"),
        (["cells", 0, "per_sample", "effect"], [1, "a"], r"per_sample.effect\[1\]='a'"),
        (
            ["cells", 2, "decision"],
            Decision("supported", "").to_json() | {"criteria": [SHORT.to_json()]},
            r"cells\[2\]\.decision.*supported verdict='c short', but should be with every crit",
        ),
        (
            ["run", "deep"],
            json.loads("[" * 400 + "]" * 400),
            "nesting='over 64 levels', but should",
        ),
        (["errors"], {}, r"errors=\{\}, but should be a list"),
        (
            ["errors"],
            [[[]], {}],
            r"errors\[0\]=\[\[\]\], but should be a mapping with the fields of",
        ),
        (["cells", 0, "notes"], [1] * 2000, r"notes\[0\]=1, but should be a text"),
        (["cells", 0, "measurements"], dict.fromkeys(map(str, range(2000)), 1), "fields=2000, but"),
    ],
)
def test_a_wrong_file_is_refused_naming_field_and_file(written, path, value, message):
    data = json.loads(written.read_text())
    _change(data, path, value)
    del data["sha256"]
    written.write_bytes(evidence_file._sealed(json.dumps(data).encode()[:-1]))
    with pytest.raises(EvidenceError, match=message) as refusal:
        read_evidence(written)
    assert f"[{written}]; " in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\xfe", b'{"schema": NaN}', b'{"a": 1}', b"[" * 100_000]
)
def test_a_damaged_file_is_refused_naming_the_file(tmp_path, content):
    path = tmp_path / "evidence.json"
    path.write_bytes(content)
    with pytest.raises(EvidenceError, match=r"evidence\.json"):
        read_evidence(path)


def test_a_truncated_file_is_refused_at_every_length(written):
    content = written.read_bytes()
    for length in range(0, len(content) - 2, 997):
        written.write_bytes(content[:length])
        with pytest.raises(EvidenceError):
            read_evidence(written)


def test_every_changed_byte_is_noticed(written):
    content = bytearray(written.read_bytes())
    for place in range(0, len(content), 499):
        changed = bytearray(content)
        changed[place] ^= 1
        written.write_bytes(changed)
        with pytest.raises(EvidenceError):
            read_evidence(written)


def test_a_changed_digit_is_good_json_and_refused_all_the_same(written):
    written.write_text(written.read_text().replace('"seed": 0', '"seed": 1', 1))
    with pytest.raises(EvidenceError, match=r"sha256=.*the file is damaged"):
        read_evidence(written)


def test_a_file_over_the_limit_or_no_file_at_all_is_refused(written, monkeypatch):
    monkeypatch.setattr("ivevidence.records.files.SIZE_LIMIT", 100)
    with pytest.raises(EvidenceError, match="at most 100 bytes"):
        read_evidence(written)
    with pytest.raises(FileNotFoundError):
        read_evidence(written.with_name("other.json"))


def test_a_failed_write_leaves_the_old_file(written, monkeypatch):
    before = written.read_bytes()
    monkeypatch.setattr("os.fsync", _full_disk)
    with pytest.raises(OSError, match="No space"):
        write_evidence(written, [])
    assert written.read_bytes() == before
    assert [path.name for path in written.parent.iterdir()] == [written.name]


def _full_disk(*_):
    raise OSError(28, "No space left on device")

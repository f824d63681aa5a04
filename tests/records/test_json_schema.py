"""The JSON Schemas in docs/ say what the files of a run hold, no less and no more."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from hypothesis import example, given, settings

from ivevidence import (
    Comparison,
    Drift,
    EvidenceError,
    Expectation,
    digest_json,
    read_evidence,
    write_evidence,
)
from ivevidence.compare.expectations import expect, read_expectations, write_expectations
from ivevidence.figures.data import FIGURE_DATA
from ivevidence.records.schema import KINDS, schema_of, write_schemas
from tests.evidence_examples import ERRORS, RUN, example_cell, example_cells
from tests.figure_examples import EXAMPLES
from tests.records.test_records import cells

DOCS = Path(__file__).parents[2] / "docs"
COMPARISON = Comparison(
    "baseline.json",
    Expectation("refuted", "share", 0.1, None, 0.2, 50, "3f" * 32),
    "other",
    (Drift("effect", 0.2, None, None, 0.5, (3, 3), True),),
    ("effect",),
)


@pytest.fixture(scope="module")
def of_evidence():
    return jsonschema.Draft202012Validator(schema_of("evidence"))


@pytest.fixture(scope="module")
def of_expectations():
    return jsonschema.Draft202012Validator(schema_of("expectations"))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What is in an evidence file with every kind of figure, and in its file of expectations."""
    folder = tmp_path_factory.mktemp("written")
    found = example_cells()[:7]
    found.append(replace(example_cell(), figures=EXAMPLES, comparison=COMPARISON))
    write_evidence(folder / "evidence.json", found, errors=ERRORS, run=RUN)
    known = expect(
        found, written_by="0.1.0", options={"samples": 100}, tasks={"adj_ant": digest_json({})}
    )
    write_expectations(folder / "expected.json", known)
    assert read_evidence(folder / "evidence.json").cells == tuple(found)
    assert read_expectations(folder / "expected.json") == known
    return {
        "evidence": json.loads((folder / "evidence.json").read_bytes()),
        "expectations": json.loads((folder / "expected.json").read_bytes()),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_in_the_documentation_is_the_one_of_the_records(kind, tmp_path):
    write_schemas(tmp_path)
    name = f"{kind}.schema.json"
    advice = "write it again: python -m ivevidence.records.schema docs"
    assert (DOCS / name).read_bytes() == (tmp_path / name).read_bytes(), advice


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_is_one_and_explains_every_record(kind):
    schema = schema_of(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    for part in [schema, *schema["$defs"].values()]:
        assert part["title"]
        assert part["description"].endswith(".")


def test_a_schema_of_something_else_is_refused():
    with pytest.raises(EvidenceError, match="kind='report', but should be one of evidence, exp"):
        schema_of("report")


def test_what_is_written_has_the_schema(written, of_evidence, of_expectations):
    of_evidence.validate(written["evidence"])
    of_expectations.validate(written["expectations"])
    kinds = {f["kind"] for cell in written["evidence"]["cells"] for f in cell["figures"]}
    assert kinds == set(FIGURE_DATA)


@given(cells)
@example(replace(example_cell(), comparison=COMPARISON))
@settings(max_examples=50)
def test_every_record_has_the_schema(of_evidence, cell):
    data = {"schema": 3, "cells": [cell.to_json()], "sha256": "0" * 64}
    of_evidence.validate(json.loads(json.dumps(data)))


@given(cells)
@settings(max_examples=50)
def test_expectations_of_every_record_have_the_schema(of_expectations, cell):
    of_expectations.validate(expect([cell]).to_json())


GONE = object()


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("evidence", ["sha256"], GONE),
        ("evidence", ["sha256"], "A" * 64),
        ("evidence", ["schema"], GONE),
        ("evidence", ["schema"], 1),
        ("evidence", ["extra"], 1),
        ("evidence", ["errors", 0, "message"], GONE),
        ("evidence", ["cells"], {}),
        ("evidence", ["cells", 0, "claim"], GONE),
        ("evidence", ["cells", 0, "claim", "quote"], None),
        ("evidence", ["cells", 0, "claim", "extra"], 1),
        ("evidence", ["cells", 0, "claim", "thresholds", "new"], "0.1"),
        ("evidence", ["cells", 0, "checkpoint"], 1),
        ("evidence", ["cells", 0, "decision", "verdict"], "yes"),
        ("evidence", ["cells", 0, "decision", "samples_to_decide"], 0.5),
        ("evidence", ["cells", 0, "per_sample", "effect", 1], "a"),
        ("evidence", ["cells", 0, "tables", 0, "rows", 0, 1], True),
        ("evidence", ["cells", 0, "prompts", 0, "marks", "-1"], "T_inst"),
        ("evidence", ["cells", 6, "decision", "criteria", 0, "p_value"], 1.5),
        ("evidence", ["cells", 6, "decision", "criteria", 0, "threshold"], None),
        ("evidence", ["cells", 7, "figures", 0, "kind"], "pie"),
        ("evidence", ["cells", 7, "figures", 0, "kind"], "bars"),
        ("evidence", ["cells", 7, "figures", 0, "data", "extra"], 1),
        ("evidence", ["cells", 7, "figures", 0, "data", "panels"], GONE),
        ("evidence", ["cells", 7, "figures", 0, "data", "rows", 0], 1),
        ("evidence", ["cells", 7, "figures", 4, "data", "classes", 0, "points", 0], [1.0]),
        ("evidence", ["cells", 7, "figures", 4, "data", "classes", 0, "points", 0], [1.0] * 3),
        ("evidence", ["cells", 7, "comparison", "drifts", 0, "n"], [3]),
        ("evidence", ["cells", 7, "comparison", "expectation", "verdict"], "yes"),
        ("expectations", ["schema"], 1),
        ("expectations", ["extra"], 1),
        ("expectations", ["tasks", "adj_ant"], 1),
        (
            "expectations",
            ["cells", "tiny-olmo2-base", "instruction_vectors/localization[adj_ant]"],
            "refuted",
        ),
        (
            "expectations",
            ["cells", "tiny-olmo2-base", "instruction_vectors/localization[adj_ant]", "verdict"],
            GONE,
        ),
        (
            "expectations",
            ["cells", "tiny-olmo2-base", "instruction_vectors/localization[adj_ant]", "verdict"],
            "yes",
        ),
        (
            "expectations",
            ["cells", "tiny-olmo2-base", "instruction_vectors/localization[adj_ant]", "n"],
            "50",
        ),
        (
            "expectations",
            ["cells", "tiny-olmo2-base", "instruction_vectors/localization[adj_ant]", "extra"],
            1,
        ),
    ],
)
def test_what_is_damaged_has_not_the_schema_nor_is_it_read(kind, path, value, written, request):
    damaged = copy.deepcopy(written[kind])
    *way, last = path
    part = damaged
    for step in way:
        part = part[step]
    if value is GONE:
        del part[last]
    else:
        part[last] = value
    assert not request.getfixturevalue(f"of_{kind}").is_valid(damaged)
    if "sha256" not in path:
        damaged.pop("sha256", None)
        with pytest.raises(EvidenceError):
            KINDS[kind].from_json(damaged)

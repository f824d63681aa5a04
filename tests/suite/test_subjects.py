"""What the cells of a claim are about: checkpoints, pairs of tasks, families, published numbers."""

from functools import partial
from types import SimpleNamespace

import pytest

from claims.instruction_vectors.published.cell import PublishedTables
from ivevidence import read_evidence
from ivfixtures.checkpoints.resolving import (
    Checkpoint,
    CheckpointError,
    family,
    planted_families,
    resolve,
)
from ivfixtures.data.settings import Settings
from ivfixtures.suite.options import _chosen
from ivfixtures.suite.subjects import measured_subjects


def task(name, contrast=None):
    return SimpleNamespace(name=name, contrast=contrast)


A, B, C, D = (task(*pair) for pair in (("a", "c"), ("b", None), ("c", "a"), ("d", "d")))
BASE, SFT = (Checkpoint(f"m-{stage}", f"/m/{stage}", stage, "m") for stage in ("base", "sft"))
OTHER = Checkpoint("org/other", "org/other", "unknown", None)


def options_of(**fields):
    """Options as far as subjects look at them."""
    options = SimpleNamespace(**fields)
    options.tasks_of = partial(Settings.tasks_of, options)
    return options


OPTIONS = options_of(
    checkpoints=(BASE, SFT, OTHER),
    families={"m": (BASE, SFT), "org/other": (OTHER,)},
    tasks={one.name: one for one in (A, B, C)},
)


def test_a_cell_for_every_checkpoint_task_and_metric():
    found = measured_subjects("claim", "checkpoint", ("rr", "logit"), OPTIONS)
    assert [(s.name, s.task, s.metric) for s in found] == [
        (c.name, t, m) for c in OPTIONS.checkpoints for t in "abc" for m in ("rr", "logit")
    ]
    assert all((s.checkpoints, len(s.tasks)) == ((c,), 1) for s in found for c in s.checkpoints)
    assert found[0].selection == ("--checkpoint", "m-base")
    assert len({s.id for s in found}) == len(found)
    assert found[-1].id.endswith("-c-logit")


def test_a_pair_of_tasks_is_judged_once():
    found = measured_subjects("claim", "pair", (None,), OPTIONS)
    assert [(s.name, s.task, s.metric) for s in found] == [
        (c.name, "a/c", None) for c in OPTIONS.checkpoints
    ]
    assert found[0].tasks == (A, C)


def test_a_family_is_one_cell_and_a_checkpoint_alone_is_a_family_of_its_own():
    found = measured_subjects("claim", "family", (None,), OPTIONS)
    assert [(s.name, s.family, s.stage, s.task) for s in found] == [
        *(("m", "m", "base, sft", t) for t in "abc"),
        *(("org/other", None, "unknown", t) for t in "abc"),
    ]
    assert found[0].checkpoints == (BASE, SFT)
    assert found[0].selection == ("--checkpoint", "m-base", "--checkpoint", "m-sft")
    assert found[0].group == SFT.label
    assert found[-1].id == "org--other-c"


def test_published_numbers_make_a_cell_for_all_and_one_a_column():
    whole, *columns = PublishedTables().subjects("claim", (None,), OPTIONS)
    assert (whole.model, whole.checkpoints, whole.task) == (None, (), "all")
    assert len(columns) == 48
    assert len({(s.model, s.task) for s in columns}) == 48
    assert all(s.name == s.model.name and not s.checkpoints for s in columns)


TINY, PLANTED = family("tiny-olmo2"), family("tiny-olmo2-planted")
MADE = {name: family(name) for name in planted_families()}


@pytest.mark.parametrize(
    ("names", "families", "expected"),
    [
        ([], [], {"tiny-olmo2": TINY, "tiny-olmo2-planted": PLANTED, **MADE}),
        ([], ["tiny-olmo2"], {"tiny-olmo2": TINY}),
        (["tiny-olmo2-sft"], ["tiny-olmo2"], {"tiny-olmo2": TINY}),
        (["tiny-olmo2-sft", "tiny-olmo2-dpo"], ["tiny-olmo2"], {"tiny-olmo2": TINY}),
        (["tiny-olmo2-sft"], [], {"tiny-olmo2-sft": TINY[1:2]}),
        (["tiny-olmo2-dpo", "tiny-olmo2-sft"], [], {"tiny-olmo2": TINY[1:]}),
        ([c.name for c in PLANTED], [], {"tiny-olmo2-planted": PLANTED}),
        (["org/x", "org/y"], [], {"org/x": (resolve("org/x"),), "org/y": (resolve("org/y"),)}),
    ],
)
def test_checkpoints_named_singly_make_the_families_they_belong_to(names, families, expected):
    checkpoints, found = _chosen(names, families)
    assert found == expected
    members = [checkpoint for group in expected.values() for checkpoint in group]
    assert {*checkpoints} == {*members}
    assert len(checkpoints) == len({*checkpoints})


def test_an_unknown_family_is_one_line():
    with pytest.raises(CheckpointError, match="family='olmo'"):
        _chosen([], ["olmo"])


CLAIMS = """
from dataclasses import dataclass
from typing import ClassVar

from ivevidence import Decision
from ivfixtures.suite.claims import claim
from ivfixtures.suite.kinds import Instructed
from ivfixtures.suite.papers import Paper
from ivmethods.method import Array, Method
from ivmethods.model.methods import Behaviour

PAPER = Paper("made_up", "a paper", "0000.00000")

@dataclass(frozen=True)
class Number(Method):
    value: int

    name: ClassVar = "number"
    forms: ClassVar = {"value": Array("int64", "")}
    runs_model: ClassVar = False

    def compute(self, inputs, running):
        import numpy as np
        return {"value": np.int64(self.value)}, {}

    def read(self, result):
        return int(result.arrays["value"])

def made_up(name):
    texts = {"title": name, "section": "1", "quote": "so it is", "estimand": "what", "rule": "how"}
    return PAPER.claim(name, level="L0", **texts)

def named(data, settings):
    return {"samples": Number(data.count), "none": None}

@claim(made_up("of-families"), on=Instructed("family"), needs={"one": Number(1), "named": named})
def test_families(cell, one, named):
    parts = [part.checkpoint.name for part in cell.parts]
    cell.conclude(Decision("supported", f"{parts} {one} {named}"))

@claim(made_up("of-pairs"), on=Instructed("pair"), metrics=("logit",), needs={"both": Number(1)})
def test_pairs(cell, both):
    parts = [part.name for part in cell.parts]
    cell.conclude(Decision("supported", f"{parts} {cell.metric} {both}"))

@claim(made_up("plain"), on=Instructed(), needs={"one": Number(1), "other": Number(2)})
def test_plain(cell, one, other):
    cell.conclude(Decision("supported", f"{one} {other}"))
"""


def test_cells_of_several_checkpoints_or_tasks_have_a_part_for_each(pytester):
    path = pytester.makepyfile(test_made_up=CLAIMS)
    pytester.runpytest_inprocess(
        *("--pyargs", "claims.instruction_vectors.test_localization", str(path)),
        *("-k", "families or pairs or plain and sft-adj_ant"),
        *("--checkpoint", "tiny-olmo2-sft", "--checkpoint", "tiny-olmo2-dpo", "--samples", "4"),
        *("-p", "no:cacheprovider"),
    ).assert_outcomes(passed=4 + 4 + 1, deselected=7 + 8)
    evidence = read_evidence(pytester.path / "reports" / "claims.evidence.json")
    families, pairs, plain = evidence.cells[:4], evidence.cells[4:8], evidence.cells[8]
    assert [cell.task for cell in families] == ["adj_comp", "adj_ant", "anim_color", "can_fly"]
    assert {cell.checkpoint for cell in families} == {"tiny-olmo2"}
    assert {cell.stage for cell in families} == {"sft, dpo"}
    first = families[0]
    several = "({'samples': 4, 'none': None}, {'samples': 4, 'none': None})"
    assert first.decision.reason == f"['tiny-olmo2-sft', 'tiny-olmo2-dpo'] (1, 1) {several}"
    assert "weights tiny-olmo2-dpo" in first.provenance
    roles = [role.partition(": ") for role in first.measurements]
    assert {of for of, *_ in roles} == {"tiny-olmo2-sft, adj_comp", "tiny-olmo2-dpo, adj_comp"}
    numbers = {digest for role, digest in first.measurements.items() if "number" in role}
    assert {role.split()[0] for *_, role in roles} == {"behaviour", "number"}
    assert len(numbers) == 4
    assert [table.title for table in first.tables] == [
        "tiny-olmo2-sft, adj_comp: Behaviour",
        "tiny-olmo2-dpo, adj_comp: Behaviour",
    ]
    assert "--checkpoint tiny-olmo2-sft --checkpoint tiny-olmo2-dpo" in first.command
    assert [(cell.checkpoint, cell.task, cell.metric) for cell in pairs] == [
        (f"tiny-olmo2-{stage}", task, "logit")
        for stage in ("sft", "dpo")
        for task in ("adj_comp/adj_ant", "anim_color/can_fly")
    ]
    assert pairs[0].decision.reason == "['adj_comp', 'adj_ant'] logit (1, 1)"
    assert plain.decision.reason == "1 2"
    # Measurements of one method are told apart, and equal ones are those of other claims.
    one, other = (digest for role, digest in plain.measurements.items() if "number" in role)
    assert {"number", f"number {other[:12]}"} < plain.measurements.keys()
    assert one in families[1].measurements.values()


def test_a_subject_made_for_one_claim_is_judged_by_it_only_on_its_own_tasks():
    true, false = (
        Checkpoint(name, "/p", "planted", None, planted=(("claim", holds),), tasks=("can_fly",))
        for name, holds in (("true", True), ("false", False))
    )
    other = Checkpoint("other", "/p", "sft", None, planted=(("another", True),))
    control = Checkpoint("control", "/p", "sft", None, planted=())
    options = options_of(checkpoints=(true, false, other, control, BASE), tasks=OPTIONS.tasks)
    cells = measured_subjects("claim", "checkpoint", (None,), options)
    assert [(s.name, s.task, s.planted) for s in cells] == [
        ("true", "can_fly", "holds"),
        ("false", "can_fly", "fails"),
        *((name, t, "unknown") for name in ("other", "control") for t in "abc"),
        *(("m-base", t, None) for t in "abc"),
    ]
    others = measured_subjects("another", "checkpoint", (None,), options)
    expected = {("other", "holds"), ("control", "unknown"), ("m-base", None)}
    assert {(s.name, s.planted) for s in others} == expected


def made(name, stage, **planted):
    truths = tuple((claim.replace("_", "-"), holds) for claim, holds in planted.items())
    return Checkpoint(name, f"/{name}", stage, None, planted=truths, tasks=("can_fly",))


def test_a_planted_truth_may_be_that_of_one_metric_and_a_family_has_it_at_every_stage():
    base, sft = made("b", "base", claim_rr=False), made("s", "sft", claim=True)
    options = options_of(checkpoints=(base, sft), families={"m": (base, sft)}, tasks={})
    for per, expected in (
        ("checkpoint", {("b", "rr", "fails"), ("s", "rr", "holds"), ("s", "logit", "holds")}),
        ("family", {("m", "rr", "fails")}),
    ):
        cells = measured_subjects("claim", per, ("rr", "logit"), options)
        assert {(s.name, s.metric, s.planted) for s in cells} == expected

"""A run held to expectations, as its users run it, on random weights and published numbers."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import claims.instruction_vectors.published.audit  # noqa: F401 - once, so that its classes outlive each run
from ivevidence import Decision, Drift, Store, read_evidence
from ivevidence.compare.expectations import (
    expect,
    keep_values,
    read_expectations,
    write_expectations,
)
from ivfixtures.suite.expectations import Expecting
from ivfixtures.suite.verdicts import Concluded, Conclusions
from ivmethods.model.methods import Behaviour
from tests.evidence_examples import example_cell
from tests.running import ROWS, SINGLES, printed, saved, write_tasks

ONE = ("claims.instruction_vectors.test_localization",)
AUDIT = ("claims.instruction_vectors.test_published_audit",)
BEHAVIOUR = "claims.instruction_vectors.test_behaviour"
MEASURED = ("--measure-anyway", *SINGLES)
GONE = "instruction_vectors/gone"


def evidence(pytester):
    return read_evidence(pytester.path / "reports" / "claims.evidence.json")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One store for all tests: the same cells are measured once."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def judge(judge, store):
    """Judge with the store of all tests."""

    def run(*options, only):
        return judge("--store", store, *options, only=only)

    return run


@pytest.fixture
def baseline(judge, pytester):
    """What the random checkpoint was found to be."""
    judge(*MEASURED, "--write-expect", "expected.json", only=ONE)
    return pytester.path / "expected.json"


def rewrite(path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def entries(data):
    (cells,) = data["cells"].values()
    return cells


def test_a_run_meets_the_expectations_that_it_wrote(judge, pytester, baseline):
    def of_another_pack(data):
        assert data["options"]["instruction_vectors.orders"] == "1"
        data["options"]["others.draws"] = "5"

    rewrite(baseline, of_another_pack)
    result = judge(*MEASURED, "--expect", "expected.json", only=ONE)
    assert result.ret == 0, printed(result)
    result.stdout.fnmatch_lines(["expectations of expected.json: 2 as expected"])
    for cell in evidence(pytester).cells:
        assert cell.comparison.expectation.verdict == cell.decision.verdict
        assert cell.comparison.checkpoint == cell.checkpoint
        assert [drift.estimate for drift in cell.comparison.drifts] == [0, 0, 0]


def test_published_claims_are_held_to_expectations_without_a_checkpoint(judge, pytester):
    judge("--write-expect", "expected.json", only=AUDIT)
    result = judge("--expect", "expected.json", only=AUDIT)
    verdicts = [cell.decision.verdict for cell in evidence(pytester).cells]
    result.assert_outcomes(
        passed=len(verdicts) - verdicts.count("refuted"), xfailed=verdicts.count("refuted")
    )
    assert verdicts.count("inconclusive")


def test_a_change_of_verdict_fails_and_prints_both(judge, pytester, baseline):
    def was_supported(data):
        name = next(name for name in entries(data) if "adj_ant" in name)
        entries(data)[name].update(verdict="supported", criterion="closed share", n=4)
        entries(data)[name].update(estimate=0.5, low=0.4, high=0.6)

    rewrite(baseline, was_supported)
    result = judge(*MEASURED, "--expect", "expected.json", only=ONE)
    assert result.ret == 1
    result.assert_outcomes(failed=1, **_rest(pytester, "adj_comp"))
    now = next(cell for cell in evidence(pytester).cells if cell.task == "adj_ant").decision
    result.stdout.fnmatch_lines(
        [
            f"*changed: supported -> {now.verdict} [[]expected.json[]]",
            "*before, of *random-olmo20: supported",
            "*  closed share=0.5 [[]0.4, 0.6[]] (n=4)",
            f"*now {now.verdict}: *",
            "*  drift of effect=0 [[]*, *[]] (paired, n=8)",
            "*expectations of expected.json: 1 changed, 1 as expected",
            f"  changed: instruction_vectors/localization[[]*adj_ant*: supported -> {now.verdict}",
        ]
    )


def _rest(pytester, task):
    verdict = next(c.decision.verdict for c in evidence(pytester).cells if c.task == task)
    return {"xfailed" if verdict == "refuted" else "passed": 1}


@pytest.mark.parametrize("allowed", [False, True])
def test_a_cell_without_an_entry_fails_unless_it_is_allowed(judge, pytester, baseline, allowed):
    rewrite(baseline, lambda data: entries(data).pop(next(iter(entries(data)))))
    result = judge(*MEASURED, "--expect", "expected.json", *["--expect-new"] * allowed, only=ONE)
    assert result.ret == (0 if allowed else 1)
    result.stdout.fnmatch_lines(["expectations of expected.json: 1 new, 1 as expected"])
    assert ("has no entry for instruction_vectors/localization" in printed(result)) is not allowed
    new = [cell for cell in evidence(pytester).cells if cell.comparison.expectation is None]
    assert len(new) == 1


@pytest.mark.parametrize("allowed", [False, True])
def test_an_entry_without_a_cell_fails_unless_it_is_allowed(judge, pytester, baseline, allowed):
    rewrite(baseline, lambda data: entries(data).update({GONE: {"verdict": "refuted"}}))
    result = judge(
        *MEASURED, "--expect", "expected.json", *["--expect-missing"] * allowed, only=ONE
    )
    assert result.ret == (0 if allowed else 1)
    result.stdout.fnmatch_lines(
        ["*2 as expected, 1 missing", f"  missing: {GONE} of *random-olmo20"]
    )
    assert ("the run fails" in printed(result)) is not allowed
    assert evidence(pytester).run["missing"][0].startswith(f"{GONE} of ")


def test_a_cell_that_is_not_selected_is_not_missing(judge, baseline):
    result = judge(*MEASURED, "--expect", "expected.json", "-k", "adj_ant", only=ONE)
    assert result.ret == 0, printed(result)
    result.stdout.fnmatch_lines(["expectations of expected.json: 1 as expected"])


def test_another_checkpoint_takes_the_place_of_the_one_written(judge, pytester, baseline, tmp_path):
    other = saved("olmo2", tmp_path / "other-olmo2", layers=2)
    options = ["--expect", "expected.json", "--measure-anyway", *SINGLES]
    result = pytester.runpytest_inprocess(
        *("--pyargs", *ONE, "--checkpoint", str(other), "--tasks", str(tmp_path / "tasks")),
        *("--samples", "8", "-p", "no:cacheprovider", *options),
    )
    result.stdout.fnmatch_lines(
        ["*expected.json (*/other-olmo2 in the place of */random-olmo20): *"]
    )
    for cell in evidence(pytester).cells:
        assert cell.checkpoint.endswith("other-olmo2")
        assert cell.comparison.checkpoint.endswith("random-olmo20")
        assert all(drift.paired for drift in cell.comparison.drifts)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            ["--set", "instruction_vectors.path_k=1"],
            "*instruction_vectors.path_k=1, but should be 1,2,3 [[]expected.json[]]; *",
        ),
        (["--seed", "1"], "*--seed=1, but should be 0 [[]expected.json[]]; *"),
        (["--max-drift", "-1"], "*--max-drift=-1.0, but should be at least 0*"),
        (["--max-drift", "nan"], "*--max-drift=nan, but should be at least 0*"),
        (["--expect", "no.json"], "*--expect=no.json, but should be a file of expectations*"),
        (["--shard", "0/2"], "*--shard=0/2, but should be such as 2/5*"),
        (["--shard", "x"], "*--shard=x, but should be such as 2/5*"),
        (["--shard", "1/2"], "*--shard=1/2, but should be at most 1 parts*"),
        (["--html", "expected.json/x.html"], "*--html=*but should be a file in a folder that*"),
        (["--write-expect", "tasks"], "*--write-expect=*it is a folder*"),
    ],
)
def test_what_cannot_be_is_one_line_before_anything_is_measured(
    judge, pytester, baseline, options, line
):
    (pytester.path / "reports" / "claims.evidence.json").unlink()
    (pytester.path / "tasks").mkdir(exist_ok=True)
    result = judge(*MEASURED, "--expect", "expected.json", *options, only=ONE)
    assert result.ret == 4
    result.stderr.fnmatch_lines([line])
    assert len(result.errlines) == 2
    assert not (pytester.path / "reports" / "claims.evidence.json").exists()


def test_other_task_data_is_refused(judge, baseline, tasks):
    (tasks / "words.csv").write_text("\n".join(["query,adj_comp,adj_ant", *ROWS[2:]]) + "\n")
    result = judge(*MEASURED, "--expect", "expected.json", only=ONE)
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*digest of task adj_*its data or wording are others*"])


@pytest.mark.parametrize("option", ["--expect-new", "--expect-missing", "--max-drift=1"])
def test_options_about_expectations_need_some(judge, option):
    result = judge(option, only=ONE)
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"*{option.split('=')[0]} is about --expect FILE*"])


def test_expectations_of_a_run_with_errors_are_not_written(judge, pytester, monkeypatch):
    def broken(*_args, **_options):
        raise RuntimeError("broken")

    monkeypatch.setattr(Behaviour, "read", broken)
    result = judge("--write-expect", "expected.json", only=ONE)
    assert not (pytester.path / "expected.json").exists()
    result.stdout.fnmatch_lines(["not written: *expected.json (2 of 2 cells have no verdict)*"])


def test_a_selected_part_writes_its_own_expectations(judge, pytester):
    judge(*MEASURED, "--write-expect", "e.json", "-k", "adj_ant", only=ONE)
    assert len(read_expectations(pytester.path / "e.json").names) == 1


def test_settings_of_packs_that_are_not_judged_do_not_matter(tmp_path):
    written = {"--seed": 0, "mine.draws": "5", "others.k": "1"}
    expecting = Expecting(
        *(tmp_path / "e.json", expect([example_cell()], options=written), Store(tmp_path)),
        allow_new=False,
        allow_missing=False,
        max_drift=None,
    )
    given = {"--seed": 0, "mine.draws": "5", "mine.later": "1"}
    expecting.check(["mine"], options=given, tasks={})
    with pytest.raises(ValueError, match=r"mine\.draws=6, but should be 5 \[.*e\.json\]"):
        expecting.check(["mine"], options=given | {"mine.draws": "6"}, tasks={})
    with pytest.raises(ValueError, match=r"others\.k=2, but should be 1 \["):
        expecting.check(["mine", "others"], options=given | {"others.k": "2"}, tasks={})
    with pytest.raises(ValueError, match="--seed=1, but should be 0"):
        expecting.check([], options=given | {"--seed": 1}, tasks={})


def held(record, before, tmp_path, **options):
    """A record compared with what was written of another."""
    store = Store(tmp_path / "store")
    keep_values(store, before)
    settings = {"allow_new": False, "allow_missing": False, "max_drift": None} | options
    expecting = Expecting(tmp_path / "e.json", expect([before]), store, **settings)
    expecting.plan([record.name])
    return Conclusions(expecting), expecting.baseline.compare(record)


def moved(by):
    rng = np.random.default_rng(0)
    names = [f"query {i}" for i in range(50)]
    before = replace(
        example_cell(),
        decision=Decision("supported", ""),
        samples=names,
        per_sample={"effect": rng.normal(size=50)},
    )
    values = np.array(before.per_sample["effect"]) + by + rng.normal(0, 0.05, 50)
    return replace(before, per_sample={"effect": values}), before


@pytest.mark.parametrize(
    ("by", "limit", "outcome"),
    [
        (0.3, None, Concluded),
        (0.3, 0.2, pytest.fail.Exception),
        (-0.3, 0.2, pytest.fail.Exception),
        (0.3, 0.29, Concluded),
        (0.0, 0.2, Concluded),
    ],
)
def test_a_drift_fails_only_beyond_what_is_allowed(tmp_path, by, limit, outcome):
    record, before = moved(by)
    conclusions, compared = held(record, before, tmp_path, max_drift=limit)
    (drift,) = compared.comparison.drifts
    assert drift.estimate == pytest.approx(by, abs=0.03)
    with pytest.raises(outcome) as raised:
        conclusions.tell(compared)
    if outcome is pytest.fail.Exception:
        assert str(raised.value).startswith("drifted: still supported [")
        assert f"drift of effect={drift.estimate:.3g}" in str(raised.value)


def test_bounds_of_a_drift_hold_for_all_cells_of_the_run(tmp_path):
    record, before = moved(0.3)
    others = [replace(before, task=f"task {i}") for i in range(99)]
    store = Store(tmp_path)
    keep_values(store, before)
    widths = []
    for cells in ([before], [before, *others]):
        expecting = Expecting(
            *(tmp_path / "e.json", expect(cells), store),
            allow_new=False,
            allow_missing=False,
            max_drift=None,
        )
        expecting.plan([cell.name for cell in cells])
        drift: Drift = expecting.baseline.compare(record).comparison.drifts[0]
        widths.append(drift.high - drift.low)
    # Two-sided 5 % of one, and 0.05 % of each of a hundred: 2.01 and 3.74 standard errors.
    assert widths[1] / widths[0] == pytest.approx(3.74 / 2.01, rel=0.03)


def test_values_that_the_store_lacks_are_no_drift(tmp_path):
    record, before = moved(0.3)
    expecting = Expecting(
        *(tmp_path / "e.json", expect([before]), Store(tmp_path / "empty")),
        allow_new=False,
        allow_missing=False,
        max_drift=0.0,
    )
    expecting.plan([record.name])
    assert expecting.baseline.compare(record).comparison.drifts == ()


def test_a_verdict_that_changed_without_a_drift_is_a_warning(tmp_path):
    record, before = moved(0.0)
    for verdict, outcome in [("inconclusive", Concluded), ("refuted", pytest.xfail.Exception)]:
        changed = replace(record, decision=Decision(verdict, "why"))
        conclusions, compared = held(changed, before, tmp_path, max_drift=0.0)
        assert compared.comparison.change == "changed without drift"
        with pytest.raises(outcome) as raised:
            conclusions.tell(compared)
        if verdict == "refuted":
            assert str(raised.value).startswith("changed without drift: supported -> refuted\n")


def without_values(record, _before):
    return replace(record, per_sample={})


def of_the_same_values(record, before):
    return replace(record, per_sample=before.per_sample)


def under_another_rule(record, _before):
    return replace(record, claim=replace(record.claim, rule="another one"))


@pytest.mark.parametrize(
    ("by", "change", "cause"),
    [
        (0.3, None, "values drifted"),
        (0.0, without_values, "no per-sample values"),
        (0.0, of_the_same_values, "no value moved"),
        (0.0, under_another_rule, "the claim's rule is another one"),
    ],
)
def test_a_verdict_that_chance_cannot_have_changed_fails(tmp_path, by, change, cause):
    record, before = moved(by)
    record = replace(record, decision=Decision("inconclusive", "why"))
    conclusions, compared = held(change(record, before) if change else record, before, tmp_path)
    with pytest.raises(pytest.fail.Exception, match=r"^changed: supported -> inconc.*\n" + cause):
        conclusions.tell(compared)


def test_a_change_of_verdict_without_values_fails(tmp_path):
    record, before = moved(0.0)
    record = replace(record, decision=Decision("inconclusive", "why"))
    expecting = Expecting(
        *(tmp_path / "e.json", expect([before]), Store(tmp_path / "empty")),
        allow_new=False,
        allow_missing=False,
        max_drift=None,
    )
    expecting.plan([record.name])
    assert expecting.baseline.compare(record).comparison.change == "nothing to compare"


def drifting_a_little(pytester, path, store):
    """Rewrite a baseline: its verdicts are others, its values a little off those kept."""
    expectations = read_expectations(path)
    cells = []
    for cell in evidence(pytester).cells:
        values = {
            name: [value + 0.01 * (-1) ** k for k, value in enumerate(series)]
            for name, series in cell.per_sample.items()
        }
        other = Decision("supported" if cell.decision.verdict != "supported" else "refuted", "was")
        cells.append(replace(cell, decision=other, per_sample=values))
        keep_values(Store(store), cells[-1])
    about = {"options": expectations.options, "tasks": expectations.tasks}
    write_expectations(path, expect(cells, **about))


@pytest.mark.parametrize("workers", [(), ("-n", "2", "--dist", "loadgroup", "-o", "addopts=")])
def test_a_warning_is_in_terminal_report_evidence_and_junit(judge, pytester, store, two, workers):
    words = [*two, "--store", store, "-k", "localization"]
    pytester.runpytest_inprocess(*map(str, words), "--write-expect", "e.json")
    drifting_a_little(pytester, pytester.path / "e.json", store)
    run = pytester.runpytest_subprocess if workers else pytester.runpytest_inprocess
    result = run(*map(str, words), "--expect", "e.json", "--junit-xml", "j.xml", *workers)
    assert result.ret == 0, printed(result)
    result.stdout.fnmatch_lines(
        [
            "expectations of e.json: 4 changed without drift",
            "  changed without drift: instruction_vectors/localiz* -> *",
        ]
    )
    records = evidence(pytester).cells
    assert {cell.comparison.change for cell in records} == {"changed without drift"}
    junit = (pytester.path / "j.xml").read_text()
    assert junit.count('<property name="changed without drift" value="supported -&gt; ') == 4
    assert "4 changed without drift" in (pytester.path / "reports" / "claims.html").read_text()


def test_an_expected_refutation_is_strict(tmp_path):
    record, before = moved(0.0)
    before = replace(before, decision=Decision("refuted", "was"))
    for decision, outcome in [
        (Decision("refuted", ""), pytest.xfail.Exception),
        (Decision("supported", ""), pytest.fail.Exception),
        (Decision("inconclusive", ""), pytest.fail.Exception),
    ]:
        same = replace(record, decision=decision, per_sample=before.per_sample)
        conclusions, compared = held(same, before, tmp_path)
        with pytest.raises(outcome):
            conclusions.tell(compared)


@pytest.fixture
def two(checkpoint, tmp_path):
    """Options that judge two checkpoints."""
    other = saved("olmo2", tmp_path / "other-olmo2", layers=2)
    folder = write_tasks(tmp_path / "words")
    return [
        *(
            "--pyargs",
            *ONE,
            "claims.instruction_vectors.test_behaviour",
            "--tasks",
            str(folder),
            "--samples",
            "8",
        ),
        *("--checkpoint", str(checkpoint), "--checkpoint", str(other), *MEASURED),
        *("-p", "no:cacheprovider"),
    ]


def stripped(cell):
    data = cell.to_json()
    data["provenance"].pop("seconds")
    return data


def test_shards_are_the_whole_and_no_checkpoint_is_split(pytester, two):
    pytester.runpytest_inprocess(*two, "--html", "whole/c.html", "--write-expect", "e.json")
    shards = []
    for part in ("1/2", "2/2"):
        html = f"shard{part[0]}/c.html"
        result = pytester.runpytest_inprocess(
            *(*two, "--shard", part, "--html", html, "--expect", "e.json", "--store", f"s{part[0]}")
        )
        assert result.ret == 0, printed(result)
        shards.append(read_evidence(pytester.path / f"shard{part[0]}" / "c.evidence.json"))
    whole = read_evidence(pytester.path / "whole" / "c.evidence.json")
    assert [{Path(cell.checkpoint).name for cell in shard.cells} for shard in shards] == [
        {"random-olmo20"},
        {"other-olmo2"},
    ]
    apart = {cell.cell_id: stripped(cell) for shard in shards for cell in shard.cells}
    for cell in whole.cells:
        assert {**apart[cell.cell_id], "comparison": None} == stripped(cell)
    assert len(apart) == len(whole.cells) == 8


def test_two_workers_leave_the_evidence_of_one_process_bit_for_bit(pytester, two):
    pytester.runpytest_inprocess(*two, "--html", "one/c.html", "--store", "one-store")
    result = pytester.runpytest_subprocess(
        *(*two, "--html", "two/c.html", "--store", "two-store", "-n", "2"),
        *("--dist", "loadgroup", "-o", "addopts=", "-v"),
    )
    workers = re.findall(r"\[(gw\d)\] .*\[((?:random|other)-olmo2)", "\n".join(result.outlines))
    assert len(workers) == 8
    assert len(set(workers)) == 2, "a checkpoint's cells are spread over workers"
    one, both = (read_evidence(pytester.path / name / "c.evidence.json") for name in ("one", "two"))
    assert [stripped(cell) for cell in both.cells] == [stripped(cell) for cell in one.cells]
    assert len(one.cells) == 8, printed(result)
    facts = ("measured", "planned", "interrupted")
    assert [both.run[name] for name in facts] == [one.run[name] for name in facts]
    files = [
        {path.name: path.read_bytes() for path in (pytester.path / folder).glob("*.safetensors")}
        for folder in ("one-store", "two-store")
    ]
    assert files[0] == files[1] != {}


def test_workers_are_held_to_expectations_like_one_process(pytester, two):
    pytester.runpytest_inprocess(*two, "--write-expect", "e.json")
    data = json.loads((pytester.path / "e.json").read_text())
    cells = next(cells for of, cells in data["cells"].items() if of.endswith("other-olmo2"))
    cells[f"{GONE}[x]"] = {"verdict": "refuted"}
    cells["instruction_vectors/behaviour[adj_ant-ia]"] = {"verdict": "supported"}
    (pytester.path / "e.json").write_text(json.dumps(data))
    result = pytester.runpytest_subprocess(
        *(*two, "--expect", "e.json", "--max-drift", "0"),
        *("-n", "2", "--dist", "loadgroup", "-o", "addopts="),
    )
    result.stdout.fnmatch_lines(
        [
            "expectations of e.json: 1 changed, 7 as expected, 1 missing",
            f"  missing: {GONE}[[]x[]] of *other-olmo2",
            "with 8 samples, a fall of IA from 1 by * goes unseen*",
        ]
    )
    assert result.ret == 1


def test_a_selected_claim_is_held_to_beside_published_numbers(pytester, two, tmp_path):
    first, other = two[two.index("--checkpoint") : two.index("--measure-anyway")][1::2]
    words = [*two[two.index("--tasks") : two.index("--checkpoint")], *MEASURED, *two[-2:]]
    held = ("--pyargs", *ONE, *AUDIT, "-k", "localization", *words, "--checkpoint")
    pytester.runpytest_inprocess(*held, first, "--write-expect", "e.json")
    result = pytester.runpytest_inprocess(*held, other, "--expect", "e.json")
    line = next(line for line in result.outlines if line.startswith("expectations of"))
    assert re.fullmatch(r".* in the place of .*\): (1 changed, 1|2) as expected", line), line


def test_claims_and_published_numbers_that_the_file_knows_nothing_of_are_no_failure(
    judge, pytester, baseline
):
    result = judge(*MEASURED, "--expect", "expected.json", only=(*ONE, *AUDIT, BEHAVIOUR))
    assert result.ret == 0, printed(result)
    result.stdout.fnmatch_lines(["expectations of expected.json: 51 new, 2 as expected"])


def test_cells_whose_gate_changed_follow_it_and_one_cell_fails(judge, pytester, baseline):
    judge(*SINGLES, "--write-expect", "e.json", only=(*ONE, BEHAVIOUR))

    def followed(data):
        for name, entry in entries(data).items():
            if "adj_ant" in name:
                entry.pop("gate", None)
                entry["verdict"] = "supported"

    rewrite(pytester.path / "e.json", followed)
    result = judge(*SINGLES, "--expect", "e.json", only=(*ONE, BEHAVIOUR))
    result.assert_outcomes(failed=1, **_rest_of(evidence(pytester)))
    result.stdout.fnmatch_lines(
        [
            "expectations of e.json: 1 changed, 1 follows its gate, 2 *",
            "with 8 samples, a fall of IA from 1 by * goes unseen*",
        ]
    )
    result = judge(*SINGLES, "--expect", "e.json", only=ONE)
    result.stdout.fnmatch_lines(["expectations of e.json: 1 changed, 1 as expected, 2 missing"])


def _rest_of(run):
    held = [c for c in run.cells if c.comparison.expectation.verdict == c.decision.verdict]
    refuted = sum(cell.decision.verdict == "refuted" for cell in held)
    return {"xfailed": refuted, "passed": len(run.cells) - 1 - refuted}

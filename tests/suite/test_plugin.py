"""The suite as its users run it, on a small checkpoint with random weights."""

import gc
import json
import re
import shutil
import weakref
from dataclasses import replace
from pathlib import Path

import pytest

import claims
import claims.instruction_vectors.published.audit
from ivevidence import Criterion, Decision, read_evidence
from ivfixtures.checkpoints.resolving import load, resolve
from ivfixtures.measuring import measurements
from ivfixtures.suite.verdicts import Concluded, Conclusions
from ivmethods.model.handles import network
from ivmethods.model.methods import Runs
from ivmethods.patching.checks import Checks
from tests.evidence_examples import example_cell
from tests.running import PAIRS, SINGLES, printed, saved, shown


def test_every_cell_leaves_a_verdict_and_the_run_says_where(judge, pytester):
    result = judge("--measure-anyway", "--xfail-refuted")
    result.stdout.fnmatch_lines(
        ["measurements: * measured, * reused from *", "report: *claims.html"]
    )
    evidence = read_evidence(pytester.path / "reports" / "claims.evidence.json")
    assert len(evidence.cells) == 2 * 1 + 2 * 2
    assert {cell.task for cell in evidence.cells} == {"adj_comp", "adj_ant"}
    assert not evidence.errors
    for cell in evidence.cells:
        assert cell.prompts
        assert cell.command.startswith("pytest --pyargs ")
        gates = [note for note in cell.notes if "passed over (--measure-anyway)" in note]
        assert re.match(r"gate of competence .*: .* IA=0\.\d\d .*above 0\.5$", gates[0])
        assert re.match(r"gate of headroom .*: no headroom: mean rr gap .*at least 0\.1", gates[1])
    result.stdout.fnmatch_lines(["cells that went past a gate (--measure-anyway): 6; their notes*"])


def test_every_claim_can_be_judged_in_one_run(judge, pytester):
    judge("--measure-anyway", "--xfail-refuted", only=["claims"])
    evidence = read_evidence(pytester.path / "reports" / "claims.evidence.json")
    files = Path(claims.__file__).parent.glob("*/test_*.py")
    names = {f"{file.parent.name}/{file.stem.removeprefix('test_')}" for file in files}
    assert {cell.claim.name for cell in evidence.cells} == names
    assert not evidence.errors


def test_hostile_queries_show_as_text(judge, pytester):
    judge("--measure-anyway", "--xfail-refuted")
    html = shown(pytester.path / "reports" / "claims.html")
    assert "document.title" in html
    assert "<script>document.title" not in html


def test_a_second_run_measures_nothing_again_and_says_so(judge):
    first, second = judge("--measure-anyway"), judge("--measure-anyway")
    assert re.search(r"measurements: [1-9]\d* measured", printed(first))
    second.stdout.fnmatch_lines(["measurements: nothing measured again, * reused from *"])


def test_other_parameters_are_measured_anew(judge):
    judge("--measure-anyway", *PAIRS)
    again = judge("--measure-anyway", "--seed", "1")
    assert re.search(r"measurements: [1-9]\d* measured", printed(again))


def test_a_run_that_judged_no_cell_fails(judge):
    result = judge()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["6 not_applicable", "no cell was judged*"])


def test_verdicts_on_published_numbers_do_not_make_up_for_a_checkpoint_without_any(judge, pytester):
    patching = (
        "claims.instruction_vectors.test_localization",
        "claims.instruction_vectors.test_superadditivity",
    )
    result = judge(
        "--xfail-refuted", only=("claims.instruction_vectors.test_published_audit", *patching)
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["6 supported*", "no cell was judged*", "measurements: *"])
    cells = read_evidence(pytester.path / "reports" / "claims.evidence.json").cells
    names = [cell.claim.name for cell in cells]
    assert names == sorted(names)
    assert names.count("instruction_vectors/published_audit") == 49
    assert {"instruction_vectors/localization", "instruction_vectors/superadditivity"} < {*names}


def test_superadditivity_needs_pairs(judge, pytester):
    judge("--measure-anyway", *SINGLES, "-k", "superadditivity")
    cells = read_evidence(pytester.path / "reports" / "claims.evidence.json").cells
    assert {cell.decision.verdict for cell in cells} == {"not_applicable"}
    assert all("--set instruction_vectors.orders=1,2" in cell.decision.reason for cell in cells)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--checkpoint", "tiny-olmo2-stf"], "*tiny-olmo2-sft*"),
        (["--family", "olmo"], "*family=*tiny-olmo2*"),
        (["--samples", "0"], "*--samples=0, but should be at least 4*"),
        (["--device", "abacus"], "*--device=abacus, but should be a device*--device cpu*"),
        (["--memory-budget", "-1"], "*--memory-budget=-1.0, but should be above 0*"),
    ],
)
def test_a_wrong_option_is_one_line_before_anything_is_loaded(judge, pytester, options, line):
    result = judge(*options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([line])
    assert not (pytester.path / ".ivclaims").exists()
    assert len([text for text in result.errlines if text.startswith("ERROR")]) <= 1


def test_a_layout_without_linear_maps_is_told_the_known_ones(judge, pytester, tmp_path):
    bloom = saved("bloom", tmp_path / "bloom")
    judge(
        *("--checkpoint", bloom, "--measure-anyway", "-k", "bloom and adj_ant"),
        only=("claims.instruction_vectors.test_tinst_path_dominance",),
    )
    cells = read_evidence(pytester.path / "reports" / "claims.evidence.json").cells
    assert {cell.decision.verdict for cell in cells} == {"not_applicable"}
    assert all("olmo2, olmo3, llama" in cell.decision.reason for cell in cells)


def test_malformed_tasks_name_file_line_and_remedy(judge, tasks):
    (tasks / "words.csv").write_text("query,adj_comp,adj_ant\nbig,,small\nhot,hotter,cold\n")
    result = judge()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*but should be*words.csv, line 2*"])


def test_an_exception_is_an_error_and_never_a_verdict(judge, pytester, monkeypatch):
    monkeypatch.setattr(Runs, "compute", lambda *_: 1 / 0)
    result = judge("--measure-anyway", "-k", "adj_ant")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    evidence = read_evidence(pytester.path / "reports" / "claims.evidence.json")
    assert not evidence.cells
    assert len(evidence.errors) == 3
    assert "division by zero" in evidence.errors[0].message


def test_a_checkpoint_that_cannot_be_patched_is_refused_with_the_numbers(judge, monkeypatch):
    broken = Checks(0.0, 0.25, 0.0, 1e-4, "fan_out")
    monkeypatch.setattr("ivmethods.patching.check_methods.check", lambda *_, **__: broken)
    result = judge("--measure-anyway", "-k", "adj_ant and localization")
    result.stdout.fnmatch_lines(["*0.25 (hooks)*but should be 0 (no-op) and at most 0.0001*"])


@pytest.mark.parametrize(
    ("verdict", "xfail", "outcome"),
    [
        ("supported", False, Concluded),
        ("refuted", False, pytest.fail.Exception),
        ("refuted", True, pytest.xfail.Exception),
        ("inconclusive", True, pytest.skip.Exception),
        ("not_applicable", False, pytest.skip.Exception),
    ],
)
def test_pytest_hears_the_verdict_with_its_statistics(verdict, xfail, outcome):
    threshold = 0.001 if verdict == "supported" else 0.1
    criterion = Criterion("closed share", "", 0.031, 0.01, 0.052, threshold, 50, p_value=0.02)
    decision = Decision(verdict, "because", (criterion,), chosen="layers 2, 3")
    record = replace(example_cell(), decision=decision)
    with pytest.raises(outcome) as raised:
        Conclusions(xfail_refuted=xfail).tell(record)
    assert outcome is Concluded or str(raised.value).splitlines() == [
        f"{verdict}: because",
        "  judged on: layers 2, 3",
        "  closed share=0.031 [0.01, 0.052] against 0.1 (n=50, p=0.02): short",
    ]


def test_the_plugin_leaves_other_sessions_alone(pytester):
    pytester.makepyfile("def test_nothing(): pass")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
    assert not (pytester.path / "reports").exists()
    assert "claims" not in printed(result).replace("ivclaims", "")


def test_the_plugin_does_not_import_torch(pytester):
    pytester.makepyfile("import sys\ndef test_light(): assert 'torch' not in sys.modules")
    pytester.runpytest_subprocess("-p", "no:jaxtyping").assert_outcomes(passed=1)


def test_the_reproduction_command_judges_the_same_cell_again(judge, pytester):
    import shlex

    judge("--measure-anyway", "--xfail-refuted", "-k", "localization and adj_ant")
    path = Path(pytester.path / "reports" / "claims.evidence.json")
    (cell,) = read_evidence(path).cells
    pytester.runpytest_inprocess(*shlex.split(cell.command)[1:], "-p", "no:cacheprovider")
    (again,) = read_evidence(path).cells
    assert again.cell_id == cell.cell_id
    assert again.decision == cell.decision
    assert again.measurements == cell.measurements
    assert json.loads(path.read_text())["run"]["measured"] == 0


def test_a_model_is_let_go_before_the_next_one_is_loaded(checkpoint, tmp_path, monkeypatch):
    folders = [Path(shutil.copytree(checkpoint, tmp_path / name)) for name in ("one", "other")]
    alive = []

    def loading(*arguments, **options):
        gc.collect()
        alive.append([reference() is not None for reference in models])
        return load(*arguments, **options)

    models = []
    monkeypatch.setattr("ivfixtures.measuring.measurements.load", loading)
    for folder in folders:
        model = measurements.model_of(resolve(str(folder)), "cpu", "float32")
        models.append(weakref.ref(network(model)))
        del model
    assert alive == [[], [False]]

"""The plan: it lists what the claims then measure, finds what is stored, and costs add up."""

import json
import shutil

import pytest

from benchmarks import large_plan
from ivevidence import Store
from ivfixtures.checkpoints import resolving as checkpoints
from ivfixtures.checkpoints.resolving import CheckpointError
from ivfixtures.measuring.plan_text import lines
from ivfixtures.suite import planning
from tests.running import PACK, PAIRS, SINGLES, printed, saved

CLAIMS = [
    *("active_layers", "behaviour", "head_sharing", "linear_separability", "localization"),
    *("superadditivity", "tinst_path_dominance"),
]
ALL = [f"{PACK}.test_{name}" for name in CLAIMS]


@pytest.fixture
def tasks(tasks):
    """Two contrastive tasks, with rephrasings."""
    (tasks / "varied_instructions").mkdir()
    for name, verb in {"adj_comp": "Compare", "adj_ant": "Oppose"}.items():
        rows = "".join(
            f"{i},{verb} it in way {letter}\n" for i, letter in enumerate("abcdefghijkl")
        )
        file = tasks / "varied_instructions" / f"{name}_rephrased.csv"
        file.write_text(f"index,instruction\n{rows}")
    return tasks


@pytest.fixture
def seen(monkeypatch):
    """The plans that were printed."""
    found = []

    def lines_of(one, *, listing):
        found.append(one)
        return lines(one, listing=listing)

    monkeypatch.setattr(planning, "lines", lines_of)
    return found


@pytest.fixture
def planned(judge, seen):
    """A run with `--plan`, which gives its plan."""

    def run(*options, only=ALL):
        result = judge("--plan", *options, only=only)
        assert result.ret == pytest.ExitCode.OK, printed(result)
        return seen.pop()

    return run


def methods(found, *states):
    return sorted((one.task, one.method) for one in found.planned.values() if one.state in states)


def digests(found, *states):
    """Those of the keys of what is planned."""
    return {digest for (digest, *_), one in found.planned.items() if one.state in states}


def measured(pytester):
    """What is in the store: the digest of each key, and its method."""
    paths = (pytester.path / ".ivclaims").glob("*.json")
    return {path.stem: json.loads(path.read_text())["key"]["method"] for path in paths}


@pytest.mark.parametrize("claim", CLAIMS)
def test_what_is_planned_is_what_the_claim_measures(claim, planned, judge, pytester):
    only, options = [f"{PACK}.test_{claim}"], ("--measure-anyway", *PAIRS)
    before = planned(*options, only=only)
    assert not measured(pytester)
    assert not methods(before, "stored")
    judge(*options, only=only)
    found = measured(pytester)
    controls = {digest for digest, method in found.items() if method.startswith("controls (")}
    assert digests(before, "missing") == found.keys() - controls
    # Each cell at most one, and cells may have the same.
    assert len(controls) <= len(methods(before, "open"))
    # A random model has no pair that closes a tenth of the gap, and so nothing to control.
    assert bool(controls) == (bool(methods(before, "open")) and claim != "superadditivity")
    after = planned(*options, only=only)
    # Now that the sweeps are known, so are the layers of the controls.
    assert digests(after, "stored") == found.keys()
    assert not methods(after, "missing", "open")


def test_a_family_is_planned_as_it_is_measured(pytester, seen, tasks):
    def run(*options):
        return pytester.runpytest_inprocess(
            *(
                "--pyargs",
                "claims.instruction_vectors.test_stages",
                "--family",
                "tiny-olmo2",
                "--samples",
                "8",
            ),
            *(*PAIRS, "-k", "adj_ant", "--measure-anyway", "-p", "no:cacheprovider"),
            *("--tasks", str(tasks), *options),
        )

    run("--plan")
    run()
    run("--plan")
    before, after = seen
    assert len({one.checkpoint for one in before.planned.values()}) == 3
    assert digests(after, "stored") == digests(before, "missing") == measured(pytester).keys()
    assert not methods(after, "missing", "open")


def test_nothing_is_planned_behind_a_gate_that_is_known_to_be_closed(planned, judge, pytester):
    before = planned()
    judge(
        only=["claims.instruction_vectors.test_behaviour"]
    )  # a random model follows no instruction
    after = planned()
    assert {method for _, method in methods(before, "missing")} > {"sweep contrast paper", "runs"}
    # Probing asks for no competence.
    kept = {"behaviour", "probes", "instruction residuals"}
    kept |= {"random-weight probes", "instruction residuals of random weights"}
    assert {one.method for one in after.planned.values()} == kept
    assert {method for _, method in methods(after, "missing")} == kept - {"behaviour"}


def test_cells_share_measurements_and_so_do_equal_checkpoints(judge, seen, checkpoint, tmp_path):
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    judge("--plan", "--checkpoint", copy, only=ALL)
    judge("--plan", only=ALL)
    both, one = seen
    assert both.planned.keys() == one.planned.keys()
    assert both.cells[str(copy)] == one.cells[str(checkpoint)] == both.cells[str(checkpoint)]


def test_a_plan_loads_no_model_and_leaves_nothing(planned, pytester, monkeypatch):
    for name in ("load_model", "load_untrained", "load_skeleton"):
        monkeypatch.setattr(f"ivfixtures.checkpoints.resolving.{name}", lambda *_, **__: 1 / 0)
    planned("--write-expect", "expected.json", "--device", "cuda")
    assert not (pytester.path / "reports" / "claims.evidence.json").exists()
    assert not (pytester.path / "reports" / "claims.html").exists()
    assert not (pytester.path / "expected.json").exists()
    assert not list((pytester.path / ".ivclaims").glob("*"))


def test_controls_are_open_for_each_cell_that_chooses_their_layers(planned):
    only = [
        "claims.instruction_vectors.test_localization",
        "claims.instruction_vectors.test_superadditivity",
    ]
    found = planned("--measure-anyway", "-k", "adj_ant", only=only)
    cells = ["localization rr", "superadditivity logit", "superadditivity rr"]
    cells = [f"instruction_vectors/{cell}" for cell in cells]
    assert methods(found, "open") == [("adj_ant", f"controls of {cell}") for cell in cells]


def test_what_nothing_depends_on_is_looked_up_and_not_read(planned, judge, monkeypatch):
    only = ["claims.instruction_vectors.test_tinst_path_dominance"]
    options = ("--measure-anyway", "-k", "adj_ant")
    judge(*options, only=only)
    read, find = [], Store.find
    monkeypatch.setattr(
        Store, "find", lambda self, at, *more: read.append(at) or find(self, at, *more)
    )
    plan = planned(*options, only=only)
    paths = {at for (at, *_), one in plan.planned.items() if one.method.startswith("paths")}
    assert paths
    assert read
    assert not paths & {*read}


def test_a_checkpoint_that_cannot_be_read_is_told_and_the_rest_is_planned(
    judge, seen, checkpoint, tmp_path, monkeypatch
):
    def config(one):
        if one.source == str(copy):
            raise CheckpointError("config=odd, but should be even [there]; mend it")
        return found(one)

    found, copy = checkpoints.config, shutil.copytree(checkpoint, tmp_path / "copy")
    monkeypatch.setattr(checkpoints, "config", config)
    result = judge("--plan", "--checkpoint", copy)
    (one,) = seen
    assert {planned.checkpoint for planned in one.planned.values()} == {str(checkpoint)}
    result.stdout.fnmatch_lines([f"not planned: {copy}: config=odd, but should be even *"])


@pytest.mark.parametrize("option", [["--plan"], ["--executor", "processes"]])
def test_a_store_that_cannot_be_listed_is_one_line(judge, monkeypatch, option):
    def names(_place):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("ivevidence.store.places.Folder.names", names)
    result = judge(*option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    line = "*--store=*.ivclaims, but should be one that can be listed [[]*Permission denied*]*"
    result.stderr.fnmatch_lines([line])


def test_a_plan_is_made_by_one_process(judge):
    result = judge("--plan", "-n", "2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--plan: leave out pytest-xdist [[]-n[]]; one process plans*"])


def test_the_estimate_follows_samples_and_orders(planned):
    def flop(*options):
        found = planned(
            *options, "-k", "adj_ant", only=["claims.instruction_vectors.test_localization"]
        )
        return {one.method: one.flop for one in found.planned.values()}

    singles, pairs = flop(*SINGLES), flop(*PAIRS)
    few = flop(*PAIRS, "--samples", "4")
    assert pairs["sweep contrast paper"] > singles["sweep contrast paper"]
    assert pairs["behaviour"] == singles["behaviour"] > few["behaviour"]


def test_each_task_and_checkpoint_has_its_own_costs(planned, tmp_path):
    def flop(*options):
        found = planned(
            *options, "--measure-anyway", only=["claims.instruction_vectors.test_localization"]
        )
        return {(one.checkpoint, one.task, one.method): one.flop for one in found.planned.values()}

    other = saved("llama", tmp_path / "other", layers=2)
    together = flop("--checkpoint", other)
    tasks = flop("-k", "adj_ant"), flop("-k", "adj_comp")
    for one in tasks:
        assert one.items() < together.items()
    adj_ant, adj_comp = (sorted(one.values()) for one in tasks)
    assert adj_ant != adj_comp
    assert len({one for name, *_, one in together if name == str(other)}) == 10
    assert together[(str(other), "adj_ant", "runs")] not in adj_ant


def test_claims_on_published_numbers_need_nothing(judge):
    result = judge("--plan", only=["claims.instruction_vectors.test_published_audit"])
    result.stdout.fnmatch_lines(["the selected cells need no measurements"])


def test_a_large_plan_is_what_executors_make_and_nothing_twice(pytester, monkeypatch):
    # It asserts as much itself; its files are here.
    large_plan.write_run(pytester.path, 3)
    monkeypatch.setattr("ivfixtures.measuring.executors.dispatch.POLL", 0.01)
    simulated = large_plan.Simulated(stub=0.0, workers=4)
    result = pytester.runpytest_inprocess(
        *("--pyargs", large_plan.CLAIM, "--checkpoint", "run", "--tasks", "tasks"),
        *("-p", "no:cacheprovider"),
        plugins=[simulated],
    )
    assert result.ret == pytest.ExitCode.OK, printed(result)
    assert simulated.found["measurements"] == 3 * large_plan.TASKS * 10

"""The plan: it lists what the claims then measure, finds what is stored, and costs add up."""

import json
import shutil
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import large_plan
from claims import test_localization as localization
from ivevidence import Store
from ivfixtures import asks, checkpoints, gates, plan
from ivfixtures.checkpoints import CheckpointError
from ivfixtures.plan_text import Plan, Planned, lines, prefixed
from ivfixtures.tasks import load_tasks
from ivmethods.fan_out import fan_out
from ivmethods.sweep import sweep
from tests.gguf_writing import write_llama
from tests.models import random_samples, random_vectors, wrapped
from tests.suite import printed, saved

CLAIMS = [
    *("active_layers", "behaviour", "head_sharing", "linear_separability", "localization"),
    *("superadditivity", "tinst_path_dominance"),
]
ALL = [f"claims.test_{name}" for name in CLAIMS]


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

    monkeypatch.setattr(plan, "lines", lines_of)
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


def measured(pytester, tasks):
    """Task and method of what is in the store, controls without their layers."""
    names = {task.digest: name for name, task in load_tasks(tasks).items()}
    found = []
    for path in (pytester.path / ".ivclaims").glob("*.json"):
        key = json.loads(path.read_text())["key"]
        found.append((names.get(key.get("task"), ""), key["method"].partition(" (")[0]))
    return sorted(found)


@pytest.mark.parametrize("claim", CLAIMS)
def test_what_is_planned_is_what_the_claim_measures(claim, planned, judge, pytester, tasks):
    only, options = [f"claims.test_{claim}"], ("--measure-anyway", "--orders", "1,2")
    before = planned(*options, only=only)
    assert not measured(pytester, tasks)
    assert not methods(before, "stored")
    judge(*options, only=only)
    found = measured(pytester, tasks)
    controls = [(task, method) for task, method in found if method == "controls"]
    assert methods(before, "missing") == [one for one in found if one not in controls]
    # Each cell at most one, and cells may have the same.
    assert len(controls) <= len(methods(before, "open"))
    assert bool(controls) == bool(methods(before, "open"))
    after = planned(*options, only=only)
    assert methods(after, "stored") == methods(before, "missing")
    assert not methods(after, "missing")


def test_a_family_is_planned_as_it_is_measured(pytester, seen, tasks):
    def run(*options):
        return pytester.runpytest_inprocess(
            *("--pyargs", "claims.test_stages", "--family", "tiny-olmo2", "--samples", "8"),
            *("--orders", "1,2", "-k", "adj_ant", "--measure-anyway", "-p", "no:cacheprovider"),
            *("--tasks", str(tasks), *options),
        )

    run("--plan")
    run()
    run("--plan")
    before, after = seen
    assert len({one.checkpoint for one in before.planned.values()}) == 3
    assert methods(after, "stored") == methods(before, "missing")
    stored = [path.stem for path in (pytester.path / ".ivclaims").glob("*.json")]
    assert len(stored) == len(before.planned)
    assert not methods(after, "missing", "open")


def test_nothing_is_planned_behind_a_gate_that_is_known_to_be_closed(planned, judge, pytester):
    before = planned()
    judge(only=["claims.test_behaviour"])  # a random model follows no instruction
    after = planned()
    assert {method for _, method in methods(before, "missing")} > {"sweep contrast paper", "runs"}
    kept = {"behaviour", "probes", "instruction residuals"}  # probing asks for no competence
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
    monkeypatch.setattr("ivfixtures.material.load", lambda *_, **__: 1 / 0)
    monkeypatch.setattr("ivfixtures.material.skeleton", lambda *_, **__: 1 / 0)
    planned("--write-expect", "expected.json", "--device", "cuda")
    assert not (pytester.path / "reports" / "evidence.json").exists()
    assert not (pytester.path / "reports" / "claims.html").exists()
    assert not (pytester.path / "expected.json").exists()
    assert not list((pytester.path / ".ivclaims").glob("*"))


def test_a_damaged_measurement_is_planned_again_where_others_depend_on_it(
    planned, judge, pytester, tasks
):
    only, options = ["claims.test_localization"], ("--measure-anyway", "-k", "adj_ant")
    judge(*options, only=only)
    for path in (pytester.path / ".ivclaims").glob("*.json"):
        if json.loads(path.read_text())["key"]["method"] == "checks":
            path.write_text("{}")
    missing = methods(planned(*options, only=only), "missing")
    assert ("adj_ant", "sweep contrast paper") in missing
    assert ("adj_ant", "runs") not in missing


def test_controls_are_open_for_each_cell_that_chooses_their_layers(planned):
    only = ["claims.test_localization", "claims.test_superadditivity"]
    found = planned("--measure-anyway", "-k", "adj_ant", only=only)
    names = ["localization rr", "superadditivity logit", "superadditivity rr"]
    assert methods(found, "open") == [("adj_ant", f"controls of {name}") for name in names]


def test_each_measurement_is_looked_for_once_and_what_is_wanted_is_not_read(
    planned, judge, monkeypatch
):
    only, options = ["claims.test_localization", "claims.test_superadditivity"], ("-k", "adj_ant")
    judge("--measure-anyway", *options, only=only)
    wanted, read, state, load = [], [], plan.PlanStore.state, Store._load

    def asking(store, want):
        wanted.append(want.method)
        return state(store, want)

    def reading(store, digest, **rest):
        found = load(store, digest, **rest)
        read.append(found.key["method"])
        return found

    monkeypatch.setattr(plan.PlanStore, "state", asking)
    monkeypatch.setattr(Store, "_load", reading)
    found = planned("--measure-anyway", *options, only=only)
    assert len(wanted) == len(found.planned)
    # What a gate looks at, and what the keys of others depend on.
    assert sorted(read) == ["behaviour", "checks", "no-op paper", "no-op released"]


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


def test_a_claim_that_asks_for_what_there_is_not_is_one_line(judge, monkeypatch):
    monkeypatch.delitem(asks.ASKS, "all layers")
    result = judge("--plan")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    line = "*asks='all layers', but should be a gate or one of behaviour, * [[]marker of local*]*"
    result.stderr.fnmatch_lines([line])


def test_a_claim_without_asks_is_named(judge, monkeypatch, pytester):
    marker = next(
        mark for mark in localization.test_localization.pytestmark if mark.name == "claim"
    )
    monkeypatch.delitem(marker.kwargs, "asks")
    result = judge("--plan", only=["claims.test_localization"])
    result.stdout.fnmatch_lines(["not planned: localization: its marker has no `asks`"])


def test_a_plan_is_made_by_one_process(judge):
    result = judge("--plan", "-n", "2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--plan: leave out pytest-xdist [[]-n[]]; one process plans*"])


# ---------------------------------------------------------------------------------------- gates


def part(incompetent=False, saturation=1.0, *, order=3):
    bench = SimpleNamespace(options=SimpleNamespace(order=order))
    return SimpleNamespace(
        incompetence=lambda: "a decision" if incompetent else None,
        saturation=lambda smallest: "a decision" if saturation < smallest else None,
        bench=bench,
    )


def test_a_gate_is_closed_by_any_part():
    cell = SimpleNamespace(parts=[part(), part(incompetent=True)])
    assert not gates.competence(cell)
    assert gates.competence(SimpleNamespace(parts=cell.parts[:1]))
    cell = SimpleNamespace(parts=[part(saturation=0.3), part(saturation=0.2)])
    assert gates.headroom(0.2)(cell)
    assert not gates.headroom(0.25)(cell)


def test_orders_and_layouts_are_gates(checkpoint, tmp_path):
    assert gates.order(2)(part(order=2))
    assert not gates.order(2)(part(order=1))

    def cell(folder, *, remote=False):
        bench = SimpleNamespace(
            checkpoint=checkpoints.resolve(str(folder)), options=SimpleNamespace(remote=remote)
        )
        return SimpleNamespace(benches=[bench])

    assert gates.linear_form(cell(checkpoint))
    assert not gates.linear_form(cell(checkpoint, remote=True))
    assert not gates.linear_form(cell(saved("gptj", tmp_path / "gptj")))


# ---------------------------------------------------------------------------------------- costs


@settings(max_examples=15)
@given(layers=st.integers(1, 5), order=st.integers(1, 3), length=st.integers(2, 6))
def test_a_sweeps_cost_is_that_of_the_blocks_it_runs(layers, order, length):
    order = min(order, layers)
    model, samples = wrapped("olmo2", layers), random_samples([(length, 1), (length, 1)])
    ran = 0

    def count(_block, args):
        nonlocal ran
        ran += args[0].shape[0] * args[0].shape[1]

    handles = [block._module.register_forward_pre_hook(count) for block in model.blocks]
    try:
        vectors = random_vectors(2, layers)
        sweep(model, samples, vectors, order=order, memory_budget=2**30, runner=fan_out)
    finally:
        for handle in handles:
            handle.remove()
    tokens = sum(len(sample.target) for sample in samples)
    of = SimpleNamespace(
        layers=layers, parameters=1, tokens=SimpleNamespace(target=tokens), run=lambda n: 2.0 * n
    )
    assert asks.Asked.sweep(of, order) == pytest.approx(2.0 * ran / layers)


def test_parameters_are_counted_from_headers(checkpoint, tmp_path):
    found = checkpoints.load(checkpoints.resolve(str(checkpoint))).model
    assert checkpoints.parameters(checkpoints.resolve(str(checkpoint))) == found.num_parameters()
    path = tmp_path / "llama.gguf"
    model, _ = write_llama(path)
    assert checkpoints.parameters(checkpoints.resolve(str(path))) == model.num_parameters()


def test_the_estimate_follows_samples_and_orders(planned):
    def flop(*options):
        found = planned(*options, "-k", "adj_ant", only=["claims.test_localization"])
        return {one.method: one.flop for one in found.planned.values()}

    singles, pairs = flop("--orders", "1"), flop("--orders", "1,2")
    few = flop("--orders", "1,2", "--samples", "4")
    assert pairs["sweep contrast paper"] > singles["sweep contrast paper"]
    assert pairs["behaviour"] == singles["behaviour"] > few["behaviour"]


def test_each_task_and_checkpoint_has_its_own_costs(planned, tmp_path):
    def flop(*options):
        found = planned(*options, "--measure-anyway", only=["claims.test_localization"])
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


# ---------------------------------------------------------------------------------------- text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 "), (3, "3.0 "), (9.96, "10 "), (999.4, "999 "), (999.6, "1.0 k"), (2.34e15, "2.3 P")],
)
def test_numbers_have_two_digits_and_a_prefix(number, text):
    assert prefixed(number) == text


def test_tables_add_up_and_the_listing_names_each():
    every = [
        Planned("one", "adj", "runs", "stored", 4e9),
        Planned("one", "adj", "sweep", "missing", 5e12),
        Planned("two", "adj", "sweep", "open", 2e12),
    ]
    found = Plan(
        planned={(str(i),): one for i, one in enumerate(every)},
        cells={"one": 3, "two": 1, "bad": 2},
        parameters={"one": 1_700_000, "two": 135_000_000},
        problems={"bad": "damaged"},
    )
    text = list(lines(found, listing=True))
    assert text[:3] == [
        "in the store: one adj runs",
        "to make: one adj sweep, 5.0 TFLOP at most",
        "open: two adj sweep, 2.0 TFLOP at most",
    ]
    tables = [line.split() for line in text[4:]]
    assert tables[1] == [*("one", "3", "1.7", "M", "2", "1", "1", "0", "5.0", "T")]
    assert tables[2] == [*("two", "1", "135", "M", "1", "0", "0", "1", "2.0", "T")]
    assert tables[-2] == [*("all", "3", "1", "1", "1", "7.0", "T")]
    assert text[-1] == "not planned: bad: damaged"
    assert list(lines(found, listing=False)) == text[4:]


def test_claims_on_published_numbers_need_nothing(judge):
    result = judge("--plan", only=["claims.test_published_audit"])
    result.stdout.fnmatch_lines(["the selected cells need no measurements"])


# ---------------------------------------------------------------------------------------- at size


def test_a_large_plan_is_what_executors_make_and_nothing_twice(pytester, monkeypatch):
    # It asserts as much itself; its files are here.
    large_plan.write_run(pytester.path, 3)
    monkeypatch.setattr("ivfixtures.executors.dispatch.POLL", 0.01)
    simulated = large_plan.Simulated(stub=0.0, workers=4)
    result = pytester.runpytest_inprocess(
        *("--pyargs", large_plan.CLAIM, "--checkpoint", "run", "--tasks", "tasks"),
        *("-p", "no:cacheprovider"),
        plugins=[simulated],
    )
    assert result.ret == pytest.ExitCode.OK, printed(result)
    assert simulated.found["measurements"] == 3 * large_plan.TASKS * 10

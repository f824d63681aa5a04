"""Executors: the same evidence whoever measures, and one line for what goes wrong."""

import contextlib
import errno
import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections import deque
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

import ivfixtures.measuring.measurements  # noqa: F401 - lest runs in this process import their own
import ivmethods.methods  # noqa: F401
from ivevidence import read_evidence
from ivevidence.store.places import Folder
from ivfixtures.checkpoints.resolving import resolve
from ivfixtures.data.instructed import InstructedData
from ivfixtures.data.tasks import load_tasks
from ivfixtures.measuring.executors import ExecutorError
from ivfixtures.measuring.executors.dispatch import Dispatch, Jobs
from ivfixtures.measuring.executors.jobs import Job, JobFolder, Result
from ivfixtures.measuring.executors.processes import Processes
from ivfixtures.measuring.executors.waves import Waves
from ivfixtures.measuring.executors.worker import run_job
from ivfixtures.measuring.inquiry import Declared, Inquiry
from ivfixtures.measuring.lookups import ReadOnlyStore
from ivfixtures.measuring.measurements import Measurements
from ivfixtures.suite import executing
from ivmethods.model.methods import Runs
from tests.executor_faults import FAULT, write_pack
from tests.running import OPTIONS, PACK, printed, saved

needs_submitit = pytest.mark.skipif(not find_spec("submitit"), reason="submitit is not installed")
needs_ray = pytest.mark.skipif(not find_spec("ray"), reason="ray is not installed")


class Here:
    """An executor that runs jobs in this very process, one a poll."""

    outlives = False

    def __init__(self):
        self.ran, self.queue, self.cancelled, self.waits = [], deque(), False, set()

    def start(self, jobs):
        pass

    def submit(self, jobs):
        self.queue.extend(jobs)

    def adopt(self, job):
        return job.job.digest in self.waits

    def poll(self):
        if not self.queue:
            return {}
        job = self.queue.popleft()
        self.ran.append(job.job.label)
        try:
            run_job(job.path)
        except SystemExit as error:
            return {job.job.digest: f"it ended with exit status {error.code}"}
        return {job.job.digest: ""}

    def cancel(self):
        self.cancelled = True

    def close(self):
        pass


@pytest.fixture
def here(monkeypatch):
    """Runs with `--executor processes` have their jobs run in this process."""
    executor = Here()
    found = executing.executor_of

    def instead(config):
        return executor if found(config) else None

    monkeypatch.setattr(executing, "executor_of", instead)
    return executor


AWAY = ("--executor", "processes")


def evidence_in(folder):
    """All that evidence says, but for dates and seconds; and the store's files."""
    found = read_evidence(Path(folder, "reports", "claims.evidence.json"))
    cells = [cell.to_json() for cell in found.cells]
    for cell in cells:
        cell["provenance"].pop("seconds")
    kept = {path.name: path.read_bytes() for path in Path(folder, ".ivclaims").glob("*.*")}
    return cells, [vars(error) for error in found.errors], kept


def cleared(folder):
    shutil.rmtree(Path(folder, ".ivclaims"), ignore_errors=True)
    shutil.rmtree(Path(folder, "reports"), ignore_errors=True)


def test_jobs_and_results_travel_as_json(tmp_path):
    job = Job("a", ({"key": "d"},), {"rows": [1]}, {"dtype": "float32"}, str(tmp_path), ("p",))
    folder = JobFolder(tmp_path / job.name, job)
    folder.prepare()
    assert JobFolder.open(folder.path).job == job
    assert folder.result() is None
    result = Result(job.digest, {"e": "line"}, ("e",), None, 1, ("full",), 2, 3, ("d",), 1.5, {})
    folder.finish(result)
    assert folder.result() == result
    assert not result.is_whole
    folder.prepare()
    assert folder.result() is None
    folder.finish(Result("of another job"))
    assert folder.result() is None


def test_evidence_is_the_same_whoever_measures(judge, here, pytester):
    judge("--measure-anyway")
    alone = evidence_in(pytester.path)
    cleared(pytester.path)
    result = judge("--measure-anyway", *AWAY)
    assert evidence_in(pytester.path) == alone
    assert len(here.ran) == 3  # gates, needs, and the controls of what was chosen
    assert "done, " in printed(result)


def test_a_store_at_a_url_is_filled_and_the_jobs_lie_beside_the_run(judge, here, pytester):
    judge("--measure-anyway")
    alone, *_ = evidence_in(pytester.path)
    cleared(pytester.path)
    url = f"memory://{pytester.path.name}/store"
    judge("--measure-anyway", *AWAY, "--store", url)
    assert evidence_in(pytester.path)[0] == alone
    assert not list((pytester.path / ".ivclaims").glob("*"))
    assert len(list((pytester.path / ".ivclaims-jobs").glob("*/result.json"))) == 3
    judge("--measure-anyway", *AWAY, "--store", url)
    assert len(here.ran) == 3


def test_the_controller_loads_no_weights(judge, here, pytester, monkeypatch):
    judge("--measure-anyway", *AWAY, only=[f"{PACK}.test_tinst_path_dominance"])
    before = evidence_in(pytester.path)
    monkeypatch.setattr("ivfixtures.measuring.measurements.load", lambda *_, **__: 1 / 0)
    judge("--measure-anyway", *AWAY, only=[f"{PACK}.test_tinst_path_dominance"])
    assert evidence_in(pytester.path) == before
    assert len(here.ran) == 2


def test_what_is_done_is_not_submitted_again_and_what_is_lost_is(judge, here, pytester):
    judge("--measure-anyway", *AWAY)
    waves = len(here.ran)
    again = judge("--measure-anyway", *AWAY)
    again.stdout.fnmatch_lines(["measurements: nothing measured *"])
    assert len(here.ran) == waves
    path = next((pytester.path / ".ivclaims").glob("*.json"))
    content = path.read_bytes()
    path.unlink()
    judge("--measure-anyway", *AWAY)
    assert len(here.ran) == waves + 1
    assert path.read_bytes() == content


def test_what_is_damaged_in_the_store_is_measured_again(judge, here, pytester):
    judge("--measure-anyway", *AWAY)
    found, waves = evidence_in(pytester.path), len(here.ran)
    for path in (pytester.path / ".ivclaims").glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        judge("--measure-anyway", *AWAY)
    assert evidence_in(pytester.path) == found
    assert len(here.ran) > waves


def test_cells_about_families_find_what_was_measured_for_others(here, pytester):
    def judge(*options):
        return pytester.runpytest_inprocess(
            *("--pyargs", f"{PACK}.test_superadditivity", f"{PACK}.test_stages", "--samples", "8"),
            *("-k", "adj_ant and superadd and not logit", "--family", "tiny-olmo2"),
            *("--set", "instruction_vectors.orders=1,2", "--measure-anyway"),
            *("-p", "no:cacheprovider", *options),
        )

    judge()
    alone = evidence_in(pytester.path)
    assert {f"instruction_vectors/{name}" for name in ("stages", "superadditivity")} == {
        cell["claim"]["name"] for cell in alone[0]
    }
    cleared(pytester.path)
    judge(*AWAY)
    assert evidence_in(pytester.path) == alone
    stages = [name.rpartition("-")[2] for name in here.ran]
    assert stages[:3] == ["base", "sft", "dpo"]
    assert len(stages) == len({*stages}) * (len(stages) // 3)


def test_an_error_is_that_of_its_request_and_the_rest_goes_on(judge, here, pytester, monkeypatch):
    def failing(self, inputs, running):
        if running.data.name == "adj_ant":
            raise ZeroDivisionError("in the worker")
        return compute(self, inputs, running)

    compute = Runs.compute
    monkeypatch.setattr(Runs, "compute", failing)
    judge("--measure-anyway")
    alone = evidence_in(pytester.path)
    cleared(pytester.path)
    result = judge("--measure-anyway", *AWAY)
    cells, errors, _ = evidence_in(pytester.path)
    assert (cells, errors) == alone[:2]
    assert {cell["task"] for cell in cells} == {"adj_comp"}
    assert {error["message"] for error in errors} == {"ZeroDivisionError: in the worker"}
    assert len(errors) == 3
    assert "done with 1 errors" in printed(result)
    assert "Traceback" not in printed(result)
    monkeypatch.setattr(Runs, "compute", compute)
    judge("--measure-anyway", *AWAY)  # what failed is submitted again
    assert not evidence_in(pytester.path)[1]


def test_a_full_store_is_one_line_a_cell(judge, here, monkeypatch):
    def full(self, name, content):
        if name.endswith((".json", ".safetensors")):
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, name, content)

    write = Folder.write
    monkeypatch.setattr(Folder, "write", full)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        result = judge("--measure-anyway", *AWAY)
    text = printed(result)
    assert "measurement of behaviour=missing, but should be in the store" in text
    assert "could not keep it: measurements are not kept for later runs" in text
    assert "No space left on device" in text
    assert "6 cells could not be judged" in text
    assert len(here.ran) == 1


def test_a_job_that_dies_says_so_and_what_is_there_is_judged(judge, here, pytester, monkeypatch):
    def dying(*arguments, **options):
        raise SystemExit(7)

    monkeypatch.setattr("ivmethods.patching.methods.effects_of", dying)
    result = judge("--measure-anyway", *AWAY)
    evidence = read_evidence(pytester.path / "reports" / "claims.evidence.json")
    assert not evidence.cells
    assert "died: it ended with exit status 7" in printed(result)
    assert evidence.errors
    for error in evidence.errors:
        assert "but should be in the store" in error.message
        assert "\n" not in error.message


def test_the_controller_does_not_measure(judge, here, monkeypatch, pytester):
    monkeypatch.setattr(Here, "poll", lambda self: dict.fromkeys(j.job.digest for j in self.queue))
    result = judge("--measure-anyway", *AWAY)
    assert "measurements: " not in printed(result)
    errors = read_evidence(pytester.path / "reports" / "claims.evidence.json").errors
    assert len(errors) == 6
    assert all("but should be in the store" in error.message for error in errors)
    assert not list((pytester.path / ".ivclaims").glob("*.safetensors"))


def test_a_job_that_cannot_be_read_says_why(judge, here, monkeypatch):
    def broken(path):
        with monkeypatch.context() as patch:
            patch.delattr("ivmethods.model.methods.Runs")
            return running(path)

    running = run_job
    monkeypatch.setattr(sys.modules[__name__], "run_job", broken)
    text = printed(judge("--measure-anyway", *AWAY))
    assert (
        "failed: type=ivmethods.model.methods:Runs, but should be importable by the worker" in text
    )
    assert "6 cells could not be judged" in text


def test_collecting_runs_no_job(judge, here):
    judge("--collect-only", *AWAY)
    assert not here.ran


def test_published_numbers_need_no_job(judge, here):
    judge(*AWAY, "-k", "stage or all", only=[f"{PACK}.test_published_audit"])
    assert not here.ran


class Lines:
    """A screen where lines stay."""

    def __init__(self):
        self.lines = []

    def line(self, text):
        self.lines.append(text)

    def passing(self, text):
        return False


def jobs_in(folder, number):
    jobs = [Job(f"c{i}", (), {}, {}, str(folder)) for i in range(number)]
    return [JobFolder(folder / job.name, job) for job in jobs]


def test_many_jobs_have_few_lines(tmp_path, monkeypatch):
    class Quick(Here):
        def poll(self):
            job = self.queue.popleft()
            job.tell(1, "something")
            job.finish(Result(job.job.digest))
            return {job.job.digest: ""}

    monkeypatch.setattr("ivfixtures.measuring.executors.dispatch.POLL", 0)
    screen, jobs = Lines(), Jobs()
    assert Dispatch(jobs, Quick(), screen).run(jobs_in(tmp_path, 100)) == []
    assert len(jobs.results) == 100
    assert len(screen.lines) <= 2


def test_of_thousands_under_way_only_a_few_are_asked_what_they_do(tmp_path, monkeypatch):
    class Slow(Here):
        def poll(self):
            self.polls = getattr(self, "polls", 0) + 1
            return {} if self.polls == 1 else dict.fromkeys(j.job.digest for j in self.queue)

    asked = []
    monkeypatch.setattr(JobFolder, "progress", lambda job: asked.append(job) or {})
    monkeypatch.setattr("ivfixtures.measuring.executors.dispatch.POLL", 0)
    Dispatch(Jobs(), Slow(), Lines()).run(jobs_in(tmp_path, 200))
    assert len(asked) == 40


def test_a_job_that_runs_already_is_waited_for_and_the_new_one_is_not_submitted(tmp_path):
    class Adopting(Here):
        def poll(self):
            earlier.finish(Result(earlier.job.digest))
            return {earlier.job.digest: ""}

    (job,), jobs, executor, screen = jobs_in(tmp_path, 1), Jobs(), Adopting(), Lines()
    other = Job("c0", ({"key": "another's"},), {}, {}, str(tmp_path))
    earlier = JobFolder(tmp_path / other.name, other)
    earlier.prepare()
    earlier.submitted({"executor": "slurm"})
    executor.waits = {other.digest}
    assert Dispatch(jobs, executor, screen).run([job]) == [job]
    assert not executor.queue
    assert screen.lines[0] == "job c0: submitted by an earlier run, waited for"
    assert [*jobs.results] == [other.digest]
    assert Dispatch(jobs, Here(), screen).run([job], wait=False) == []


def test_a_run_that_is_stopped_cancels_its_jobs(tmp_path):
    class Stopped(Here):
        def poll(self):
            raise KeyboardInterrupt

    executor = Stopped()
    with pytest.raises(KeyboardInterrupt):
        Dispatch(Jobs(), executor, Lines()).run(jobs_in(tmp_path, 2))
    assert executor.cancelled


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--workers", "2"], "*--workers is for --executor processes or --executor ray*"),
        (["--detach", "--executor", "processes"], "*--detach is for --executor slurm or*"),
        (["--ray-address", "x:1"], "*--ray-address is for --executor ray*"),
        (["--slurm", "gpus=1"], "*--slurm is for --executor slurm*"),
        (["--executor", "ray", "--detach"], "*--detach needs --ray-address*"),
        (["--executor", "processes", "--workers", "0"], "*--workers=0, but should be at least 1*"),
        (["--executor", "processes", "-n", "2"], "*should be left out with pytest-xdist*"),
        (["--executor", "cloud"], "*invalid choice: 'cloud'*"),
    ],
)
def test_a_wrong_option_is_one_line(judge, pytester, options, line):
    result = judge(*options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([line])
    assert not (pytester.path / ".ivclaims").exists()


@pytest.mark.parametrize(("executor", "package"), [("slurm", "submitit"), ("ray", "ray")])
def test_a_missing_extra_is_one_line(judge, monkeypatch, executor, package):
    module = "slurm" if executor == "slurm" else "ray_actors"
    monkeypatch.delitem(sys.modules, f"ivfixtures.measuring.executors.{module}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    result = judge("--executor", executor)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{package}=missing*pip install 'ivclaims*{executor}*'"])


ELSEWHERE = {
    "processes": ("--executor", "processes", "--workers", "2"),
    "slurm": ("--executor", "slurm", "--slurm", "cluster=local"),
    "ray": ("--executor", "ray", "--workers", "2"),
}
executors = pytest.mark.parametrize(
    "executor",
    [
        "processes",
        pytest.param("slurm", marks=needs_submitit),
        pytest.param("ray", marks=needs_ray),
    ],
)


@pytest.fixture
def two(checkpoint, tmp_path):
    """Folders of two checkpoints; the same weights twice would be measured once."""
    shutil.copytree(checkpoint, tmp_path / "one")
    return [tmp_path / "one", saved("olmo2", tmp_path / "two", layers=2)]


@pytest.fixture
def start(two, tasks, tmp_path, monkeypatch):
    """Start a run on two checkpoints in a process of its own, of a pack that may fail."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    pack = write_pack(tmp_path / "faults")
    chosen = [word for folder in two for word in ("--checkpoint", folder)]
    plugins = ("-p", "no:cacheprovider", "-o", "addopts=")

    def start(*options, fault="", only=(pack,)):
        monkeypatch.setenv(FAULT, fault)
        words = (*only, *chosen, "--tasks", tasks, "--samples", "8", *plugins, *options)
        command = [sys.executable, "-m", "pytest", *map(str, words)]
        return subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    return start


@pytest.fixture
def run(start):
    """What such a run printed."""

    def run(*options, **more):
        return start(*options, **more).communicate(timeout=300)[0]

    return run


@pytest.fixture
def told(tmp_path):
    """A folder for what workers leave."""
    (tmp_path / "told").mkdir()
    return tmp_path / "told"


def counted(folder):
    """What was measured, as often as it was."""
    return sorted(path.name.partition(".")[0] for path in folder.iterdir())


def label(folder):
    return resolve(str(folder)).label


@pytest.mark.slow
@executors
def test_evidence_is_the_same_from_other_processes(run, tmp_path, executor):
    words = ("--measure-anyway", "--set", "instruction_vectors.orders=1")
    only = ("--pyargs", f"{PACK}.test_localization")
    run(*words, only=only)
    alone = evidence_in(tmp_path)
    assert len(alone[0]) == 4
    cleared(tmp_path)
    text = run(*words, *ELSEWHERE[executor], only=only)
    assert evidence_in(tmp_path) == alone, text
    assert "died" not in text


def test_what_cannot_be_run_there_is_not_applicable_as_it_is_here(run, tmp_path):
    run("--measure-anyway", fault="cannot")
    alone = [cell["decision"] for cell in evidence_in(tmp_path)[0]]
    assert {decision["verdict"] for decision in alone} == {"not_applicable"}
    cleared(tmp_path)
    run("--measure-anyway", *ELSEWHERE["processes"], fault="cannot")
    assert [cell["decision"] for cell in evidence_in(tmp_path)[0]] == alone


@pytest.mark.slow
@executors
def test_a_pack_of_a_stranger_is_measured_as_ours_are(run, told, tmp_path, executor):
    run("--measure-anyway")
    alone = evidence_in(tmp_path)
    assert len(alone[0]) == 4
    cleared(tmp_path)
    text = run("--measure-anyway", *ELSEWHERE[executor], fault=f"count {told}")
    assert evidence_in(tmp_path) == alone, text
    assert len(counted(told)) == 12


def test_a_worker_starts_no_pytest_and_imports_what_a_stranger_measures(
    told, tmp_path, monkeypatch
):
    write_pack(tmp_path / "faults")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(FAULT, f"told {told}")
    step = importlib.import_module("faults.methods").Step
    task = load_tasks()["adj_ant"]
    data = InstructedData(resolve("tiny-olmo2-sft"), task, OPTIONS)
    store = ReadOnlyStore(Folder(tmp_path / "store"))
    measurements = Measurements(store, device="cpu", dtype="float32")
    declared = Declared(needs={"one": step("a", 1), "two": step("a", 2)})
    waves = Waves({"": lambda: Inquiry(declared, [data], None)}, measurements, tmp_path / "jobs")
    executor, jobs = Processes("cpu", 1), Jobs()
    executor.start(1)
    while wave := waves.next(store.digests()):
        Dispatch(jobs, executor, Lines()).run(wave)
    results = jobs.results.values()
    assert all(result.is_whole for result in results)
    assert [result.measured for result in results] == [1, 2]  # the answers first
    for path in told.iterdir():
        names = {*path.read_text().split()}
        assert {"faults", "ivfixtures", "torch"} <= names
        assert not names & {"pytest", "_pytest", "claims"}
    assert len([*told.iterdir()]) == 2


@pytest.mark.slow
@executors
def test_a_killed_worker_is_one_line_and_the_next_run_goes_on(run, two, told, tmp_path, executor):
    text = run("--measure-anyway", *ELSEWHERE[executor], fault=f"kill {label(two[0])}")
    said = [line for line in text.splitlines() if line.startswith(f"job {label(two[0])}: died: ")]
    assert len(said) == 1, text
    assert f"job {label(two[1])}: done, " in text
    cells, errors, _ = evidence_in(tmp_path)
    assert {cell["checkpoint"] for cell in cells} == {str(two[1])}
    assert len(errors) == 2
    for error in errors:
        assert "but should be in the store" in error["message"]
        assert f"the job of {label(two[0])} died: " in error["message"]
    again = run("--measure-anyway", *ELSEWHERE[executor], fault=f"count {told}")
    assert len(evidence_in(tmp_path)[0]) == 4, again
    assert {name.partition(" ")[0] for name in counted(told)} == {label(two[0])}


@pytest.mark.slow
@executors
def test_a_full_store_is_told_by_every_worker(run, tmp_path, executor):
    text = run("--measure-anyway", *ELSEWHERE[executor], fault="full")
    assert text.count("could not keep it: measurements are not kept") >= 4, text
    assert "No space left on device" in text
    cells, errors, kept = evidence_in(tmp_path)
    assert (len(cells), len(errors)) == (0, 4)
    assert not kept


@pytest.mark.slow
@executors
def test_two_runs_at_once_measure_once(start, told, tmp_path, executor):
    words = ("--measure-anyway", *ELSEWHERE[executor])
    both = [start(*words, "--html", f"{name}/claims.html", fault=f"count {told}") for name in "ab"]
    texts = [process.communicate(timeout=400)[0] for process in both]
    made = counted(told)
    assert len(made) == len({*made}) == 12
    for name, text in zip("ab", texts, strict=True):
        assert len(read_evidence(tmp_path / name / "claims.evidence.json").cells) == 4, text


@pytest.fixture
def interruptible():
    """Processes that tests start heed Ctrl-C, also where these tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@executors
def test_ctrl_c_ends_what_was_submitted(start, two, tmp_path, executor, interruptible):
    process = start("--measure-anyway", *ELSEWHERE[executor], fault="slow")
    lines = []
    for line in process.stdout:
        lines.append(line)
        if sum(": started, " in said for said in lines) == 2:
            break
    time.sleep(1)  # into the measurements
    assert workers(tmp_path)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    until = time.monotonic() + 30
    while workers(tmp_path) and time.monotonic() < until:
        time.sleep(0.2)
    assert not workers(tmp_path), "".join(lines)


def workers(folder):
    """Processes that work on jobs of a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, cwd = (process / "cmdline").read_bytes(), os.readlink(process / "cwd")
        except OSError:
            continue
        work = b"executors.worker" in command or b"submitit" in command or b"ray::" in command
        if work and cwd == str(folder):
            found.append(int(process.name))
    return found


@pytest.mark.slow
@needs_submitit
def test_what_is_detached_is_picked_up(start, run, told, tmp_path):
    words = ("--measure-anyway", *ELSEWHERE["slurm"])
    left = start(*words, "--detach", fault=f"linger {told}")
    assert left.wait(timeout=120) == 0  # its output ends with its jobs, which have inherited it
    assert not (tmp_path / "reports" / "claims.evidence.json").exists()
    text = run(*words, fault=f"count {told}")
    said = left.communicate()[0]
    assert "2 jobs are left to themselves; the same command goes on from what they measure" in said
    assert text.count("submitted by an earlier run, waited for") == 2
    assert len(evidence_in(tmp_path)[0]) == 4, text
    made = counted(told)
    assert len(made) == len({*made}) == 12


def all_cells(folder, *options):
    """Evidence of all cells of the embedded families."""
    words = ("-p", "no:cacheprovider", "-o", "addopts=", "--pyargs", "claims")
    command = [sys.executable, "-m", "pytest", *words, *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    return evidence_in(folder)


@pytest.fixture(scope="module")
def every_cell(tmp_path_factory):
    """That of a process that measures itself."""
    return all_cells(tmp_path_factory.mktemp("inprocess"))


@pytest.mark.slow
@executors
def test_all_cells_of_the_embedded_families_are_the_same(every_cell, tmp_path, executor):
    found = all_cells(tmp_path, *ELSEWHERE[executor])
    assert found == every_cell
    assert len(found[0]) > 100
    assert not found[1]


@pytest.fixture
def cluster(monkeypatch):
    """A submitit that keeps what is submitted, an array a list."""
    slurm = pytest.importorskip("ivfixtures.measuring.executors.slurm")
    found = SimpleNamespace(arrays=[], cancelled=[], given={}, full_after=None)

    class Recording:
        def __init__(self, *_, **__):
            pass

        def update_parameters(self, **given):
            found.given = given

        @contextlib.contextmanager
        def batch(self):
            if len(found.arrays) == found.full_after:
                raise RuntimeError("sbatch: error: QOSMaxSubmitJobPerUserLimit")
            found.arrays.append([])
            yield

        def submit(self, _task, path):
            found.arrays[-1].append(path)
            number = f"{len(found.arrays)}_{len(found.arrays[-1]) - 1}"
            cancel = partial(found.cancelled.append, path)
            return SimpleNamespace(job_id=number, done=lambda: False, cancel=cancel)

    monkeypatch.setattr(slurm.submitit, "AutoExecutor", Recording)
    monkeypatch.setattr(slurm, "MOST_IN_ARRAY", 3)
    found.slurm = slurm.Slurm(["cluster=local"])
    return found


def prepared(folder, number):
    jobs = jobs_in(folder, number)
    for job in jobs:
        job.prepare()
    return jobs


@needs_submitit
def test_more_jobs_than_an_array_may_have_are_several_arrays(cluster, tmp_path):
    first, second = prepared(tmp_path, 7), prepared(tmp_path / "second", 2)
    cluster.slurm.submit(first)
    cluster.slurm.submit(second)
    assert [len(array) for array in cluster.arrays] == [3, 3, 1, 2]
    assert [path for array in cluster.arrays[:3] for path in array] == [str(j.path) for j in first]
    assert first[4].handle()["id"] == "2_1"


@needs_submitit
def test_what_was_submitted_before_an_array_was_refused_is_known(cluster, tmp_path):
    cluster.full_after, jobs = 1, prepared(tmp_path, 5)
    with pytest.raises(ExecutorError, match=r"sbatch=.*QOSMaxSubmitJob.*, but should be ready"):
        cluster.slurm.submit(jobs)
    cluster.slurm.cancel()
    assert cluster.cancelled == [str(job.path) for job in jobs[:3]]


@needs_submitit
def test_many_tasks_are_not_looked_at_at_every_call(cluster, tmp_path, monkeypatch):
    asked, jobs = [], prepared(tmp_path, 20)
    monkeypatch.setattr(JobFolder, "result", lambda job: asked.append(job))
    cluster.slurm.submit(jobs)
    for _ in range(5):
        cluster.slurm.poll()
    assert len(asked) == 20


@needs_submitit
@pytest.mark.parametrize(
    ("given", "line"),
    [
        ([], "*sbatch=missing, but should be a command on the PATH*"),
        (["--slurm", "colour=red"], "*--slurm=colour=red, but should be KEY=VALUE with a key of*"),
        (["--slurm", "gpus=many"], "*--slurm gpus=many, but should be a number*"),
        (["--slurm", "time=soon"], "*--slurm time=soon, but should be minutes*"),
    ],
)
def test_slurm_is_looked_for_before_anything_is_measured(judge, monkeypatch, given, line, pytester):
    monkeypatch.setenv("PATH", "/nowhere")
    result = judge("--executor", "slurm", *given)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([line])
    assert not (pytester.path / ".ivclaims").exists()


@needs_submitit
@pytest.mark.parametrize(
    ("text", "minutes"),
    [("90", 90), ("30:00", 30), ("2:00:30", 121), ("1-0", 1440), ("1-02:30", 1590)],
)
def test_times_are_read_as_sbatch_reads_them(cluster, tmp_path, text, minutes):
    of_time = type(cluster.slurm)
    of_time(["cluster=local", f"time={text}"]).submit(prepared(tmp_path, 1))
    assert cluster.given["timeout_min"] == minutes
    with pytest.raises(ExecutorError, match="minutes"):
        of_time(["cluster=local", f"time={text}:x"])


@needs_ray
@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nonsense:port", "::"])
def test_a_ray_that_is_not_there_is_one_line(judge, address):
    result = judge("--executor", "ray", "--ray-address", address)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--ray-address=*but should be a running Ray*"])

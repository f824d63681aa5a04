"""How planning grows: N checkpoints x 8 tasks, their measurements replaced by stubs.

    python -m benchmarks.large_plan [--steps N ...] [--stub SECONDS] [--workers N]

Each size is a process of its own: it collects the cells, plans them as `--plan` does, makes the
jobs of an executor's first wave, and dispatches them to threads. These ask the store for what each
job wants; a stub that takes a known time stands for what is not there. Nothing else is replaced:
the checkpoints (steps of a training run, of one tensor), tasks, cells, store and leases. If a
measurement was made twice, or the plan lacks one, nothing is printed.
"""

import argparse
import json
import random
import resource
import shutil
import string
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from ivevidence import Store
from ivevidence.store.measurements import Computed
from ivevidence.store.places import Place
from ivfixtures.checkpoints.registry import resolve
from ivfixtures.measuring.executors.dispatch import Dispatch, Jobs
from ivfixtures.measuring.executors.jobs import JOB, JobFolder, Result
from ivfixtures.suite.plugin import RUN_NAME

MODEL = "tiny-olmo2-sft"  # whose configuration and tokenizer the checkpoints have
CLAIM = "claims.instruction_vectors.test_localization"
TASKS, ROWS = 8, 100


def main() -> None:
    """Print a row a size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, nargs="+", default=[250, 500, 1000, 2000])
    parser.add_argument("--stub", type=float, default=0.001)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(simulate(options.inside, options.stub, options.workers)))
        return
    print(f"{TASKS} tasks, {CLAIM}, stubs of {options.stub:g} s on {options.workers} threads")
    for steps in options.steps:
        with tempfile.TemporaryDirectory() as folder:
            write_run(Path(folder), steps)
            command = [sys.executable, "-m", "benchmarks.large_plan", "--inside", folder]
            command += ["--stub", str(options.stub), "--workers", str(options.workers)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
        show(steps, json.loads(done.stdout.splitlines()[-1]))


def show(steps: int, found: Mapping[str, float]) -> None:
    """Print what was found of one size."""
    each, first = 1000 / found["measurements"], 1000 / found["first"]
    print(
        f"{steps} checkpoints, {found['measurements']:.0f} measurements: collected in "
        f"{found['collecting']:.1f} s, planned in {found['planning']:.1f} s "
        f"({found['planning'] * each:.2f} ms each); of the first wave, {found['first']:.0f}: jobs "
        f"made in {found['jobs']:.1f} s ({found['folders'] / 2**20:.0f} MiB), dispatched with "
        f"{found['overhead'] * first:.2f} ms each beside the stubs; "
        f"{found['peak'] / 2**20:.0f} MiB at most"
    )


def write_run(folder: Path, steps: int) -> None:
    """A training run of checkpoints that differ in their weights, and a folder of tasks."""
    origin = Path(resolve(MODEL).source)
    layers = json.loads((origin / "config.json").read_text())["num_hidden_layers"]
    for step in range(1, steps + 1):
        path = folder / "run" / f"step-{step}"
        path.mkdir(parents=True)
        for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
            shutil.copy(origin / name, path)
        # The last layer's: a checkpoint without it would be refused.
        tensors = {f"model.layers.{layers - 1}.weight": np.full(4, step, np.float32)}
        save_file(tensors, path / "model.safetensors")
    draw, tables = random.Random(0), []
    (folder / "tasks").mkdir()
    names = [f"task_{number}" for number in range(TASKS)]
    words = ["".join(draw.choices(string.ascii_lowercase, k=5)) for _ in range(ROWS * (TASKS + 1))]
    rows = [",".join(words[i : i + TASKS + 1]) for i in range(0, len(words), TASKS + 1)]
    (folder / "tasks" / "words.csv").write_text("\n".join([",".join(["query", *names]), *rows]))
    for name, contrast in zip(names, [names[i ^ 1] for i in range(TASKS)], strict=True):
        tables.append(
            f'[{name}]\nfile = "words.csv"\nanswer = "{name}"\ncontrast = "{contrast}"\n'
            f'instruction = "State the {name} of a word."\nprompt = "Word: {{query}}. Answer:"\n'
            f'valid_columns = ["{name}"]\n'
        )
    (folder / "tasks" / "tasks.toml").write_text("\n".join(tables))


def simulate(folder: Path, stub: float, workers: int) -> dict[str, float]:
    """Plan and dispatch the run of a folder; seconds, bytes and the number of measurements."""
    simulated = Simulated(stub, workers)
    arguments = ["--pyargs", CLAIM, "--checkpoint", str(folder / "run"), "--store"]
    arguments += [str(folder / "store"), "--tasks", str(folder / "tasks"), "--rootdir", str(folder)]
    settings = ["-q", "-p", "no:cacheprovider", "--html", str(folder / "report.html")]
    simulated.started = time.perf_counter()
    code = pytest.main([*arguments, *settings], plugins=[simulated])
    assert code == 0, code
    return simulated.found


class Simulated:
    """Plugin that plans and dispatches, and judges nothing."""

    def __init__(self, stub: float, workers: int) -> None:
        self.stub, self.workers, self.started = stub, workers, 0.0
        self.found: dict[str, float] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Do so in place of judging."""
        # Not before pytest's plugins: nnsight adds a `save` to all objects.
        from ivfixtures.measuring.executors.waves import Waves, jobs_folder
        from ivfixtures.suite.planning import Planner
        from ivfixtures.suite.plugin import cell_of
        from ivfixtures.suite.selection import subject_of

        run: Any = session.config.pluginmanager.get_plugin(RUN_NAME)

        def cell(item: pytest.Item) -> Any:
            subject = subject_of(item)
            assert subject
            run.turn_to(subject)
            return cell_of(item, subject, run)

        times = [time.perf_counter()]
        planner = Planner(run)
        for item in session.items:
            planner.add(item)
        times.append(time.perf_counter())
        folder = jobs_folder(run.store.place, run.folder)
        inquiries = {item.nodeid: partial(cell, item) for item in session.items}
        waves = Waves(inquiries, run.measurements, folder)
        wave, jobs = waves.next(frozenset()), Jobs()
        times.append(time.perf_counter())
        stubs = Stubs(run.store.place, self.stub, self.workers)
        Dispatch(jobs, stubs, run.screen).run(wave)
        times.append(time.perf_counter())
        made, planned = stubs.made, planner.plan.planned
        assert {*made.values()} == {1}, "a measurement was made twice"
        assert {(digest,) for digest in made} <= planned.keys(), "the plan lacks a measurement"
        assert not jobs.died, jobs.died
        collected, *_ = times
        self.found = {
            "measurements": len(planned),
            "first": len(made),
            "collecting": collected - self.started,
            "planning": times[1] - collected,
            "jobs": times[2] - times[1],
            "overhead": times[3] - times[2] - self.stub * len(made) / self.workers,
            "folders": sum(job.path.joinpath(JOB).stat().st_size for job in wave),
            "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
        run.end_unjudged()
        return True


class Stubs:
    """An executor that asks the store for what jobs want, in threads."""

    outlives = False

    def __init__(self, place: Place, seconds: float, workers: int):
        self._store, self._seconds = Store(place), seconds
        self._pool = ThreadPoolExecutor(workers)
        self._lock = threading.Lock()
        self._under_way: deque[tuple[JobFolder, Future[None]]] = deque()
        self.made: Counter[str] = Counter()

    def start(self, jobs: int) -> None:
        """Nothing has to be reached."""

    def submit(self, jobs: Sequence[JobFolder]) -> None:
        """Queue jobs."""
        self._under_way.extend((job, self._pool.submit(self._do, job)) for job in jobs)

    def adopt(self, job: JobFolder) -> bool:
        """There was no earlier run."""
        return False

    def poll(self) -> dict[str, str]:
        """Those that ended."""
        ended = {}
        for _ in range(len(self._under_way)):
            job, future = self._under_way.popleft()
            if future.done():
                future.result()
                ended[job.job.digest] = ""
            else:
                self._under_way.append((job, future))
        return ended

    def cancel(self) -> None:
        """End what waits."""
        self._pool.shutdown(cancel_futures=True)

    def close(self) -> None:
        """Nothing is held."""

    def _do(self, job: JobFolder) -> None:
        for request in job.job.requests:
            self._store.measure({"of": request["key"]}, partial(self._make, request["key"]))
        job.finish(Result(job.job.digest))

    def _make(self, digest: str) -> Computed:
        time.sleep(self._seconds)
        with self._lock:
            self.made[digest] += 1
        return {}, {}


if __name__ == "__main__":
    main()

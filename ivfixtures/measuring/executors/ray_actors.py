"""Jobs on Ray: actors that stay warm, each with one job at a time."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivevidence.store.places import one_line
from ivfixtures.errors import error_line
from ivfixtures.measuring.executors import ExecutorError, missing_extra
from ivfixtures.measuring.executors.jobs import JobFolder
from ivfixtures.measuring.executors.processes import MOST_BY_DEFAULT

try:
    import ray
except ImportError:
    raise missing_extra("ray", "ray") from None

NAMESPACE = "ivclaims"
CONNECT = 10.0  # seconds: Ray itself tries for minutes, and then ends the process
CLIENT_PORT = 10001
_NAME = re.compile(r"ivclaims-[0-9a-f]{32}")


class Actor:
    """What runs jobs on a worker of Ray. Everything that travels is text."""

    # nnsight gives one to all objects. Ray would take it along as a method, and nnsight with it,
    # which breaks plugins of pytest that are imported after it.
    save = None

    def run(self, path: str) -> str:
        """Run the job of a folder; models stay for the next job. Returns the result as JSON."""
        from ivfixtures.measuring.executors.worker import run_job

        return json.dumps(run_job(Path(path)).to_json())

    def begin(self, paths: str) -> str:
        """Run the jobs of the folders in a JSON list, one after the other, and end with them.

        They are processes of their own: nobody may be there any more to call this actor.
        """

        def work() -> None:
            for path in json.loads(paths):
                command = [
                    sys.executable,
                    "-P",
                    "-m",
                    "ivfixtures.measuring.executors.worker",
                    path,
                ]
                subprocess.run(command, stdin=held, check=False)  # noqa: S603 - our own module
            os._exit(0)

        held, _ = os.pipe()  # it ends when this actor does
        threading.Thread(target=work, daemon=True).start()
        return "begun"


@dataclass
class _Slot:
    """Room for one actor. label: of the checkpoint it has in memory. answer: what is awaited."""

    actor: Any
    label: str | None = None
    job: JobFolder | None = None
    answer: Any = None


class Ray:
    """An executor with warm actors. Never more jobs are under way than there are actors.

    Raises: ExecutorError, Ray cannot be reached.
    """

    outlives = True

    def __init__(
        self, device: str, workers: int | None, address: str | None, *, detach: bool
    ) -> None:
        self._device, self._workers, self._address = device, workers, address
        self._detach = detach
        self._slots: list[_Slot] = []
        self._queue: list[JobFolder] = []
        self._left: dict[str, tuple[JobFolder, str]] = {}  # jobs, and the names of their actors
        self._resources: dict[str, Any] = {}
        _check_reach(address)

    def start(self, jobs: int) -> None:
        """Reach Ray, or start one."""
        own: dict[str, Any] = {"num_cpus": os.cpu_count() or 1, "include_dashboard": False}
        try:
            ray.init(
                address=self._address or "local",  # not one that happens to run here
                namespace=NAMESPACE,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                **({} if self._address else own),
            )
        except (Exception, SystemExit) as error:
            raise _unreachable(self._address, one_line(error)) from None
        there = ray.cluster_resources()
        kind = "GPU" if self._device.startswith("cuda") else "CPU"
        room, nodes = int(there.get(kind, 0)), len(ray.nodes())
        if room < 1:
            remedy = "add a node, or choose another --device"
            raise ExecutorError(error_line(f"{kind}s of Ray", "0", "at least one", "Ray", remedy))
        default = room if kind == "GPU" else min(MOST_BY_DEFAULT * nodes, room)
        count = min(self._workers or default, room, jobs)
        given = os.environ.get("OMP_NUM_THREADS")
        cores = max(1, int(there.get("CPU", 1)) // max(count, nodes))
        self._resources = {
            "num_cpus": 0 if kind == "GPU" else 1,
            "num_gpus": int(kind == "GPU"),
            "runtime_env": {"env_vars": {"OMP_NUM_THREADS": given or str(cores)}},
        }
        self._slots = [_Slot(None) for _ in range(count)]

    def submit(self, jobs: Sequence[JobFolder]) -> None:
        """Queue jobs; `poll` hands them out. To be left to themselves, they are shared out now."""
        if not self._detach:
            self._queue.extend(jobs)
            return
        for number in range(min(len(self._slots), len(jobs))):
            some, name = jobs[number :: len(self._slots)], f"ivclaims-{uuid.uuid4().hex}"
            actor = self._actor(name=name, lifetime="detached")
            ray.get(actor.begin.remote(json.dumps([str(job.path) for job in some])))
            for job in some:
                job.submitted({"executor": "ray", "address": self._address, "actor": name})
                self._left[job.job.digest] = (job, name)

    def adopt(self, job: JobFolder) -> bool:
        """Whether an actor that an earlier run left to itself has the job."""
        handle = job.handle()
        name = str(handle.get("actor"))
        is_ours = handle.get("executor") == "ray" and _NAME.fullmatch(name)
        if not is_ours or job.result() or not _is_alive(name):
            return False
        self._left[job.job.digest] = (job, name)
        return True

    def poll(self) -> dict[str, str]:
        """Note which jobs ended, and hand out others; an actor that died is replaced."""
        ended = {}
        for slot in self._slots:
            if slot.job and ray.wait([slot.answer], timeout=0)[0]:
                ended[slot.job.job.digest] = self._outcome(slot)
                slot.job = slot.answer = None
            if slot.job is None and self._queue:
                self._hand_out(slot)
        for digest, (job, name) in list(self._left.items()):
            if job.result() or not _is_alive(name):
                ended[digest] = f"its actor {name} is no more"
                del self._left[digest]
        return ended

    def cancel(self) -> None:
        """End all actors that are ours."""
        self._queue.clear()
        for slot in self._slots:
            if slot.actor is not None:
                ray.kill(slot.actor)
        for _, name in self._left.values():
            if _is_alive(name):
                ray.kill(ray.get_actor(name, NAMESPACE))

    def close(self) -> None:
        """Leave Ray; one that was started here ends."""
        ray.shutdown()

    def _actor(self, **more: Any) -> Any:
        return ray.remote(Actor).options(max_restarts=0, **self._resources, **more).remote()

    def _hand_out(self, slot: _Slot) -> None:
        """Give an actor a job: of the checkpoint it has, else of one that no other actor has."""
        held = {other.label for other in self._slots if other is not slot}
        own = [job for job in self._queue if job.job.label == slot.label]
        free = [job for job in self._queue if job.job.label not in held]
        job = (own or free or self._queue)[0]
        self._queue.remove(job)
        slot.job, slot.label = job, job.job.label
        slot.actor = slot.actor or self._actor()
        slot.answer = slot.actor.run.remote(str(job.path))

    def _outcome(self, slot: _Slot) -> str:
        try:
            ray.get(slot.answer)
        except ray.exceptions.RayActorError as error:
            slot.actor = slot.label = None
            return f"its actor died: {_cause(error)}"
        except Exception as error:  # whatever the job raised travels here
            return one_line(error)
        return ""


def _check_reach(address: str | None) -> None:
    """Raise ExecutorError where nothing listens at a `host:port` or `ray://host:port`."""
    if address in (None, "auto"):
        return
    host, _, port = str(address).removeprefix("ray://").partition(":")
    if not host or not (port or str(CLIENT_PORT)).isdecimal():
        raise _unreachable(address, "it is no host:port")
    try:
        socket.create_connection((host, int(port or CLIENT_PORT)), CONNECT).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, one_line(error)) from None


def _unreachable(address: str | None, reason: str) -> ExecutorError:
    remedy = "start it with `ray start --head`, or leave out --ray-address"
    got = f"{address} ({reason})" if address else reason
    return ExecutorError(error_line("--ray-address", got, "a running Ray", "command line", remedy))


def _is_alive(name: str) -> bool:
    try:
        ray.get_actor(name, NAMESPACE)
    except ValueError:
        return False
    return True


def _cause(error: Exception) -> str:
    """What Ray says of an actor's end, which it says in many words."""
    text = " ".join(str(error).split())
    if isinstance(error, ray.exceptions.OutOfMemoryError) or "memory pressure" in text:
        return "Ray ended it as memory ran out"
    exit_type, _, detail = text.partition("Worker exit type: ")[2].partition(
        " Worker exit detail: "
    )
    said = f"{exit_type} {detail.partition(' Some common causes')[0]}".strip() or text
    return f"{one_line(Exception(said))[:160]} (killed, as where memory runs out, or crashed)"

"""Folders of jobs lie in a store that others may write: nothing of theirs is believed or hurt."""

import os
import stat
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from ivevidence import EvidenceError
from ivevidence.store.places import Folder
from ivevidence.store.whole_files import read_limited
from ivfixtures.measuring.executors import ExecutorError, processes
from ivfixtures.measuring.executors.dispatch import Dispatch, Jobs, Result
from ivfixtures.measuring.executors.jobs import (
    HANDLE,
    LOG,
    PROGRESS,
    RESULT,
    Job,
    JobFolder,
    last_line,
)
from ivfixtures.measuring.executors.waves import jobs_folder
from ivfixtures.measuring.executors.worker import run_job

posix = pytest.mark.skipif(os.name != "posix", reason="files have other kinds and owners here")
pytestmark = posix
linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc here")
needs_submitit = pytest.mark.skipif(not find_spec("submitit"), reason="submitit is not installed")


REFUSED = (PermissionError, NotADirectoryError, BlockingIOError)


@pytest.fixture
def job(tmp_path):
    """A job that was prepared, in the folder of all jobs of a store."""
    found = Job("c", (), {}, {}, str(tmp_path))
    folder = JobFolder(tmp_path / "store" / "jobs" / found.name, found)
    folder.prepare()
    return folder


@pytest.fixture
def victim(tmp_path):
    """A file that no job is about."""
    path = tmp_path / "victim"
    path.write_text("of somebody else")
    return path


def start_process(job, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: SimpleNamespace(poll=lambda: None))
    executor = processes.Processes("cpu", 1)
    executor.start(1)
    executor.submit([job])
    assert "could not be started" in executor.poll()[job.job.digest]


def run_here(job, monkeypatch):
    with pytest.raises(OSError, match=r"log\.txt"):
        run_job(job.path)


@pytest.mark.parametrize("use", [start_process, run_here])
@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
def test_a_log_that_is_another_file_is_not_written(job, victim, monkeypatch, use, link):
    link(job.path / LOG, victim)
    use(job, monkeypatch)
    assert victim.read_text() == "of somebody else"


@pytest.mark.parametrize("use", [start_process, run_here])
def test_a_log_that_is_a_pipe_is_not_waited_for(job, monkeypatch, use):
    os.mkfifo(job.path / LOG)
    use(job, monkeypatch)
    assert last_line(job.path / LOG) == ""


def test_the_log_of_an_earlier_run_is_emptied_and_only_its_end_is_read(job):
    (job.path / LOG).write_text("x" * 10_000_000 + "\nthe end\n")
    assert last_line(job.path / LOG) == "the end"
    with job.open_log() as log:
        log.write(b"new\n")
    assert (job.path / LOG).read_text() == "new\n"


def linked(path):
    path.rename(path.with_name("moved"))
    path.symlink_to(path.with_name("moved"))


def others_may_write(path):
    path.chmod(0o770)


def of_another(path):
    os.chown(path, 12345, -1)


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")


@pytest.mark.parametrize("which", ["the job's", "all jobs'"])
@pytest.mark.parametrize(
    "spoil", [linked, others_may_write, pytest.param(of_another, marks=as_root)]
)
def test_a_folder_that_others_could_write_is_neither_believed_nor_used(job, which, spoil):
    job.submitted({"executor": "slurm"})
    job.tell(1, "something")
    job.finish(Result(job.job.digest))
    assert all([job.handle(), job.progress(), job.result()])
    spoil(job.path if which == "the job's" else job.path.parent)
    assert not any([job.handle(), job.progress(), job.result()])
    with pytest.raises(REFUSED):
        job.open_log()
    with pytest.raises(REFUSED):
        JobFolder.open(job.path)
    with pytest.raises(REFUSED):
        job.finish(Result(job.job.digest))
    executor = SimpleNamespace(adopt=lambda job: False, cancel=lambda: None)
    with pytest.raises(ExecutorError, match=r"^folder of jobs=.*, but should be .*change --store"):
        Dispatch(Jobs(), executor, SimpleNamespace()).run([job])


@pytest.mark.parametrize("name", [HANDLE, PROGRESS, RESULT])
@pytest.mark.parametrize("spoil", ["pipe", "socket", "link"])
def test_what_is_no_regular_file_of_a_job_is_not_read(job, tmp_path, name, spoil):
    read = {HANDLE: job.handle, PROGRESS: job.progress, RESULT: job.result}[name]
    job.submitted({"executor": "slurm"})
    job.tell(1, "something")
    job.finish(Result(job.job.digest))
    assert read()
    (job.path / name).rename(tmp_path / "elsewhere")
    if spoil == "pipe":
        os.mkfifo(job.path / name)
    elif spoil == "link":
        (job.path / name).symlink_to(tmp_path / "elsewhere")
    else:
        os.mknod(job.path / name, stat.S_IFSOCK | 0o600)
    assert not read()


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_a_file_that_becomes_another_while_it_is_read_is_refused(
    tmp_path, victim, monkeypatch, kind
):
    path, regular = tmp_path / "file", victim.lstat()
    os.mkfifo(path) if kind == "pipe" else path.symlink_to(victim)
    monkeypatch.setattr(Path, "lstat", lambda _: regular)
    with pytest.raises((EvidenceError, OSError)):
        read_limited(path, 100)


def test_a_file_that_grows_while_it_is_read_is_refused(victim, monkeypatch):
    small = SimpleNamespace(st_mode=victim.stat().st_mode, st_size=1)
    monkeypatch.setattr(os, "fstat", lambda _: small)
    with pytest.raises(EvidenceError, match="size=4"):
        read_limited(victim, 3)


# ------------------------------------------------------------------------------------- processes


@pytest.fixture
def process():
    """A process of this user, and no job."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as found:
        yield found
        found.kill()


@pytest.fixture
def signalled(process):
    """The processes that signals would have been sent to, until `process` is ended in earnest."""
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "kill", lambda number, _: found.append(number))
        yield found


@linux
def test_processes_are_told_apart_by_their_start_and_what_ended_is_none(process):
    from ivfixtures.measuring.executors.private import identity

    boot, number, start = identity(process.pid).split()
    assert identity(process.pid) == f"{boot} {number} {start}"
    assert int(number) == process.pid
    assert int(start) > int(identity(os.getppid()).split()[2])
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert identity(process.pid) is None, "it has ended, though nobody has waited for it"


@pytest.fixture
def slurm(monkeypatch):
    """The executor on this machine; what it unpickles is told."""
    pytest.importorskip("submitit")
    from ivfixtures.measuring.executors.slurm import Slurm

    return Slurm(["cluster=local"])


def handle_of(process, changed=()):
    from ivfixtures.measuring.executors.private import identity, new_folder

    own = {"executor": "slurm", "cluster": "local", "folder": new_folder("submitit").name}
    return own | {"id": str(process.pid), "process": identity(process.pid)} | dict(changed)


@needs_submitit
def test_a_handle_of_the_very_process_is_waited_for_and_ctrl_c_is_for_it(job, slurm, process):
    job.submitted(handle_of(process))
    assert slurm.adopt(job)
    assert slurm.poll() == {}
    slurm.cancel()
    assert process.wait(30) != 0


def recycled(process):
    """As of a process that had the same number, and started at another time."""
    *machine, _ = handle_of(process)["process"].split()
    return {"process": " ".join([*machine, "1"])}


@needs_submitit
@pytest.mark.parametrize(
    "forged",
    [
        *({"process": None}, {"process": "None"}, {"process": []}, recycled, {"id": "1"}),
        *({"id": "--user=somebody"}, {"id": "0"}, {"id": "-1"}, {"id": "../1"}, {"id": None}),
        *({"folder": "../.."}, {"folder": "submitit-gone"}, {"folder": None}, {"folder": "/tmp"}),
    ],
)
def test_a_handle_of_another_process_is_not_waited_for_and_it_is_not_signalled(
    job, slurm, process, signalled, forged
):
    job.submitted(handle_of(process, forged(process) if callable(forged) else forged))
    assert not slurm.adopt(job)
    slurm.cancel()
    assert not signalled


@needs_submitit
def test_a_process_that_ended_while_it_was_waited_for_is_not_signalled(
    job, slurm, process, signalled, monkeypatch
):
    job.submitted(handle_of(process))
    assert slurm.adopt(job)
    monkeypatch.setattr(
        "ivfixtures.measuring.executors.slurm.identity", lambda _: "the next of its number"
    )
    slurm.cancel()
    assert not signalled
    assert "Slurm says" in slurm.poll()[job.job.digest]


@needs_submitit
@pytest.mark.parametrize("number", ["--user=somebody", "12_3 14", "all"])
def test_only_numbers_of_slurm_are_handed_to_its_commands(job, slurm, number, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: name)
    slurm = type(slurm)([])
    monkeypatch.setattr("submitit.SlurmJob.done", lambda *_, **__: False)
    handle = handle_of(SimpleNamespace(pid="12_3"), {"cluster": "slurm"})
    job.submitted(handle)
    assert slurm.adopt(job)
    job.submitted(handle | {"id": number})
    assert not slurm.adopt(job)


@needs_submitit
def test_what_is_unpickled_is_in_no_store_but_with_the_user(job, slurm, monkeypatch, tmp_path):
    import submitit

    folders = []

    def executor(folder, **_):
        folders.append(Path(folder))
        raise RuntimeError("enough")

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(submitit, "AutoExecutor", executor)
    with pytest.raises(ExecutorError, match="enough"):
        slurm.submit([job])
    (folder,) = folders
    assert folder.parent == tmp_path / "state" / "ivclaims"
    assert [path.stat().st_mode & 0o777 for path in (folder, folder.parent)] == [0o700] * 2
    linked(folder.parent)
    with pytest.raises(ExecutorError, match=r"^state folder=a link.*set XDG_STATE_HOME"):
        type(slurm)(["cluster=local"]).submit([job])


def test_users_of_one_store_have_folders_of_jobs_of_their_own(tmp_path, monkeypatch):
    roots = set()
    for user in (1, 2):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        roots.add(jobs_folder(Folder(tmp_path), tmp_path))
    assert len(roots) == 2

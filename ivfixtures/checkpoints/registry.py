"""What the names of checkpoints mean: registry names, folders, adapters, GGUF files, hub ids."""

from __future__ import annotations

import difflib
import fnmatch
import functools
import hashlib
import re
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ivfixtures.checkpoints.adapters import adapter_base, adapter_files
from ivfixtures.checkpoints.carried import carried
from ivfixtures.checkpoints.hub import revisions
from ivfixtures.checkpoints.weights import (
    ADAPTER_CONFIG,
    CheckpointError,
    folder_files,
    gguf_files,
    problem,
)

_HERE = Path(__file__).parent
_EMBEDDED = _HERE.parent / "embedded"
_HUB_ID = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_REVISION = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
_STEP = re.compile(r"(?:step|checkpoint)[-_]?([0-9]{1,12})")


@dataclass(frozen=True)
class Checkpoint:
    """Weights and tokenizer that can be loaded.

    `source` is the absolute folder (for a GGUF file, the folder of the file `gguf`), or the hub id.
    `adapter` is the absolute folder of a low-rank adapter; source and gguf are then its base's.
    `plain_prompts`: tuned, or judged by the paper, without the chat template that its tokenizer
    has. `revision`: a branch, tag or commit on the hub. `remote`: run on NDIF, its weights are not
    loaded here. `untrained`: the seed of random weights that stand in place of its own. `planted`:
    of a checkpoint that was made to show something, the claims whose truth is known by
    construction, and whether they hold. `tasks`: where there are any, it is judged by these claims
    only, on these tasks.
    """

    name: str
    source: str
    stage: str
    family: str | None
    gguf: str | None = None
    adapter: str | None = None
    plain_prompts: bool = False
    revision: str | None = None
    remote: bool = False
    untrained: int | None = None
    planted: tuple[tuple[str, bool], ...] | None = None
    tasks: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The name in letters that test ids and file names allow; other names, other labels."""
        if self.name in names():
            return self.name
        if not Path(self.adapter or self.source).is_absolute():
            return re.sub("[/@]", "--", self.name)
        last = re.sub(r"[^A-Za-z0-9._]+", "-", Path(self.name).name).strip("-")
        return f"{last}-{hashlib.sha256(self.name.encode()).hexdigest()[:8]}"


def names() -> tuple[str, ...]:
    """Return the names of the registry's checkpoints."""
    return tuple(_registry()["checkpoints"])


def families() -> tuple[str, ...]:
    """Return the names of the registry's families."""
    return tuple(_registry()["families"])


def planted_families() -> tuple[str, ...]:
    """Return the names of the families that were made for single claims."""
    checkpoints = _registry()["checkpoints"]
    return tuple(
        name
        for name in families()
        if all("tasks" in checkpoints.get(member, {}) for member in members(name))
    )


def members(name: str) -> tuple[str, ...]:
    """Return the names of a family's checkpoints in stage order, without looking for them."""
    return tuple(_registry()["families"][name])


def family(name: str) -> tuple[Checkpoint, ...]:
    """Return a family's checkpoints in stage order.

    A checkpoint that several families share is the same one in each: its `family` is the first.
    Raises: CheckpointError.
    """
    if name not in families():
        raise _unknown("family", name, families(), "choose one of them")
    return tuple(map(resolve, members(name)))


def expand(name: str) -> tuple[Checkpoint, ...]:
    """Return the checkpoint of a name, or those of a training run in the order of their steps.

    A training run is a folder that holds no checkpoint itself but folders `step-N` or
    `checkpoint-N`, or the revisions of a hub id that a pattern fits (`org/name@step*`), in the
    order of the numbers in their names. Its name is their family.
    Raises: CheckpointError.
    """
    hub_id, _, pattern = name.partition("@")
    if "*" in pattern and _HUB_ID.fullmatch(hub_id):
        fitting = fnmatch.filter(revisions(hub_id), pattern)
        if not fitting:
            remedy = "see the revisions on its page"
            raise problem("revisions", "none", f"some that fit {pattern}", hub_id, remedy)
        ordered = sorted(fitting, key=lambda revision: (_numbers(revision), revision))
        return tuple(replace(resolve(f"{hub_id}@{found}"), family=name) for found in ordered)
    steps = {} if name in names() or not name else _steps(Path(name))
    if not steps:
        return (resolve(name),)
    found = (resolve(str(Path(name, steps[step]))) for step in sorted(steps))
    return tuple(replace(checkpoint, family=name) for checkpoint in found)


def resolve(name: str) -> Checkpoint:
    """Return the checkpoint of a registry name, folder, GGUF file or hub id, without loading it.

    Files at hand are checked (see `weights`); those on the hub, when they are loaded.
    Raises: CheckpointError.
    """
    return _resolve(name, as_base=False)


def _numbers(revision: str) -> list[int]:
    return [int(number) for number in re.findall("[0-9]{1,18}", revision)]


def _steps(folder: Path) -> dict[int, str]:
    """The folders of a training run by their step; none where there is no run.

    Raises: CheckpointError, two folders are of one step.
    """
    found: dict[int, str] = {}
    try:
        folder = folder.expanduser()
        inside = () if (folder / "config.json").exists() else tuple(folder.iterdir())
    except (OSError, RuntimeError, ValueError):  # no folder, or nothing that could be one
        return {}
    for path in sorted(inside):
        match = _STEP.fullmatch(path.name)
        if match is None or not path.is_dir():
            continue
        if (step := int(match[1])) in found:
            got, remedy = f"{found[step]} and {path.name}", "rename or remove one"
            raise problem(f"step {step}", got, "one folder", folder, remedy)
        found[step] = path.name
    return found


@functools.cache
def _registry() -> dict[str, Any]:
    return tomllib.loads((_HERE / "registry.toml").read_text(encoding="utf-8"))


def _first_family(name: str) -> str | None:
    of = (key for key in families() if name in members(key))
    return next(of, None)


def _resolve(name: str, *, as_base: bool) -> Checkpoint:
    """Resolve a name; an adapter's base is a whole model, so that chains of adapters end here."""
    if name in names():
        return _registered(name, as_base=as_base)
    try:
        path = Path(name).expanduser()
        exists = path.exists() and bool(name)
        str(path.absolute()).encode()
    except UnicodeEncodeError:
        remedy = "rename the folder, or name a link to it"
        raise problem("checkpoint", repr(name), "a path in UTF-8", "path", remedy) from None
    except (OSError, RuntimeError, ValueError):
        raise problem("checkpoint", repr(name), "a name or path", "resolve", "correct it") from None
    if exists:
        return _local(str(Path(name)), path.absolute(), as_base=as_base)
    hub_id, at, revision = name.partition("@")
    if re.match(r"[./~\\]|[A-Za-z]:", name) or hub_id.count("/") > 1 or path.suffix == ".gguf":
        remedy = "correct the path; relative ones start at the working directory"
        raise problem("checkpoint", repr(name), "an existing folder or GGUF file", "path", remedy)
    if _HUB_ID.fullmatch(hub_id) and (not at or _REVISION.fullmatch(revision)):
        papers = _registry()["hub"]
        return Checkpoint(
            name,
            hub_id,
            "unknown" if at else papers.get(name, "unknown"),
            _first_family(name),
            plain_prompts=hub_id in papers,
            revision=revision or None,
        )
    remedy = "choose one of them, or name a folder, a GGUF file or a hub id org/name[@revision]"
    if name in families():
        remedy = f"{name} is a family: choose it with --family"
    raise _unknown("checkpoint", name, names(), remedy)


def _registered(name: str, *, as_base: bool) -> Checkpoint:
    entry = _registry()["checkpoints"][name]
    if "gguf" in entry:
        path = carried(name, entry)
    else:
        path = _EMBEDDED / entry.get("folder", entry.get("adapter"))
        if not path.exists():
            remedy = f"install the package with its data, or run `{entry['make']}`"
            raise problem("weights", "missing", "in the package", path.name, remedy)
    if "adapter" in entry:
        adapted = _adapted(name, path, entry["stage"], as_base=as_base)
        return replace(adapted, plain_prompts=entry.get("plain_prompts", False))
    found = Checkpoint(
        name=name,
        source=str(path.parent if "gguf" in entry else path),
        stage=entry["stage"],
        family=_first_family(name),
        gguf=entry.get("gguf"),
        planted=tuple(entry["planted"].items()) if "planted" in entry else None,
        tasks=tuple(entry.get("tasks", ())),
    )
    gguf_files(path) if found.gguf else folder_files(path)
    return found


def _adapted(name: str, folder: Path, stage: str, *, as_base: bool) -> Checkpoint:
    """The checkpoint of an adapter's folder: its base, and what is merged into it."""
    if as_base:
        remedy = "merge it into its model and save that"
        raise problem("base", "an adapter", "a whole model", folder, remedy)
    adapter_files(folder)
    given = adapter_base(folder)
    try:
        base = _resolve(given, as_base=True)
    except CheckpointError as error:
        expected = "a checkpoint at hand or of the hub"
        raise problem("base", repr(given), expected, folder, str(error)) from None
    return Checkpoint(
        name=name,
        source=base.source,
        stage=stage,
        family=_first_family(name),
        gguf=base.gguf,
        adapter=str(folder),
        revision=base.revision,
    )


def _local(name: str, path: Path, *, as_base: bool) -> Checkpoint:
    if (path / ADAPTER_CONFIG).is_file():
        return _adapted(name, path, "unknown", as_base=as_base)
    if path.is_dir():
        folder_files(path)
        return Checkpoint(name, str(path), "unknown", None)
    if path.suffix != ".gguf":
        remedy = "name the folder that holds the checkpoint"
        raise problem("checkpoint", path.name, "a folder or a .gguf file", path, remedy)
    gguf_files(path)
    return Checkpoint(name, str(path.parent), "unknown", None, gguf=path.name)


def _unknown(what: str, name: str, known: tuple[str, ...], remedy: str) -> CheckpointError:
    near = difflib.get_close_matches(name, known, n=2)
    meant = f"; did you mean {' or '.join(near)}?" if near else ""
    return problem(what, repr(name), f"one of {', '.join(known)}", "registry", remedy + meant)

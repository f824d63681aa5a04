"""Which of the collected cells this process judges, and in which order."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from ivevidence.records.cells import CellName, Claim, cell_name
from ivfixtures.errors import error_line
from ivfixtures.suite.packs import CLAIMS_FOLDER, packs_at
from ivfixtures.suite.subjects import Subject

Shard = tuple[int, int]


def read_shard(text: str | None, checkpoints: int | None) -> Shard | None:
    """The number of a shard, from 0 on, and how many there are; None if all cells are judged.

    checkpoints: how many are judged, if any.

    Raises: ValueError if it is not I/N, or if there are more shards than checkpoints.
    """
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    part, parts = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= part <= parts:
        raise ValueError(f"--shard={text}, but should be such as 2/5, from 1/5 on [command line]")
    if checkpoints is not None and parts > checkpoints:
        raise ValueError(
            f"--shard={text}, but should be at most {checkpoints} parts [command line]; so many "
            "checkpoints are judged, and none is split"
        )
    return part - 1, parts


def identify(items: Sequence[pytest.Item]) -> None:
    """Give cells of our own claims, and of packs outside of pytest's root folder, node ids.

    Those of a file outside of it lack its folder, or the file, too: two packs would have one id.
    """
    for item in items:
        if not item.get_closest_marker("claim"):
            continue
        is_ours = item.path.is_relative_to(CLAIMS_FOLDER)
        is_inside = item.path.is_relative_to(item.config.rootpath)
        packs = [CLAIMS_FOLDER] if is_ours else [] if is_inside else packs_at(item.path)
        if packs:
            above = packs[0].parent
            name = item.nodeid.partition("::")[2]
            item._nodeid = f"{item.path.relative_to(above).as_posix()}::{name}"


def without_group(nodeid: str, config: pytest.Config) -> str:
    """A node id without the group that xdist's loadgroup adds to it."""
    grouped = config.getoption("dist", default="no") == "loadgroup"
    at = nodeid.rfind("@")
    return nodeid[:at] if grouped and at > nodeid.rfind("]") else nodeid


def require_names(items: Sequence[pytest.Item]) -> None:
    """Refuse two cells of one name: expectations and comparisons would keep one of them.

    Raises: pytest.UsageError.
    """
    first: dict[CellName, pytest.Item] = {}
    for item in items:
        for name in names([item]):
            if (other := first.setdefault(name, item)) is not item:
                where, remedy = f"{other.nodeid} and {item.nodeid}", "rename one of the claims"
                what = f"cells that are called {name[1]} of {name[0]}"
                raise pytest.UsageError(error_line(what, "2", "1", where, remedy))


def require_packs(items: Sequence[pytest.Item]) -> None:
    """Refuse a claim whose name does not begin with its file's folder, and two packs of one name.

    Raises: ValueError.
    """
    first: dict[str, Path] = {}
    for path, claim in {(item.path, claims([item])[0].name) for item in items if _is_claim(item)}:
        pack, folders = claim.partition("/")[0], packs_at(path)
        if folders and folders[0].name != pack:
            remedy = "give PAPER the name of its folder"
            raise ValueError(error_line("pack", pack, folders[0].name, path, remedy))
        for folder in folders:
            if (other := first.setdefault(pack, folder)) != folder:
                where, remedy = f"{other} and {folder}", "rename one of them"
                raise ValueError(error_line(f"packs called {pack}", "2", "1", where, remedy))


def arrange(items: list[pytest.Item], labels: Sequence[str]) -> None:
    """Sort all claims of a checkpoint together, in the order of checkpoints; the rest last."""
    order = {label: i for i, label in enumerate(labels)}
    items.sort(key=lambda item: order.get(group(item), len(order)))


def split(items: list[pytest.Item], shard: Shard) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """The items of a shard and the others: every N-th checkpoint. What has none is in the first."""
    part, parts = shard
    groups = [name for name in dict.fromkeys(map(group, items)) if name]
    own = {name for number, name in enumerate(groups) if number % parts == part}
    if part == 0:
        own.add("")
    return [i for i in items if group(i) in own], [i for i in items if group(i) not in own]


def drop_idle(items: list[pytest.Item]) -> list[pytest.Item]:
    """Take out and return the claims that have no cell: their checkpoints were made for others."""
    # pytest's stand-in for a parameter without values has no task.
    idle = [item for item in items if _is_claim(item) and not hasattr(_cell(item), "task")]
    items[:] = [item for item in items if item not in idle]
    return idle


def names(items: Sequence[pytest.Item]) -> list[CellName]:
    """The names of the cells among the items."""
    found = []
    for item in items:
        marker = item.get_closest_marker("claim")
        if marker and _is_claim(item):
            cell = cast(Subject, _cell(item))
            found.append(cell_name(marker.args[0].name, cell.name, cell.task, cell.metric))
    return found


def claims(items: Sequence[pytest.Item]) -> list[Claim]:
    """The claims that the items are cells of."""
    marked = (item.get_closest_marker("claim") for item in items if _is_claim(item))
    return list({marker.args[0].name: marker.args[0] for marker in marked if marker}.values())


def printed(items: Sequence[pytest.Item]) -> set[CellName]:
    """The names of the cells on printed numbers among the items."""
    return {
        name
        for item in items
        if _is_claim(item) and not cast(Subject, _cell(item)).checkpoints
        for name in names([item])
    }


def group(item: pytest.Item) -> str:
    """The group of a cell; cells of one group are judged by one process."""
    marker = item.get_closest_marker("xdist_group")
    return str(marker.args[0]) if marker else ""


def subject_of(item: pytest.Item) -> Subject | None:
    """What a cell is about, if it is one that checkpoints are measured for."""
    if not _is_claim(item):
        return None
    subject = cast(Subject, _cell(item))
    return subject if subject.checkpoints else None


def _is_claim(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and item.get_closest_marker("claim") is not None


def _cell(item: pytest.Item) -> object:
    """What a claim's test is about; no subject where there is none."""
    return cast(pytest.Function, item).callspec.params["cell"]

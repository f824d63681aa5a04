"""The published tables, read from the packaged files once and checked."""

import csv
import functools
import hashlib
import importlib.resources
import io
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from claims.instruction_vectors.published.models import MODELS, PaperModel
from claims.instruction_vectors.published.rows import (
    HeadJaccardK,
    HeadJaccardTasks,
    HeadSpearman,
    PairTest,
    Printed,
    Runtime,
    TopTuple,
)
from ivfixtures.errors import error_line

# How the suite calls what the files call `rank` and `logit`.
METRICS = {"rank": "rr", "logit": "logit"}
TASKS = (
    *("adj_ant", "adj_comp", "anim_color", "can_fly"),
    *("metaphor_boolean", "implicatures", "object_counting", "snarks"),
)
_OFFSETS = {"tinst-1": -1, "tinst": 0, "tinst+1": 1}
_NUMBER = re.compile(r"-inf|-?\d+(\.\d+)?(e[+-]\d+)?", re.ASCII)

Row = TypeVar("Row")
Ranked = TypeVar("Ranked", PairTest, TopTuple)
Line = Mapping[str, str]


class PublishedError(ValueError):
    """A packaged file that does not hold what the paper's tables hold, in one line."""


@functools.cache
def pair_test_rows() -> tuple[PairTest, ...]:
    """Tables 5-8."""

    def make(line: Line) -> PairTest:
        t, p = _printed(line["t_stat"]), _printed(line["p_value"])
        if (t is None) != (p is None):
            raise ValueError("t and p are printed both or neither")
        return PairTest(**_place(line), layers=_layers(line), position=_position(line), t=t, p=p)

    columns = "table model_size stage task layers position_in_table t_stat p_value"
    return _ranked("superadditivity_ttest.csv", columns, make)


@functools.cache
def top_tuple_rows() -> tuple[TopTuple, ...]:
    """Tables 9-18."""

    def make(line: Line) -> TopTuple:
        layers = _layers(line)
        if len(layers) != int(line["n_layers_patched"]):
            raise ValueError("n_layers_patched is the number of layers")
        return TopTuple(
            **_place(line),
            metric=METRICS[line["metric"]],
            layers=layers,
            position=_position(line),
            contribution=_number(line["contribution"]),
        )

    columns = "table model_size stage task metric n_layers_patched layers position_in_table"
    return _ranked("patching_top10.csv", f"{columns} contribution", make)


@functools.cache
def head_jaccard_k_rows() -> tuple[HeadJaccardK, ...]:
    """Tables 3, 20 and 21."""

    def make(line: Line) -> HeadJaccardK:
        return HeadJaccardK(
            table=int(line["table"]),
            model=_head_model(line),
            task=_task(line),
            layers=_group(line),
            k_a=int(line["k_a"]),
            k_b=int(line["k_b"]),
            jaccard=_number(line["jaccard"]),
        )

    return _rows("head_jaccard_k.csv", "table model task layer_group k_a k_b jaccard", make)


@functools.cache
def head_jaccard_tasks_rows() -> tuple[HeadJaccardTasks, ...]:
    """Tables 22-24."""

    def make(line: Line) -> HeadJaccardTasks:
        return HeadJaccardTasks(
            table=int(line["table"]),
            model=_head_model(line),
            k=int(line["k"]),
            offset=_OFFSETS[line["token_position"]],
            layers=_group(line),
            jaccard=_number(line["jaccard"]),
        )

    columns = "table k token_position model layer_group jaccard"
    return _rows("head_jaccard_tasks.csv", columns, make)


@functools.cache
def head_spearman_rows() -> tuple[HeadSpearman, ...]:
    """Table 2."""

    def make(line: Line) -> HeadSpearman:
        r = _number(line["spearman_r"])
        return HeadSpearman(_head_model(line), _task(line), int(line["layer"]), r)

    return _rows("head_spearman_k1_k2.csv", "model task layer spearman_r", make)


@functools.cache
def runtime_rows() -> tuple[Runtime, ...]:
    """Table 4."""

    def make(line: Line) -> Runtime:
        k = int(line["k"]) if line["k"] else None
        samples, size = int(line["n_samples"]), line["model_size"]
        return Runtime(line["experiment"], k, samples, size, _printed(line["hours"]))

    return _rows("runtimes.csv", "experiment k n_samples model_size hours", make)


def file_digests() -> dict[str, str]:
    """Return the SHA-256 of each packaged file."""
    data = importlib.resources.files("claims.instruction_vectors.published") / "data"
    files = {path.name: path for path in data.iterdir() if path.name.endswith(".csv")}
    return {name: hashlib.sha256(files[name].read_bytes()).hexdigest() for name in sorted(files)}


def _rows(file: str, columns: str, make: Callable[[Line], Row]) -> tuple[Row, ...]:
    """The rows of a packaged file as `make` makes them.

    Raises: PublishedError if its columns are others, a cell is malformed, or a row is there twice.
    """
    path = importlib.resources.files("claims.instruction_vectors.published") / "data" / file
    lines = csv.DictReader(io.StringIO(path.read_text("utf-8")), strict=True)
    if lines.fieldnames != columns.split():
        raise _problem("columns", " ".join(lines.fieldnames or ()), columns, file)
    found: dict[Row, None] = {}
    for line in lines:
        where, cells = f"{file}, line {lines.line_num}", [*line.values()]
        if None in line or None in cells:
            raise _problem("row", str(cells), f"of {len(columns.split())} cells", where)
        try:
            row = make(line)
        except (LookupError, ValueError) as error:
            raise _problem("row", ",".join(cells), f"readable: {error}", where) from None
        if row in found:
            raise _problem("row", ",".join(cells), "there once", where)
        found[row] = None
    return tuple(found)


def _ranked(file: str, columns: str, make: Callable[[Line], Ranked]) -> tuple[Ranked, ...]:
    """Rows list by list, each sorted and whole: positions 1 to 10, no tuple twice."""
    lists: dict[tuple[int, PaperModel, str], list[Ranked]] = defaultdict(list)
    for row in _rows(file, columns, make):
        lists[row.table, row.model, row.task].append(row)
    for (table, model, task), listed in lists.items():
        where = f"{file}, table {table}, {model.name}, {task}"
        listed.sort(key=lambda row: row.position)
        positions = [row.position for row in listed]
        if positions != list(range(1, 11)):
            raise _problem("positions", str(positions), "1 to 10", where)
        if len({row.layers for row in listed}) != 10:
            raise _problem("tuples", "one twice", "ten different ones", where)
    return tuple(row for listed in lists.values() for row in listed)


def _place(line: Line) -> dict[str, Any]:
    at = line["model_size"], line["stage"]
    model = {(model.size, model.stage): model for model in MODELS}[at]
    return {"table": int(line["table"]), "model": model, "task": _task(line)}


def _head_model(line: Line) -> PaperModel:
    return {model.head_name: model for model in MODELS}[line["model"]]


def _task(line: Line) -> str:
    return TASKS[TASKS.index(line["task"])]


def _position(line: Line) -> int:
    return int(line["position_in_table"])


def _layers(line: Line) -> tuple[int, ...]:
    layers = tuple(map(int, line["layers"].split("-")))
    if layers != tuple(sorted(set(layers))):
        raise ValueError("layers ascend")
    return layers


def _group(line: Line) -> tuple[int, int]:
    first, last = map(int, line["layer_group"].split("-"))
    return first, last


def _printed(text: str) -> Printed | None:
    return _number(text) if text else None


def _number(text: str) -> Printed:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text!r} is no number")
    return Printed(text)


def _problem(what: str, got: str, expected: str, where: str) -> PublishedError:
    remedy = "install the package again, or restore the file"
    return PublishedError(error_line(what, got, expected, where, remedy))

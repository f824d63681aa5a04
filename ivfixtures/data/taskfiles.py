"""Files of task data: tables, word lists, definitions; what is wrong is named by file and line."""

from __future__ import annotations

import csv
import io
import re
import tomllib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from ivfixtures.errors import LineError, cut, error_line
from ivfixtures.plain_files import kind

MAX_BYTES = 5_000_000
MAX_CELL = 1_000  # characters
_LISTS = ("valid_words", "valid_columns", "pattern_except")
_REQUIRED = ("file", "answer", "instruction", "prompt")
_SOME = ("contrast", "sub_instruction", "response_type", "valid_file", "valid_pattern")
_OPTIONAL = (*_SOME, *_LISTS)


class TaskError(LineError, ValueError):
    """Task data or a task definition that cannot be used, in one line that says what to change."""


@dataclass(frozen=True)
class Row:
    """One row of a table: the line of the file it starts on, and its cells by column."""

    line: int
    cells: Mapping[str, str]


@dataclass(frozen=True)
class Definition:
    """One table of a `tasks.toml`, checked for its keys and their types only."""

    name: str
    file: str
    answer: str
    instruction: str
    prompt: str
    where: str
    home: Path
    contrast: str | None = None
    sub_instruction: str | None = None
    response_type: str | None = None
    valid_words: tuple[str, ...] = ()
    valid_columns: tuple[str, ...] = ()
    valid_file: str | None = None
    valid_pattern: str | None = None
    pattern_except: tuple[str, ...] = ()


def problem(what: str, got: str, expected: str, where: object, remedy: str) -> TaskError:
    """Return the error of one defect of task data."""
    return TaskError(error_line(what, got, expected, where, remedy))


def inside(folder: Path, name: str, *, where: object) -> Path:
    """Return the file `name` of a folder.

    Raises: TaskError if the name leads out of the folder: through `..`, as an absolute path or
    by a link.
    """
    path = folder / name
    leaves = (
        bool(PureWindowsPath(name).anchor)  # absolute in the sense of any system
        or ".." in re.split(r"[/\\]", name)
        or not path.resolve().is_relative_to(folder.resolve())
    )
    if leaves or not name:
        raise problem(
            "file", repr(name), "a file inside the folder of the tasks", where, "move it there"
        )
    return path


def read_text(path: Path) -> str:
    """Return a small UTF-8 file's text, without a byte order mark."""
    try:
        if other := kind(path):
            remedy = "put the file itself there"
            raise problem("kind", other, "a regular file", path, remedy)
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise problem("file", "missing", "present", path, "add it or correct its name") from None
    except OSError as error:
        raise problem(
            "file", error.strerror or "unreadable", "a readable file", path, "check it"
        ) from None
    if len(data) > MAX_BYTES:
        raise problem(
            "size",
            f"over {MAX_BYTES} bytes",
            f"at most {MAX_BYTES} bytes",
            path,
            "split the file or keep fewer rows",
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        where = f"{path}, line {line}"
        got = f"byte 0x{data[error.start]:02x}"
        raise problem("encoding", got, "UTF-8", where, "save the file as UTF-8") from None
    if not text.strip():
        raise problem("file", "empty", "a file with content", path, "fill it or remove it")
    return text


def read_table(path: Path, columns: tuple[str, ...]) -> tuple[Row, ...]:
    """Read a CSV table's rows; the columns named must be there and filled in every row.

    Raises: TaskError on a missing or repeated column, a row of another length, an empty cell or
    one that does not print on one line, the same row twice, and a table without rows.
    """
    header, *lines = _csv_lines(path, read_text(path))
    names = tuple(cell.strip() for cell in header[1])
    for column in columns:
        if names.count(column) != 1:
            raise problem(
                f"columns named {column}",
                str(names.count(column)),
                f"1 (columns are {cut(','.join(names))})",
                f"{path}, line {header[0]}",
                f"give the table exactly one column {column}",
            )
    rows = tuple(_row(path, line, cells, names, columns) for line, cells in lines)
    if not rows:
        raise problem("rows", "0", "at least one", path, "add rows under the header")
    seen: dict[tuple[str, ...], int] = {}
    spelled: dict[str, tuple[str, str]] = {}
    for row in rows:
        for column in columns:
            check_spelling(column, row.cells[column], f"{path}, line {row.line}", spelled)
        key = tuple(row.cells.values())
        if key in seen:
            raise problem(
                "row",
                ",".join(key),
                f"given once (it stands on line {seen[key]} too)",
                f"{path}, line {row.line}",
                "remove one of the two",
            )
        seen[key] = row.line
    return rows


def read_words(path: Path) -> tuple[str, ...]:
    """Read a list of words, one a line; `#` begins a comment."""
    lines = (line.partition("#")[0].strip() for line in read_text(path).splitlines())
    return tuple(line for line in lines if line)


def read_definitions(path: Path) -> dict[str, Definition]:
    """Read the task definitions of a `tasks.toml`, in their order."""
    try:
        tables = tomllib.loads(read_text(path))
    except RecursionError:
        raise problem("TOML", "nested too deeply", "valid TOML", path, "correct it") from None
    except tomllib.TOMLDecodeError as error:
        raise problem("TOML", str(error), "valid TOML", path, "correct the syntax") from None
    return {name: _definition(path, name, table) for name, table in tables.items()}


def check_line(what: str, text: str, where: object) -> None:
    """Check that a text is one printable line, not empty and without spaces at its ends."""
    if not text.strip():
        raise problem(what, "empty", "filled in", where, "fill it in or remove it")
    if len(text) > MAX_CELL:
        got, expected = f"{len(text)} characters", f"at most {MAX_CELL} characters"
        raise problem(what, got, expected, where, "shorten it, or close the quotes above it")
    if not text.isprintable():
        raise problem(
            what, ascii(text), "printable on one line", where, "remove the control characters"
        )
    if text != text.strip():
        # A space at the end would be T_inst, or be merged with the answer.
        raise problem(what, ascii(text), "without white space at its ends", where, "remove it")


def check_spelling(what: str, text: str, where: str, spelled: dict[str, tuple[str, str]]) -> None:
    """Check that a text is not one of those before in another Unicode normalization form.

    spelled: text and place by composed form (NFC); the text is noted there. Such twins look the
    same, but have other tokens.
    """
    before, place = spelled.setdefault(unicodedata.normalize("NFC", text), (text, where))
    if text != before:
        expected = f"spelled as in {place}: {before!a}"
        raise problem(what, ascii(text), expected, where, "use one Unicode normalization form")


def _csv_lines(path: Path, text: str) -> list[tuple[int, list[str]]]:
    """Return (line, cells) of every line that is not blank; there is at least one."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    lines: list[tuple[int, list[str]]] = []
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return lines
        except csv.Error as error:
            where = f"{path}, line {start}"
            raise problem("CSV", str(error), "valid CSV", where, "check the quotes") from None
        if cells:
            lines.append((start, cells))


def _row(
    path: Path, line: int, cells: list[str], names: tuple[str, ...], columns: tuple[str, ...]
) -> Row:
    where = f"{path}, line {line}"
    if len(cells) != len(names):
        raise problem(
            "cells",
            str(len(cells)),
            f"{len(names)} ({cut(','.join(names))})",
            where,
            "correct the row; a cell with a comma needs quotes",
        )
    row = Row(line, {name: cell.strip() for name, cell in zip(names, cells, strict=True)})
    for column in columns:
        check_line(f"cell {column}", row.cells[column], where)
    return row


def _definition(path: Path, name: str, table: Any) -> Definition:
    where = f"{path}, task {name}"
    if not re.fullmatch(r"[a-z0-9_]{1,40}", name):
        raise problem("task", repr(name), "a name of a-z, 0-9 and _", path, "rename it")
    if not isinstance(table, dict):
        raise problem(name, repr(table), "a table [task]", path, "move the key into a table")
    for key in table:
        if key not in _REQUIRED + _OPTIONAL:
            expected = "one of " + ", ".join(_REQUIRED + _OPTIONAL)
            raise problem("key", repr(key), expected, where, "remove or rename it")
    for key in _REQUIRED:
        if key not in table:
            raise problem(key, "missing", "given", where, f"add {key} = ...")
    for key, value in table.items():
        values = value if key in _LISTS else [value]
        if not (isinstance(values, list) and all(isinstance(text, str) for text in values)):
            expected = "a list of strings" if key in _LISTS else "a string"
            raise problem(key, repr(value), expected, where, "put it in quotes")
    given: dict[str, Any] = {
        key: tuple(value) if key in _LISTS else value for key, value in table.items()
    }
    return Definition(name=name, where=where, home=path.parent, **given)

"""Tasks, loaded from the packaged data or from a folder of the same format."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from ivfixtures.data.taskfiles import (
    Definition,
    Row,
    TaskError,
    check_line,
    inside,
    problem,
    read_definitions,
    read_table,
    read_text,
    read_words,
)
from ivfixtures.data.tasktypes import Item, Task, Valid
from ivmethods.prompts.answers import normalize_answer

__all__ = [
    "Item",
    "Task",
    "TaskError",
    "Valid",
    "load_tasks",
    "made_tasks",
    "neutral_sentences",
    "passed_over",
    "rephrasings",
]

MIN_ITEMS = 2  # one to discover on, one to confirm on
MIN_REPHRASINGS = 10  # two in each of the five folds of a probe
_DATA = Path(__file__).parent
_PLANTED = _DATA.parent / "embedded" / "planted" / "tasks"


def load_tasks(folder: Path | None = None) -> dict[str, Task]:
    """Load the packaged tasks, or those whose tables are in a folder.

    A folder may add definitions (or replace packaged ones) with a `tasks.toml` of its own.
    Raises: TaskError, one line that names file, line and remedy.
    """
    definitions = read_definitions(_DATA / "tasks.toml")
    if folder is None:
        folder = _DATA
    elif not folder.is_dir():
        raise problem("tasks", "no folder", "a folder of task tables", folder, "check the path")
    else:
        packaged = {n: d for n, d in definitions.items() if (folder / d.file).exists()}
        definitions = packaged | _own_definitions(folder)
    if not definitions:
        raise problem(
            "tasks",
            "none",
            "at least one table that a definition names, such as adjectives.csv or animals.csv",
            folder,
            "add one, or a tasks.toml that names the tables that are there",
        )
    for definition in definitions.values():
        _check_definition(definition, definitions)
    return {name: _task(d, folder, definitions) for name, d in definitions.items()}


@cache
def made_tasks(names: tuple[str, ...]) -> Mapping[str, Task]:
    """Return the tasks of a checkpoint that was made for some, packaged ones or of planted ones.

    Raises: TaskError.
    """
    known = load_tasks() | load_tasks(_PLANTED)
    return {name: known[name] for name in names}


def passed_over(folder: Path) -> tuple[str, ...]:
    """Return the names of a folder's tables that no definition names: they are not loaded."""
    definitions = read_definitions(_DATA / "tasks.toml") | _own_definitions(folder)
    used = {(folder / d.file).resolve() for d in definitions.values()}
    return tuple(sorted(p.name for p in folder.glob("*.csv") if p.resolve() not in used))


def neutral_sentences() -> tuple[str, ...]:
    """Return plain declarative sentences that set no task, for controls."""
    return read_words(_DATA / "neutral.txt")


def rephrasings(folder: Path | None, name: str) -> tuple[tuple[str, ...], int]:
    """Return a task's distinct rephrasings, and how many rows repeated one of them.

    They are looked for in a folder of tasks, or among the packaged ones.
    """
    folder = folder or _DATA
    file = f"varied_instructions/{name}_rephrased.csv"
    if not (folder / file).exists():
        return (), 0
    rows = read_table(inside(folder, file, where=folder), ("index", "instruction"))
    distinct = tuple(dict.fromkeys(row.cells["instruction"] for row in rows))
    if (different := len(set(map(normalize_answer, distinct)))) < MIN_REPHRASINGS:
        raise problem(
            "different rephrasings",
            str(different),
            f"at least {MIN_REPHRASINGS}",
            folder / file,
            "add some; or remove the file, and the task is not probed",
        )
    return distinct, len(rows) - len(distinct)


def _own_definitions(folder: Path) -> dict[str, Definition]:
    path = folder / "tasks.toml"
    if not path.exists():
        return {}
    return read_definitions(inside(folder, path.name, where=folder))


def _check_definition(definition: Definition, definitions: Mapping[str, Definition]) -> None:
    where = definition.where
    check_line("instruction", definition.instruction, where)
    check_line("prompt", definition.prompt, where)
    if definition.response_type is not None:
        check_line("response_type", definition.response_type, where)
    if definition.prompt.count("{query}") != 1:
        raise problem(
            "prompt", repr(definition.prompt), "text with {query} once", where, "put {query} in it"
        )
    try:
        re.compile(definition.valid_pattern or "")
    except re.error as error:
        got = f"{definition.valid_pattern!r} ({error})"
        expected = "a regular expression"
        raise problem("valid_pattern", got, expected, where, "correct it") from None
    instruction, sub = definition.instruction, definition.sub_instruction
    if sub is not None and (sub != sub.strip() or not instruction.startswith(f"{sub} ")):
        raise problem(
            "sub_instruction",
            repr(sub),
            "the first sentences of the instruction",
            where,
            "copy them from it, or remove the key",
        )
    _check_contrast(definition, definitions)


def _check_contrast(definition: Definition, definitions: Mapping[str, Definition]) -> None:
    if definition.contrast is None:
        return
    other = definitions.get(definition.contrast)
    if other is None:
        expected = f"another task of {', '.join(definitions)}"
    elif other.contrast != definition.name:
        expected = f"a task whose own contrast is {definition.name}, not {other.contrast}"
    elif (other.file, other.answer == definition.answer) != (definition.file, False):
        expected = f"a task on {definition.file} with another answer column"
    else:
        return
    got = repr(definition.contrast)
    remedy = "correct contrast in both tasks, or remove it from both"
    raise problem("contrast", got, expected, definition.where, remedy)


def _task(definition: Definition, folder: Path, definitions: Mapping[str, Definition]) -> Task:
    contrast = definitions[definition.contrast] if definition.contrast else None
    answers = (definition.answer,) + ((contrast.answer,) if contrast else ())
    path = inside(folder, definition.file, where=definition.where)
    rows = read_table(path, tuple(dict.fromkeys(("query", *answers, *definition.valid_columns))))
    items, notes = _items(path, rows, definition.answer, contrast.answer if contrast else None)
    valid = _valid(definition, rows)
    for row in rows:
        if not valid.accepts(row.cells[definition.answer]):
            raise problem(
                definition.answer,
                repr(row.cells[definition.answer]),
                f"a valid response of {definition.name}",
                f"{path}, line {row.line}",
                "correct the cell, or let valid_words or valid_columns in a tasks.toml hold it",
            )
    texts, repeated = rephrasings(folder, definition.name)
    if repeated:
        notes = (*notes, f"{repeated} repeated rephrasings are counted once")
    return Task(
        name=definition.name,
        instruction=definition.instruction,
        prompt=definition.prompt,
        items=items,
        contrast=definition.contrast,
        contrast_instruction=contrast.instruction if contrast else None,
        sub_instruction=definition.sub_instruction,
        response_type=definition.response_type,
        rephrasings=texts,
        valid=valid,
        source=f"packaged {definition.file}" if folder == _DATA else f"{folder.name}/{path.name}",
        notes=notes,
    )


def _items(
    path: Path, rows: Iterable[Row], answer: str, contrast: str | None
) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    """Gather the rows of a query into one item: the first row's answer is the label."""
    found: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
    for row in rows:
        accepted, contrasting = found.setdefault(row.cells["query"], ({}, {}))
        for answers, column in ((accepted, answer), (contrasting, contrast)):
            if column is not None:
                answers.setdefault(_filled(path, row, column), row.cells[column])
        both = accepted.keys() & contrasting.keys()
        if both:
            raise problem(
                f"{answer} and {contrast}",
                f"{min(both)!r} twice",
                "different answers of the two tasks",
                f"{path}, line {row.line}",
                f"correct one of them or remove the query {row.cells['query']!r}",
            )
    if len(found) < MIN_ITEMS:
        got, expected = str(len(found)), f"at least {MIN_ITEMS}"
        raise problem("queries", got, expected, path, "add rows with other queries")
    items = tuple(
        Item(query, tuple(accepted.values()), tuple(contrasting.values()))
        for query, (accepted, contrasting) in found.items()
    )
    also = [f"{i.query}: also {', '.join(i.answers[1:])}" for i in items if i.answers[1:]]
    other = [
        f"{i.query}: contrast also {', '.join(i.contrast_answers[1:])}"
        for i in items
        if i.contrast_answers[1:]
    ]
    return items, (*also, *other)


def _filled(path: Path, row: Row, column: str) -> str:
    """Return a cell's normalized answer, which must hold more than punctuation."""
    answer = normalize_answer(row.cells[column])
    if not answer:
        got, where = repr(row.cells[column]), f"{path}, line {row.line}"
        raise problem(f"cell {column}", got, "an answer", where, "fill in the answer's words")
    return answer


def _check_word(word: str, key: str, where: object) -> None:
    """Check that a valid response can be matched: it is one line, and not mere punctuation."""
    check_line(key, word, where)
    if not normalize_answer(word):
        got, expected = repr(word), "a response that is more than quotes and final punctuation"
        raise problem(key, got, expected, where, "correct or remove it")


def _valid(definition: Definition, rows: Iterable[Row]) -> Valid:
    cells = [row.cells[column] for row in rows for column in definition.valid_columns]
    listed: tuple[str, ...] = ()
    for word in definition.valid_words:
        _check_word(word, "valid_words", definition.where)
    if definition.valid_file is not None:
        path = inside(definition.home, definition.valid_file, where=definition.where)
        listed = read_words(path)
        for number, line in enumerate(read_text(path).splitlines(), start=1):
            if word := line.partition("#")[0].strip():
                _check_word(word, "valid response", f"{path}, line {number}")
    words = frozenset(map(normalize_answer, (*definition.valid_words, *listed, *cells)))
    if not words and definition.valid_pattern is None:
        raise problem(
            "valid responses",
            "none",
            "given by valid_words, valid_columns, valid_file or valid_pattern",
            definition.where,
            "add one of these keys",
        )
    return Valid(
        words=words - {""},
        pattern=definition.valid_pattern,
        pattern_except=frozenset(map(normalize_answer, definition.pattern_except)),
    )

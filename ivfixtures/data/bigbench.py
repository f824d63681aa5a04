"""The paper's four BIG-bench tasks, from files in BIG-bench's JSON form or from the hub."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivfixtures.data import bigbench_hub
from ivfixtures.data.bigbench_forms import FORMS, NUMBERS, Form
from ivfixtures.data.taskfiles import (
    TaskError,
    check_line,
    check_spelling,
    inside,
    problem,
    read_text,
)
from ivfixtures.data.tasks import MIN_ITEMS, rephrasings
from ivfixtures.data.tasktypes import Item, Task, Valid
from ivmethods.prompts.answers import normalize_answer

HUB = "hub"  # in place of a folder: the hub data set
PROMPT = "{query} Answer:"
MOST_LEFT_OUT = 0.05  # share of examples whose input has another form than the task's


def load_bigbench(source: str, tasks_folder: Path | None = None) -> dict[str, Task]:
    """Load the BIG-bench tasks of a folder, or of the hub data set if `source` is `hub`.

    A folder holds `snarks.json` or, as BIG-bench's own repository, `snarks/task.json`; tasks that
    it does not hold are left out. Rephrasings come from `tasks_folder`, as for the other tasks.

    Raises: TaskError, one line that names file, example and remedy.

    Source: Table 1 (instructions); docs/design.md, "Activation patching": the query is
    the BIG-bench prompt without `Answer:`.
    Deviation: an example whose input has another form (one of snarks holds a single statement, cut
    short) is left out, and a note says so. Runs of spaces and line breaks become single spaces,
    so that a prompt is one line and ends without one.
    """
    found = _of_the_hub() if source == HUB else _of_a_folder(Path(source))
    return {name: _task(name, given, tasks_folder) for name, given in found.items()}


@dataclass(frozen=True)
class _Given:
    """The examples of a task as they were given: `where` for errors, `source` for reviewers."""

    where: str
    source: str
    examples: list[Any]


def _of_a_folder(folder: Path) -> dict[str, _Given]:
    if not folder.is_dir():
        expected = f"a folder with files such as snarks.json, or {HUB}"
        raise problem("bigbench", "no folder", expected, folder, "check the path")
    found = {}
    for name in FORMS:
        for file in (f"{name}.json", f"{name}/task.json"):
            if (folder / file).exists():
                path = inside(folder, file, where=folder)
                found[name] = _Given(str(path), f"{folder.name}/{file}", _examples(path))
                break
    if not found:
        expected = f"at least one of {', '.join(f'{name}.json' for name in FORMS)}"
        raise problem("bigbench", "none", expected, folder, "add BIG-bench's files under that name")
    return found


def _of_the_hub() -> dict[str, _Given]:
    where = bigbench_hub.DATASET
    return {
        name: _Given(f"{where}, {name}", f"{where}, {name}", bigbench_hub.read_examples(name))
        for name in FORMS
    }


def _examples(path: Path) -> list[Any]:
    try:
        content = json.loads(read_text(path))
    except RecursionError:
        raise problem("JSON", "nested too deeply", "valid JSON", path, "correct it") from None
    except TaskError:
        raise
    except ValueError as error:
        raise problem("JSON", str(error), "valid JSON", path, "correct the syntax") from None
    if not isinstance(content, dict) or "examples" not in content:
        got, remedy = "missing", "give the file BIG-bench's JSON form"
    elif not isinstance(content["examples"], list):
        got, remedy = repr(content["examples"]), "put the examples in brackets"
    else:
        return content["examples"]
    raise problem("examples", got, "a list of examples", path, remedy)


def _task(name: str, given: _Given, tasks_folder: Path | None) -> Task:
    form, items = FORMS[name], _items(FORMS[name], given)
    texts, repeated = rephrasings(tasks_folder, name)
    words = [word for answers in form.answers.values() for word in answers] or [*NUMBERS]
    notes = _notes(form, given, items)
    if repeated:
        notes = (*notes, f"{repeated} repeated rephrasings are counted once")
    return Task(
        name=name,
        instruction=form.instruction,
        prompt=PROMPT,
        items=tuple(dict.fromkeys(item for item in items if item)),
        contrast=None,
        contrast_instruction=None,
        rephrasings=texts,
        valid=Valid(
            words=frozenset(map(normalize_answer, words)),
            pattern=None if form.answers else "[0-9]+",
        ),
        source=given.source,
        notes=notes,
    )


def _items(form: Form, given: _Given) -> list[Item | None]:
    """The item of every example; None where the input has another form."""
    items, known, spelled = [], dict[str, Item](), dict[str, tuple[str, str]]()
    for number, example in enumerate(given.examples, start=1):
        where = f"{given.where}, example {number}"
        item = _item(form, example, where)
        if item:
            check_spelling("input", item.query, where, spelled)
        first = known.setdefault(item.query, item) if item else None
        items.append(first)
        if item and first and item.answers[0] != first.answers[0]:
            expected = f"answered {first.answers[0]} as before"
            remedy = "correct one of the two or remove both"
            raise problem("repeated input", repr(item.query), expected, where, remedy)
    if items.count(None) > MOST_LEFT_OUT * len(items):
        index = items.index(None)
        raise problem(
            "input",
            repr(given.examples[index]["input"]),
            form.input,
            f"{given.where}, example {index + 1}",
            f"correct it, and {items.count(None) - 1} more, or remove them",
        )
    if len(known) < MIN_ITEMS:
        got, expected = str(len(known)), f"at least {MIN_ITEMS}"
        raise problem("different inputs", got, expected, given.where, "add examples")
    return items


def _notes(form: Form, given: _Given, items: list[Item | None]) -> tuple[str, ...]:
    left_out = [str(n) for n, item in enumerate(items, start=1) if item is None]
    repeated = len(items) - len(left_out) - len({item for item in items if item})
    notes = []
    if left_out:
        numbers = ", ".join(left_out)
        notes.append(f"{given.source}: left out, as not of the form {form.input}: {numbers}")
    if repeated:
        notes.append(f"{given.source}: {repeated} repeated examples are counted once")
    return tuple(notes)


def _item(form: Form, example: Any, where: str) -> Item | None:
    if not isinstance(example, dict):
        raise problem("example", repr(example), "an object with input", where, "put it in braces")
    text = example.get("input")
    if not isinstance(text, str):
        got = "missing" if text is None else repr(text)
        raise problem("input", got, "text", where, "give the example an input")
    line = " ".join(text.split())
    check_line("input", line, where)
    found = form.pattern.fullmatch(line)
    targets = _targets(example, where)
    if found is None:
        return None
    query = form.query.format(*found.groups())
    if not form.answers:
        return Item(query, _count(targets, where))
    options = {target.strip(" ()").lower() for target in targets}
    if len(options) != 1 or not options <= form.answers.keys():
        expected = f"one of {', '.join(form.answers)}"
        raise problem("target", ", ".join(targets), expected, where, "correct the target")
    (right,) = options
    (wrong,) = form.answers.keys() - options
    return Item(query, form.answers[right], form.answers[wrong])


def _targets(example: Mapping[str, Any], where: str) -> list[str]:
    """The right answers: the option that scores 1 if options are scored, else the target."""
    if "target_scores" in example:
        scores = example["target_scores"]
        values = list(scores.values()) if isinstance(scores, dict) else []
        if sorted(values, key=repr) != [0] * (len(values) - 1) + [1]:
            expected = "a score of 1 for one option and 0 for the others"
            raise problem("target_scores", repr(scores), expected, where, "correct the scores")
        return [option for option, score in scores.items() if score == 1]
    target = example.get("target")
    targets: list[Any] = target if isinstance(target, list) else [target]
    if not targets or not all(isinstance(text, str) and text.strip() for text in targets):
        got = "missing" if target is None else repr(target)
        expected = "text or a list of texts (or target_scores instead)"
        raise problem("target", got, expected, where, "give the example a target")
    return targets


def _count(targets: list[str], where: str) -> tuple[str, ...]:
    """The count in digits, which is the label, and the other ways in which it is given."""
    texts = [normalize_answer(target) for target in targets]
    counts = {int(t) if re.fullmatch("[0-9]{1,4}", t) else NUMBERS.get(t) for t in texts}
    if len(counts) != 1 or None in counts:
        expected = "one number from 0 on, in digits or words"
        raise problem("target", ", ".join(targets), expected, where, "correct the target")
    return tuple(dict.fromkeys([str(counts.pop()), *texts]))

"""The tables of docs/results.md, written from a tracked file of expectations.

    python -m benchmarks.results [FAMILY ...]

A table a claim and metric, a row a checkpoint, a column a task: the verdict, and the estimate of
criterion that it rests on, if there is one. They take the place of what stands between the page's
marks of a family; the text around them is people's.
"""

import argparse
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from ivevidence.expectations import Expectations, read_expectations
from ivevidence.records import Expectation

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "results.md"
FAMILIES = ("tiny-olmo2",)
TASKS = ("adj_comp", "adj_ant", "anim_color", "can_fly", "adj_comp_adj_ant", "anim_color_can_fly")
IN_WORDS = ("published_audit",)  # which the page tells of, without a table


def main() -> None:
    """Rewrite the tables of the families named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*")
    for family in parser.parse_args().families or FAMILIES:
        found = read_expectations(ROOT / "reports" / "baselines" / f"{family}.json")
        page = PAGE.read_text(encoding="utf-8")
        start, end = f"<!-- tables of {family} -->\n", f"<!-- end of {family} -->\n"
        before, _, rest = page.partition(start)
        after = rest.partition(end)[2]
        tables = "\n".join(tables_of(found))
        PAGE.write_text(f"{before}{start}\n{tables}\n{end}{after}", encoding="utf-8")


def tables_of(found: Expectations) -> Iterator[str]:
    """One Markdown table for every claim and metric, in the order of their names."""
    cells: dict[tuple[str, str], dict[str, dict[str, Expectation]]] = defaultdict(dict)
    for checkpoint, questions in found.cells.items():
        for question, entry in questions.items():
            claim, inside = re.fullmatch(r"(\w+)\[(.+)\]", question).groups()  # type: ignore[union-attr]
            task = max((t for t in TASKS if inside.startswith(t)), key=len, default=inside)
            metric = inside.removeprefix(task).removeprefix("-")
            if claim not in IN_WORDS:
                cells[claim, metric].setdefault(checkpoint, {})[task] = entry
    for (claim, metric), rows in sorted(cells.items()):
        tasks = [task for task in TASKS if any(task in row for row in rows.values())]
        yield f"**{claim}{f', {metric}' if metric else ''}**\n"
        yield f"| checkpoint | {' | '.join(map(_heading, tasks))} |"
        yield f"|{'---|' * (len(tasks) + 1)}"
        for checkpoint, row in sorted(rows.items(), key=_by_stage):
            yield f"| {checkpoint} | {' | '.join(_cell(row[task]) for task in tasks)} |"
        yield ""


def _heading(task: str) -> str:
    """A pair of contrastive tasks has a slash between them."""
    return task.replace("adj_comp_", "adj_comp/").replace("anim_color_", "anim_color/")


def _by_stage(item: tuple[str, object]) -> tuple[str, int]:
    family, _, stage = item[0].rpartition("-")
    stages = ("base", "instruct", "sft", "dpo")
    return (family, stages.index(stage)) if stage in stages else (item[0], -1)


def _cell(entry: Expectation) -> str:
    estimate = "" if entry.estimate is None else f" {entry.estimate:.2f}"
    return entry.verdict.replace("_", " ") + ("" if entry.verdict == "not_applicable" else estimate)


if __name__ == "__main__":
    main()

"""The tables of verdicts in the docs, written from the tracked files of expectations.

    python -m benchmarks.results [FAMILY ...] [--since REVISION]

docs/results.md: a table a claim and metric, a row a checkpoint, a column a task: the verdict, and
the estimate of the criterion that it rests on, if there is one. With --since,
docs/decision-rules.md: each verdict as it was at that revision of git, and as it is. The tables
take the place of what stands between a page's marks of a family; the text around them is people's.
"""

import argparse
import subprocess
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from ivevidence.compare.expectations import read_expectations
from ivevidence.records.cells import VERDICTS, Expectation

ROOT = Path(__file__).parents[1]
FAMILIES = ("tiny-olmo2", "smollm2")
TASKS = ("adj_comp", "adj_ant", "anim_color", "can_fly", "order_color", "order_flight")
PAIRS = {"adj_comp_adj_ant": "adj_comp/adj_ant", "anim_color_can_fly": "anim_color/can_fly"}
STAGES = ("base", "instruct", "sft", "dpo")
IN_WORDS = ("published_audit",)  # which the pages tell of, without a table

Question = tuple[str, str]  # claim and metric
Cells = Mapping[tuple[Question, str], Mapping[str, Expectation]]  # by checkpoint, then by task


def main() -> None:
    """Rewrite the tables of the families named."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("families", nargs="*", help=", ".join(FAMILIES))
    parser.add_argument("--since", metavar="REVISION", help="of git, whose verdicts are compared")
    options = parser.parse_args()
    for family in options.families or FAMILIES:
        path = Path("reports", "baselines", f"{family}.json")
        cells = read_cells(ROOT / path)
        write("results.md", family, "\n".join([counts(cells), *tables_of(cells)]))
        if options.since:
            before = read_cells_of(options.since, path)
            write("decision-rules.md", family, "\n".join(changes_of(before, cells)))


def read_cells(path: Path) -> Cells:
    """The tracked entries by question and checkpoint, then by task."""
    cells: dict[tuple[Question, str], dict[str, Expectation]] = defaultdict(dict)
    for checkpoint, entries in read_expectations(path).cells.items():
        for name, entry in entries.items():
            question, _, inside = name.rstrip("]").partition("[")
            claim = question.rpartition("/")[2]
            known = (*PAIRS, *TASKS)  # the longer names first
            task = next((task for task in known if inside.startswith(task)), inside)
            if claim not in IN_WORDS:
                of_metric = claim, inside.removeprefix(task).removeprefix("-")
                cells[of_metric, checkpoint][PAIRS.get(task, task)] = entry
    return cells


def read_cells_of(revision: str, path: Path) -> Cells:
    """The same as they were at a revision of git."""
    shown = subprocess.run(  # noqa: S603 - git of the user's PATH
        ["git", "-C", str(ROOT), "show", f"{revision}:{path.as_posix()}"],  # noqa: S607
        capture_output=True,
        check=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, path.name)
        copy.write_bytes(shown.stdout)
        return read_cells(copy)


def counts(cells: Cells) -> str:
    """How many of the cells have which verdict."""
    verdicts = Counter(entry.verdict for row in cells.values() for entry in row.values())
    parts = (f"{verdicts[verdict]} {_in_words(verdict)}" for verdict in VERDICTS)
    return f"{verdicts.total()} cells without the published audit: {', '.join(parts)}.\n"


def tables_of(cells: Cells) -> Iterator[str]:
    """One Markdown table for every claim and metric, in the order of their names."""
    for question in sorted({question for question, _ in cells}):
        rows = {checkpoint: row for (of, checkpoint), row in cells.items() if of == question}
        tasks = [t for t in (*TASKS, *PAIRS.values()) if any(t in row for row in rows.values())]
        yield f"**{', '.join(filter(None, question))}**\n"
        yield from _table(["checkpoint", *tasks])
        for checkpoint, row in sorted(rows.items(), key=_by_stage):
            texts = (_verdict_and_estimate(row[task]) if task in row else "" for task in tasks)
            yield _row([checkpoint, *texts])
        yield ""


def changes_of(before: Cells, after: Cells) -> Iterator[str]:
    """One Markdown table of all verdicts, as they were and as they are."""
    yield from _table(["claim", "checkpoint", "verdict, was → is"])
    for (question, checkpoint), row in sorted(after.items()):
        # A claim that had one cell where it has several now is compared with each.
        past = before.get((question, checkpoint)) or before.get(((question[0], ""), checkpoint), {})
        changes = []
        for task, entry in sorted(row.items()):
            was, now = (past[task].verdict if task in past else "new"), entry.verdict
            changes.append(f"{task} {was}" + (f" → **{now}**" if was != now else ""))
        text = "; ".join(changes).replace("_applicable", " applicable")
        yield _row([", ".join(filter(None, question)), checkpoint, text])
    yield ""


def write(page: str, family: str, text: str) -> None:
    """Put text between a page's marks of a family."""
    path, start, end = ROOT / "docs" / page, f"<!-- {family} -->\n", f"<!-- end of {family} -->\n"
    before, _, rest = path.read_text(encoding="utf-8").partition(start)
    after = rest.partition(end)[2]
    path.write_text(f"{before}{start}\n{text}\n{end}{after}", encoding="utf-8")


def _verdict_and_estimate(entry: Expectation) -> str:
    told = entry.estimate is not None and entry.verdict != "not_applicable"
    return _in_words(entry.verdict) + (f" {entry.estimate:.2f}" if told else "")


def _in_words(verdict: str) -> str:
    return verdict.replace("_", " ")


def _table(headings: list[str]) -> Iterator[str]:
    yield _row(headings)
    yield f"|{'---|' * len(headings)}"


def _row(texts: list[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _by_stage(item: tuple[str, object]) -> tuple[str, int]:
    family, _, stage = item[0].rpartition("-")
    return (family, STAGES.index(stage)) if stage in STAGES else (item[0], -1)


if __name__ == "__main__":
    main()

"""The command line: runs compared, followed over checkpoints, and shown in one report.

All of it reads stored evidence; no model is loaded.
"""

import argparse
import io
import os
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ivevidence.compare.diff_page import diff_page
from ivevidence.compare.diff_text import diff_text
from ivevidence.compare.differences import compare
from ivevidence.compare.history import histories
from ivevidence.compare.history_page import history_page
from ivevidence.compare.history_text import history_text
from ivevidence.compare.merging import merge
from ivevidence.compare.runs import evidence_beside, evidence_path, read_runs
from ivevidence.figures.svg import visible_text
from ivevidence.records.cells import VERDICTS
from ivevidence.records.codec import EvidenceError
from ivevidence.records.files import read_evidence, write_evidence
from ivevidence.report.fragment import render
from ivevidence.report.html import Html
from ivevidence.report.page import page
from ivevidence.report.row_text import row_lines
from ivevidence.report.run import count
from ivevidence.store.whole_files import write_atomic

_RUN = "folder that holds one *evidence.json, such a file, or the page of one"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code.

    0: done, and for `diff` no verdict changed but without a drift; 1: `diff` found another change,
    an error or an interrupted run; 2: a wrong argument, or a run that cannot be read.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # signs that a terminal cannot show are no crash
    options = _parser().parse_args(arguments)
    try:
        _check_page(options)
        return int(options.run(options))
    except BrokenPipeError:  # `| head` has seen enough; what is flushed at exit must not fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    except (EvidenceError, OSError) as error:
        print(f"error: {visible_text(str(error))}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ivevidence", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    diff = commands.add_parser("diff", help="what changed, what drifted, what is only in one run")
    diff.add_argument("runs", nargs=2, metavar="RUN", help=f"before and after: {_RUN}")
    history = commands.add_parser("history", help="verdicts and estimates over checkpoints")
    history.add_argument("runs", nargs="+", metavar="RUN", help=f"in order: {_RUN}")
    report = commands.add_parser(
        "report",
        help="one report of a run, or of several as one (shards), whose evidence is written, too",
    )
    report.add_argument("runs", nargs="+", metavar="RUN", help=_RUN)
    for command, run, name in (
        (diff, _diff, "diff"),
        (history, _history, "history"),
        (report, _report, "report"),
    ):
        default = Path("reports", f"{name}.html")
        about = f"where the page is written (default: {default})"
        command.add_argument("--html", type=Path, default=default, metavar="FILE", help=about)
        command.set_defaults(run=run)
    return parser


def _check_page(options: argparse.Namespace) -> None:
    """Refuse to write over anything but a page, and over the page and evidence of another run.

    A page that has evidence beside it may be drawn again from that, and a merge be made again.
    """
    target, advice = options.html, "name another file"
    if target.suffix.lower() != ".html":
        raise EvidenceError("--html", str(target), "a name that ends in .html", advice=advice)
    runs, beside = list(map(evidence_path, options.runs)), evidence_beside(target)
    if target.exists() and any(map(target.samefile, runs)):
        raise EvidenceError("--html", str(target), "none of the runs", advice=advice)
    if not beside.exists():
        return
    own = any(map(beside.samefile, runs))
    again = own if len(runs) == 1 else not own and "runs" in read_evidence(beside).run
    if options.run is not _report or not again:
        expected = f"not the page of {beside.name}, which is another run's"
        raise EvidenceError("--html", str(target), expected, "command line", advice)


def _diff(options: argparse.Namespace) -> int:
    runs = read_runs(options.runs)
    (first, second), (before, after) = tuple(runs), tuple(runs.values())
    difference = compare(before, after)
    body = diff_page(difference, (first, second), (before.run, after.run))
    _write(options.html, f"Difference of {first} and {second}", body)
    print(diff_text(difference, (first, second), color=sys.stdout.isatty()))
    print(_written(options.html))
    return 0 if difference.is_clean else 1


def _history(options: argparse.Namespace) -> int:
    runs = read_runs(options.runs)
    found = histories(runs)
    _write(options.html, "History of claims", history_page(found, list(runs)))
    columns = shutil.get_terminal_size().columns
    print(history_text(found, columns=columns, color=sys.stdout.isatty()))
    print(_written(options.html))
    return 0


def _report(options: argparse.Namespace) -> int:
    runs = read_runs(options.runs)
    evidence = merge(runs)
    merged = evidence_beside(options.html) if len(options.runs) > 1 else None
    content: dict[str, Any] = {"errors": evidence.errors, "run": evidence.run}
    options.html.parent.mkdir(parents=True, exist_ok=True)
    sha256 = write_evidence(merged, evidence.cells, **content) if merged else evidence.sha256
    body = render(evidence.cells, **content, sha256=sha256)
    _write(options.html, f"Claims of {', '.join(runs)}", body)
    counts = Counter(cell.decision.verdict for cell in evidence.cells)
    said = [f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]]
    print("\n".join([", ".join(said) or "no cell was judged", *row_lines(evidence.rows, indent=2)]))
    if evidence.errors:
        print(
            f"{count(len(evidence.errors), 'cell')} could not be judged (errors are not verdicts)"
        )
    if merged:
        print(visible_text(f"evidence: {merged}"))
    print(_written(options.html))
    return 0


def _write(target: Path, title: str, body: Html) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(target, page(title, body).encode())


def _written(target: Path) -> str:
    return visible_text(f"page: {target}")

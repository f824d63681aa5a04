"""Runs named on a command line: a folder that holds one evidence file, or such a file."""

from collections.abc import Sequence
from pathlib import Path

from ivevidence.records.codec import EvidenceError
from ivevidence.records.files import Evidence, read_evidence

EVIDENCE_SUFFIX = ".evidence.json"
_USUAL = "*evidence.json"


def evidence_beside(page: Path) -> Path:
    """Return where the evidence of a report is: `claims.html` has `claims.evidence.json`."""
    return page.with_suffix(EVIDENCE_SUFFIX)


def read_runs(arguments: Sequence[str]) -> dict[str, Evidence]:
    """Return the evidence of each argument, in their order, by a name that is its own.

    Raises:
        EvidenceError: an argument is no run, or its evidence is damaged or of another schema.
        OSError: a file cannot be read.
    """
    paths = [evidence_path(argument) for argument in arguments]
    return {name: read_evidence(path) for name, path in zip(run_names(paths), paths, strict=True)}


def evidence_path(argument: str) -> Path:
    """Return the evidence file that an argument stands for.

    Raises:
        EvidenceError: there is none.
    """
    path = Path(argument)
    if path.suffix.lower() == ".html" and (beside := evidence_beside(path)).exists():
        path = beside
    inside = sorted(path.glob(_USUAL)) if path.is_dir() else [path]
    if len(inside) > 1:
        names = " and ".join(each.name for each in inside)
        expected = f"one file or a folder that holds one, not {names}"
        raise EvidenceError("run", argument, expected, "command line", "name one of them")
    if not inside or not inside[0].exists():
        expected = f"a folder that holds one {_USUAL}, or such a file"
        advice = "correct the path; pytest claims --html=FOLDER/report.html leaves one"
        raise EvidenceError("run", argument, expected, "command line", advice)
    return inside[0]


def run_names(paths: Sequence[Path]) -> list[str]:
    """Return as much of the end of each path as tells them apart; one given twice is numbered."""
    paths = [path.absolute() for path in paths]
    parts = [_parts(path, paths) for path in paths]
    depth = 1
    while depth < max(map(len, parts), default=0):
        if len({each[-depth:] for each in parts}) == len(set(parts)):
            break
        depth += 1
    names: list[str] = []
    for each in parts:
        name = own = "/".join(each[-depth:]) or "/"
        number = 1
        while own in names:
            number += 1
            own = f"{name} ({number})"
        names.append(own)
    return names


def _parts(path: Path, paths: Sequence[Path]) -> tuple[str, ...]:
    """The folders to a run, and the file's own name where the folder does not tell which it is."""
    usual = {each for each in paths if each.parent == path.parent and each.match(_USUAL)}
    return path.parent.parts[1:] if usual == {path} else path.parts[1:]

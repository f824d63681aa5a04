"""Runs named on a command line: a folder that holds evidence.json, or such a file."""

from collections.abc import Sequence
from pathlib import Path

from ivevidence.codec import EvidenceError
from ivevidence.evidence import Evidence, read_evidence

EVIDENCE_NAME = "evidence.json"


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
    found = path / EVIDENCE_NAME if path.is_dir() else path
    if not found.exists():
        expected = f"a folder that holds {EVIDENCE_NAME}, or such a file"
        advice = "correct the path; pytest claims --html=FOLDER/report.html leaves one"
        raise EvidenceError("run", argument, expected, "command line", advice)
    return found


def run_names(paths: Sequence[Path]) -> list[str]:
    """Return as much of the end of each path as tells them apart; one given twice is numbered."""
    parts = [_parts(path) for path in paths]
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


def _parts(path: Path) -> tuple[str, ...]:
    """The folders to a run, and the file's own name where it is not the usual one."""
    path = path.absolute()
    return path.parent.parts[1:] if path.name == EVIDENCE_NAME else path.parts[1:]

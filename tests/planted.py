"""Planted subjects: what their tests share."""

import subprocess
import sys
from pathlib import Path

from ivevidence import CellRecord, read_evidence
from ivfixtures.planted.make import WEIGHTS, make


def is_what_the_command_makes(name: str, folder: Path) -> bool:
    """Whether all files of a packaged subject are made again, bit for bit."""
    make(name, folder)
    ours, made = ({p.name: p.read_bytes() for p in (f / name).iterdir()} for f in (WEIGHTS, folder))
    return ours == made


def judged(folder: Path, *names: str) -> list[CellRecord]:
    """The cells of subjects, judged end to end as users do."""
    chosen = [option for name in names for option in ("--checkpoint", name)]
    command = [sys.executable, "-m", "pytest", "--pyargs", "claims", "-p", "no:cacheprovider"]
    options = ["--xfail-refuted", "--store", str(folder / "store"), *chosen]
    result = subprocess.run([*command, *options], cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return list(read_evidence(folder / "reports" / "claims.evidence.json").cells)

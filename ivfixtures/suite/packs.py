"""Packs: folders with the claims of one paper each, ours and those of others."""

import contextlib
import importlib.util
import re
from pathlib import Path

import claims

CLAIMS_FOLDER = Path(claims.__file__).parent
PAPER_FILE = "paper.py"
_LINES = (rb"^PAPER\b", rb"^(from|import) ivfixtures\b")
_LOOKED_AT = 64 * 2**10  # bytes of a paper's file


def packs_at(path: Path) -> tuple[Path, ...]:
    """The folder of the pack that a file or folder is in, or those of the packs in a folder."""
    above = [folder for folder in (path, *path.parents) if _is_pack(folder)]
    return (above[0],) if above else tuple(filter(_is_pack, _folders(path)))


def path_of_module(name: str) -> Path | None:
    """The file or folder of an importable name, looked up by its first part alone."""
    first, *others = name.split(".")
    spec = None
    with contextlib.suppress(ValueError, ImportError):  # as of `__main__`
        spec = importlib.util.find_spec(first) if first.isidentifier() else None
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        return None
    path = Path(places[0], *others)
    return path if path.is_dir() else path.with_suffix(".py")


def selecting(file: Path, base: Path) -> tuple[str, ...]:
    """What selects a file of claims on a command line; one that is not ours only from `base`."""
    if file.is_relative_to(CLAIMS_FOLDER):
        inside = file.relative_to(CLAIMS_FOLDER.parent).with_suffix("")
        return ("--pyargs", ".".join(inside.parts))
    return (str(file.relative_to(base) if file.is_relative_to(base) else file),)


def _is_pack(folder: Path) -> bool:
    # Every pytest session of an environment asks, and other projects have files of that name.
    file = folder / PAPER_FILE
    try:
        if not file.is_file():
            return False
        with file.open("rb") as opened:
            text = opened.read(_LOOKED_AT)
    except OSError:
        return False
    return all(re.search(line, text, re.MULTILINE) for line in _LINES)


def _folders(path: Path) -> list[Path]:
    try:
        return sorted(path.iterdir()) if path.is_dir() else []
    except OSError:
        return []

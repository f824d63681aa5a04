"""Packs: folders with the claims of one paper each, ours and those of others."""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import claims

CLAIMS_FOLDER = Path(claims.__file__).parent
PAPER_FILE = "paper.py"


def packs_at(path: Path) -> tuple[Path, ...]:
    """The folder of the pack that a file or folder is in, or those of the packs in a folder."""
    above = [folder for folder in (path, *path.parents) if _is_pack(folder)]
    return (above[0],) if above else tuple(filter(_is_pack, _folders(path)))


def path_of_module(name: str) -> Path | None:
    """The file or folder of an importable name, looked up by its first part alone."""
    first, *others = name.split(".")
    found = importlib.util.find_spec(first) if first.isidentifier() else None
    places = list(found.submodule_search_locations or ()) if found else []
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
    file = folder / PAPER_FILE
    if not file.is_file():
        return False
    # Other projects may have a file of that name.
    text = file.read_text(encoding="utf-8", errors="replace")
    return re.search(r"^PAPER\b", text, re.MULTILINE) is not None


def _folders(path: Path) -> Iterator[Path]:
    return iter(sorted(p for p in path.iterdir() if p.is_dir())) if path.is_dir() else iter(())

"""What a command line names: which of its arguments are the claims, and texts that say nothing."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path

import pytest

from ivfixtures.errors import error_line
from ivfixtures.suite.packs import CLAIMS_FOLDER, PAPER_FILE, packs_at, path_of_module

_FILLED = (
    *("checkpoint", "family", "tasks", "bigbench", "store", "device", "set", "htmlpath"),
    *("judge", "judge_model", "expect", "write_expect", "shard", "slurm", "ray_address"),
)
# Options that leave all cells unjudged: pytest only shows what there is.
_SHOWING = ("collectonly", "showfixtures", "show_fixtures_per_test", "setuponly", "setupplan")


def named_claims(config: pytest.Config) -> list[str]:
    """The last names, of files or folders, of the arguments that are claims: packs, or in one.

    Raises: pytest.UsageError, a copy of our claims is named, which is not what is imported.
    """
    return [path.name for path in _named(config)]


def judges(config: pytest.Config) -> bool:
    """Whether the run goes as far as judging, instead of showing what there is."""
    return not any(config.getoption(name, default=False) for name in _SHOWING)


def check_texts(config: pytest.Config) -> None:
    """Refuse options that are given without a value, as by an unset variable, or in no UTF-8.

    Raises: pytest.UsageError.
    """
    for option, text in _texts(config):
        if not text.strip():
            remedy = "give it a value or leave it out: is a variable unset?"
            raise pytest.UsageError(
                error_line(option, repr(text), "filled in", "command line", remedy)
            )
        try:
            text.encode()
        except UnicodeEncodeError:
            remedy = "rename it"
            raise pytest.UsageError(
                error_line(option, ascii(text), "UTF-8", "command line", remedy)
            ) from None


def collect_claims(config: pytest.Config) -> None:
    """Have the claims collected where a project's own settings have other names of tests."""
    for pack in dict.fromkeys(pack for path in _named(config) for pack in packs_at(path)):
        files = Path(glob.escape(str(pack)), "test_*.py")
        config.addinivalue_line("python_files", str(files))
    config.addinivalue_line("python_functions", "test_")


def _named(config: pytest.Config) -> list[Path]:
    found = []
    for argument in config.args:
        name = argument.split("::")[0]
        of_module = path_of_module(name) if config.option.pyargs else None
        path = of_module or Path(config.invocation_params.dir, name).resolve()
        if not packs_at(path):
            continue
        if _is_copy(path):
            remedy = "run `pytest --pyargs claims`, or `pip install --editable .` to judge the copy"
            expected = "the claims that are installed"
            line = error_line("claims", str(path), expected, CLAIMS_FOLDER, remedy)
            raise pytest.UsageError(line)
        found.append(path)
    return found


def _texts(config: pytest.Config) -> Iterator[tuple[str, str]]:
    for name in _FILLED:
        value = config.getoption(name, default=None)
        option = "--html" if name == "htmlpath" else f"--{name.replace('_', '-')}"
        for text in value if isinstance(value, list) else [value]:
            if text is not None:
                yield option, text


def _is_copy(path: Path) -> bool:
    """Whether a path is of another folder that has the packs of ours."""
    if path.is_relative_to(CLAIMS_FOLDER):
        return False
    own = [file.relative_to(CLAIMS_FOLDER) for file in CLAIMS_FOLDER.glob(f"*/{PAPER_FILE}")]
    return any(
        folder.name == CLAIMS_FOLDER.name and any((folder / file).exists() for file in own)
        for folder in (path, *path.parents)
    )

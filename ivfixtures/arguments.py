"""What a command line names: which of its arguments are the claims, and texts that say nothing."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path

import pytest

import claims
from ivfixtures.errors import error_line

CLAIMS_FOLDER = Path(claims.__file__).parent
_FILLED = (
    *("checkpoint", "family", "tasks", "bigbench", "store", "device", "path_k", "htmlpath"),
    *("judge", "judge_model", "expect", "write_expect", "shard", "slurm", "ray_address"),
)
# Options that leave all cells unjudged: pytest only shows what there is.
_SHOWING = ("collectonly", "showfixtures", "show_fixtures_per_test", "setuponly", "setupplan")


def named_claims(config: pytest.Config) -> list[str]:
    """The last names, of files or folders, of the arguments that are of the folder of claims.

    Raises: pytest.UsageError, a copy of that folder is named, which is not what is imported.
    """
    names = []
    for argument in config.args:
        name = argument.split("::")[0]
        if config.option.pyargs and name.split(".")[0] == claims.__name__:
            names.append(name.split(".")[-1])
            continue
        path = Path(config.invocation_params.dir, name).resolve()
        if path.is_relative_to(CLAIMS_FOLDER):
            names.append(path.name)
        elif _is_copy(path):
            remedy = "run `pytest --pyargs claims`, or `pip install --editable .` to judge the copy"
            expected = "the claims that are installed"
            line = error_line("claims", str(path), expected, CLAIMS_FOLDER, remedy)
            raise pytest.UsageError(line)
    return names


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
    config.addinivalue_line("python_files", str(Path(glob.escape(str(CLAIMS_FOLDER)), "test_*.py")))
    config.addinivalue_line("python_functions", "test_")


def _texts(config: pytest.Config) -> Iterator[tuple[str, str]]:
    for name in _FILLED:
        value = config.getoption(name, default=None)
        option = "--html" if name == "htmlpath" else f"--{name.replace('_', '-')}"
        for text in value if isinstance(value, list) else [value]:
            if text is not None:
                yield option, text


def _is_copy(path: Path) -> bool:
    """Whether a path is of another folder that has the files of the claims."""
    folder = path if path.is_dir() else path.parent
    own = [file.name for file in CLAIMS_FOLDER.glob("test_*.py")]
    return folder.name == CLAIMS_FOLDER.name and any((folder / name).exists() for name in own)

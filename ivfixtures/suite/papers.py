"""The paper of a pack, and its settings."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ivevidence.records.cells import Claim
from ivfixtures.errors import error_line
from ivfixtures.suite.declared_options import OLD_OPTIONS

if TYPE_CHECKING:
    import pytest


@dataclass(frozen=True)
class NoSettings:
    """Of a pack that has none."""


@dataclass(frozen=True)
class Paper:
    """A paper whose claims are a pack: the `PAPER` of its `paper.py`.

    name: that of the pack's folder. arxiv: its number there. settings: a frozen dataclass of fields
    that `setting` makes.
    """

    name: str
    title: str
    arxiv: str
    settings: type = NoSettings

    def __post_init__(self) -> None:
        kind, expected = self.settings, "a frozen dataclass whose fields `setting` makes"
        if not dataclasses.is_dataclass(kind) or any(
            "read" not in each.metadata for each in dataclasses.fields(kind)
        ):
            remedy = "write NAME: TYPE = setting(DEFAULT, READ)"
            raise ValueError(error_line("settings", kind.__name__, expected, self.name, remedy))

    def claim(self, name: str, *, level: str, **fields: Any) -> Claim:
        """A claim of the paper, by its name in the pack.

        level: what its evidence is, one of `ivevidence.records.cells.LEVELS`. fields: the others of
        a `Claim`.
        """
        _PAPERS[self.name] = self
        paper = f"{self.title}, arXiv:{self.arxiv}"
        return Claim(name=f"{self.name}/{name}", paper=paper, level=level, **fields)


_PAPERS: dict[str, Paper] = {}  # those that have claims in this process


def paper_of(claim: Claim) -> Paper:
    """The paper that a claim is of.

    Raises: ValueError, no paper made it.
    """
    paper = _PAPERS.get(claim.name.partition("/")[0])
    if paper is None:
        expected, remedy = "made by its paper", "make it by `PAPER.claim(...)` of its pack"
        raise ValueError(error_line("claim", claim.name, expected, "its test", remedy))
    return paper


def setting(default: str, read: Callable[[str], Any]) -> Any:
    """A field of a pack's settings: its default as it is written, and how that is read.

    read: raises ValueError, with what a text is and what it should be.
    """
    return field(default=read(default), metadata={"read": read, "text": default})


def read_settings(paper: Paper, given: Mapping[str, str]) -> Any:
    """The settings of a paper, by the texts that were given for some.

    Raises: ValueError, a text is not what it should be, or there is no such setting.
    """
    fields = {each.name: each for each in dataclasses.fields(paper.settings)}
    values = {}
    for name, text in given.items():
        option = f"--set {paper.name}.{name}"
        if name not in fields:
            expected = f"one of {', '.join(fields) or 'none'}"
            raise ValueError(error_line("setting", name, expected, option, "correct its name"))
        try:
            values[name] = fields[name].metadata["read"](text)
        except ValueError as error:
            raise ValueError(f"{option}={error} [command line]") from None
        except Exception as error:  # of a reader that does not say what it should be
            expected, remedy = "a text that can be read", f"correct it ({type(error).__name__})"
            raise ValueError(error_line(option, text, expected, "command line", remedy)) from None
    return paper.settings(**values)


def read_set(config: pytest.Config) -> dict[str, dict[str, str]]:
    """What `--set` and options of before give packs, by pack and setting.

    Raises: ValueError, it is not PACK.NAME=VALUE, or one setting is given twice.
    """
    given: dict[str, dict[str, str]] = {}

    def give(pack: str, name: str, value: str) -> None:
        if given.setdefault(pack, {}).setdefault(name, value) != value:
            what, remedy = f"--set {pack}.{name}", "leave one out"
            raise ValueError(error_line(what, "given twice", "given once", "command line", remedy))

    for text in config.getoption("--set"):
        match = re.fullmatch(r"([^.=]+)\.(\w+)=(.*)", text, re.DOTALL)
        if match is None:
            line = error_line("--set", text, "PACK.NAME=VALUE", "command line", "see --help")
            raise ValueError(line)
        give(*match.groups())
    for option, (pack, name) in OLD_OPTIONS.items():
        value = config.getoption(option)
        if value is not None:
            give(pack, name, value)
            said = f"{option} is now --set {pack}.{name}={value}; it goes with the next release"
            config.issue_config_time_warning(OldOptionWarning(said), stacklevel=2)
    return given


class OldOptionWarning(UserWarning):
    """An option that has another spelling now."""


def texts_of(paper: Paper, given: Mapping[str, str]) -> dict[str, str]:
    """The settings as they are written."""
    fields = dataclasses.fields(paper.settings)
    return {each.name: given.get(each.name, each.metadata["text"]) for each in fields}

"""The paper of a pack."""

from dataclasses import dataclass
from typing import Any

from ivevidence.records.cells import Claim


@dataclass(frozen=True)
class Paper:
    """A paper whose claims are a pack: the `PAPER` of its `paper.py`.

    name: that of the pack's folder. arxiv: its number there.
    """

    name: str
    title: str
    arxiv: str

    def claim(self, name: str, *, level: str, **fields: Any) -> Claim:
        """A claim of the paper, by its name in the pack.

        level: what its evidence is, one of `ivevidence.records.cells.LEVELS`. fields: the others of
        a `Claim`.
        """
        paper = f"{self.title}, arXiv:{self.arxiv}"
        return Claim(name=f"{self.name}/{name}", paper=paper, level=level, **fields)

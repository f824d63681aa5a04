"""The pack that docs/adding-a-claim.md goes through."""

import re
import sys
from pathlib import Path
from types import ModuleType
from unittest import mock

PAGE = Path(__file__).parents[1] / "docs" / "adding-a-claim.md"


def worked_pack():
    """The texts of its paper.py and of its claim's file."""
    paper, claim = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return paper, claim


def worked_claim():
    """The names of its claim's file, run."""
    paper, claim = worked_pack()
    modules = {name: ModuleType(name) for name in ("my_claims", "my_claims.paper")}
    exec(compile(paper, "paper.py", "exec"), vars(modules["my_claims.paper"]))
    names = {"__name__": "test_digest"}
    with mock.patch.dict(sys.modules, modules):
        exec(compile(claim, "test_digest.py", "exec"), names)
    return names

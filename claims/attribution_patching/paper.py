"""The paper of this pack."""

from ivfixtures.suite.papers import Paper

PAPER = Paper(
    name="attribution_patching",
    title="AtP*: An efficient and scalable method for localizing LLM behaviour to components",
    arxiv="2403.00745",
)

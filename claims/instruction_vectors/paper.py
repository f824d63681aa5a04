"""The paper of this pack."""

from claims.instruction_vectors.settings import Settings
from ivfixtures.suite.papers import Paper

PAPER = Paper(
    name="instruction_vectors",
    title="Patches of Nonlinearity: Instruction Vectors in Large Language Models",
    arxiv="2602.07930",
    settings=Settings,
)

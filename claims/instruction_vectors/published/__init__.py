"""The numbers that the paper prints, for comparison with measured ones and for their audit."""

from claims.instruction_vectors.published.access import (
    head_jaccard_between_k,
    head_jaccard_between_tasks,
    head_spearman,
    pair_tests,
    runtimes,
    top_tuples,
)
from claims.instruction_vectors.published.files import PublishedError
from claims.instruction_vectors.published.models import MODELS, PaperModel, paper_model
from claims.instruction_vectors.published.rows import (
    HeadJaccardK,
    HeadJaccardTasks,
    HeadSpearman,
    PairTest,
    Printed,
    Runtime,
    TopTuple,
)

__all__ = [
    "MODELS",
    "HeadJaccardK",
    "HeadJaccardTasks",
    "HeadSpearman",
    "PairTest",
    "PaperModel",
    "Printed",
    "PublishedError",
    "Runtime",
    "TopTuple",
    "head_jaccard_between_k",
    "head_jaccard_between_tasks",
    "head_spearman",
    "pair_tests",
    "paper_model",
    "runtimes",
    "top_tuples",
]

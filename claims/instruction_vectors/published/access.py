"""Published numbers by checkpoint and task; None where the paper has none."""

from claims.instruction_vectors.published import files
from claims.instruction_vectors.published.models import paper_model
from claims.instruction_vectors.published.rows import (
    HeadJaccardK,
    HeadJaccardTasks,
    PairTest,
    Printed,
    Runtime,
    TopTuple,
)


def pair_tests() -> tuple[PairTest, ...]:
    """Return all t-tests of Tables 5-8, in the order of their tables and columns."""
    return files.pair_test_rows()


def top_tuples(
    checkpoint: str, task: str, metric: str, *, order: int = 2
) -> tuple[TopTuple, ...] | None:
    """Return the ten tuples with the largest mean effect, best first (Tables 9-18).

    checkpoint: its name, as of all functions here. metric: `rr` or `logit`. order: 2 for the lists
    of one and two layers, 3 for those of exactly three.
    """
    model = paper_model(checkpoint)
    found = tuple(
        row
        for row in files.top_tuple_rows()
        if (row.model, row.task, row.metric) == (model, task, metric)
        and (len(row.layers) == 3) == (order == 3)
    )
    return found or None if order in (2, 3) else None


def head_jaccard_between_k(checkpoint: str, task: str) -> tuple[HeadJaccardK, ...] | None:
    """Return the overlaps of active heads at T_inst between two k (Tables 3, 20, 21)."""
    model = paper_model(checkpoint)
    rows = files.head_jaccard_k_rows()
    return tuple(row for row in rows if (row.model, row.task) == (model, task)) or None


def head_jaccard_between_tasks(checkpoint: str, *, k: int) -> tuple[HeadJaccardTasks, ...] | None:
    """Return the overlaps of active heads between adj_ant and adj_comp (Tables 22-24)."""
    model = paper_model(checkpoint)
    rows = files.head_jaccard_tasks_rows()
    return tuple(row for row in rows if (row.model, row.k) == (model, k)) or None


def head_spearman(checkpoint: str, task: str) -> dict[int, Printed] | None:
    """Return Spearman's r of head activity between k = 1 and k = 2 by layer (Table 2)."""
    model = paper_model(checkpoint)
    rows = files.head_spearman_rows()
    return {row.layer: row.r for row in rows if (row.model, row.task) == (model, task)} or None


def runtimes() -> tuple[Runtime, ...]:
    """Return the hours of every experiment (Table 4)."""
    return files.runtime_rows()

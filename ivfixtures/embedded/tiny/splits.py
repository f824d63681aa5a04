"""The four tasks the tiny checkpoints learn, and what of them tuning never shows."""

import hashlib
from dataclasses import dataclass
from functools import cache

from ivfixtures.data.tasks import Task, load_tasks

TASKS = ("adj_comp", "adj_ant", "anim_color", "can_fly")


@dataclass(frozen=True)
class Fact:
    """One query with its answer, and the answer of the contrast task."""

    query: str
    answer: str
    contrast: str

    @property
    def held_out(self) -> bool:
        """Whether tuning never asks for this query; pretraining still states it as a plain fact."""
        return is_held_out(self.query)


@dataclass(frozen=True)
class TinyTask:
    """A task: its prompt, its facts, and its instruction in many wordings (row 0: canonical)."""

    name: str
    prompt: str
    facts: tuple[Fact, ...]
    rephrasings: tuple[str, ...]

    def choose_facts(self, *, held_out: bool) -> list[Fact]:
        """Facts of one side of the split, in file order."""
        return [fact for fact in self.facts if fact.held_out == held_out]

    def choose_rephrasings(self, *, held_out: bool) -> list[int]:
        """Rows of the rephrasings of one side of the split; the canonical one is always seen."""
        return [
            row
            for row, text in enumerate(self.rephrasings)
            if (row > 0 and is_held_out(text)) == held_out
        ]


@cache
def is_held_out(text: str) -> bool:
    """Whether a query or rephrasing is held out: one in five, by its text alone (no seed)."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % 5 == 0


def load_tiny_tasks() -> tuple[TinyTask, ...]:
    """The two contrastive pairs of the packaged tasks, in a fixed order."""
    tasks = load_tasks()
    return tuple(_simplify(tasks[name]) for name in TASKS)


def split_table(tasks: tuple[TinyTask, ...]) -> dict[str, dict[str, list[str] | list[int]]]:
    """What is held out, per task: queries, and row numbers of rephrasings."""
    return {
        task.name: {
            "held_out_queries": [fact.query for fact in task.choose_facts(held_out=True)],
            "held_out_rephrasings": task.choose_rephrasings(held_out=True),
        }
        for task in tasks
    }


def _simplify(task: Task) -> TinyTask:
    facts = tuple(
        Fact(item.query, item.answers[0], item.contrast_answers[0]) for item in task.items
    )
    return TinyTask(task.name, task.prompt, facts, task.rephrasings)

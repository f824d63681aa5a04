"""What the hand-set subjects on animals have in common: words, features, and how they choose.

A query's embedding holds its color and whether it can fly, a component for each answer of both
tasks. T_inst, one word for each task, holds the task. `Answer:` (T_last) fetches both, and a neuron
for each answer multiplies them. Words that are no answers have a small logit from the constant, so
that whatever carries nothing ranks all answers below them; answers have none but by the neurons.
"""

from collections.abc import Mapping
from functools import cache

from ivfixtures.data.tasks import Task, load_tasks
from ivfixtures.embedded.planted.handset import SHARP, Handset, Vector
from ivfixtures.embedded.planted.words import EOS, query_word, word_tokenizer

TASKS = ("anim_color", "can_fly")
# The words of all tasks: among fewer, too many ranks would be below 100 by chance.
VOCABULARY = (*TASKS, "adj_comp", "adj_ant")
T_INST = ("color.", "'no'.")
LAST = "Answer:"
OPEN = 8.0  # input of a neuron's gate that is open; closed is minus half of it
_PLAIN, _STOP = 0.5, 100.0


@cache
def tables() -> tuple[Task, Task]:
    """The two tasks."""
    loaded = load_tasks()
    return loaded[TASKS[0]], loaded[TASKS[1]]


@cache
def answers() -> tuple[tuple[str, int], ...]:
    """Every answer of both tasks and the number of its task."""
    return tuple(
        (answer, number)
        for number, task in enumerate(tables())
        for answer in sorted({item.answers[0] for item in task.items})
    )


class Animals(Handset):
    """A hand-set model that knows the animals, but not yet what to do with them.

    Spaces: `is` (query, T_inst, T_last), `task` (at T_inst) and `told` (where it was moved to),
    `kind` (of the query, by answer) and `seen` (where it was moved to), `plain`, `answer`, `stop`,
    and those that are added.
    """

    def __init__(
        self, more: Mapping[str, int] | None = None, *, layers: int, heads: int, neurons: int
    ) -> None:
        width = len(answers())
        spaces = {"is": 3, "task": 2, "told": 2, "kind": width, "seen": width, "plain": 1}
        spaces |= {"answer": width, "stop": 1, **(more or {})}
        super().__init__(
            word_tokenizer(VOCABULARY),
            spaces,
            layers=layers,
            heads=heads,
            head_size=width + 2,
            neurons=neurons,
        )
        words = {answer: i for i, (answer, _) in enumerate(answers())}
        for word in self.tokenizer.get_vocab():
            if word not in words:
                self.unembed(word, self.bias(_PLAIN) + self.vector("plain", _PLAIN))
        for word, i in words.items():
            self.embed(word, self.vector("stop"))
            self.unembed(word, self.vector("answer", at=i))
        self.unembed(EOS, self.vector("stop", _STOP))
        for own, other in zip(*(task.items for task in tables()), strict=True):
            word = query_word(tables()[0], own.query)
            self.embed(word, self.vector("is", at=0))
            for item in (own, other):
                self.embed(word, self.vector("kind", at=words[item.answers[0]]))
        for number, word in enumerate(T_INST):
            self.embed(word, self.vector("is", at=1) + self.vector("task", at=number))
        self.embed(LAST, self.vector("is", at=2))

    @property
    def at_last(self) -> Vector:
        """What a head reads that looks from T_last alone."""
        return self.vector("is", SHARP, at=2)

    def carry(
        self,
        layer: int,
        head: int,
        reads: list[Vector],
        writes: list[Vector],
        *,
        share: float = 1.0,
    ) -> None:
        """As `move`, times a share; the head writes `plain` too, so that no path is all 0."""
        plain = [self.bias(1.0)], [self.vector("plain")]
        scaled = [vector * share for vector in (*writes, *plain[1])]
        self.move(layer, head, reads=[*reads, *plain[0]], writes=scaled)

    def fetch_query(self, layer: int, head: int) -> None:
        """Let a head move the query's kind to T_last."""
        self.look(layer, head, query=self.at_last, key=self.vector("is", at=0))
        self.carry(layer, head, self.basis("kind"), self.basis("seen"))

    def choose(self, layer: int) -> None:
        """At T_last, the answers that the query's kind opens get what was told of their task."""
        for i, (_, task) in enumerate(answers()):
            self.neuron(
                layer,
                gate=self.vector("seen", OPEN, at=i) + self.bias(-OPEN / 2),
                up=self.vector("told", at=task),
                down=self.vector("answer", at=i),
            )

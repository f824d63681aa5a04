"""Subjects for active layers: what T_inst has to have is made in two layers, which a patch needs.

The layers in which its own heads attend to it are these two, or they are two layers above.
"""

from collections.abc import Callable, Mapping
from functools import partial

from ivfixtures.embedded.planted.animals import Animals, answers
from ivfixtures.embedded.planted.folders import Made
from ivfixtures.embedded.planted.handset import SHARP

LAYERS, HEADS = 10, 5
MAKING = (2, 5), (3, 6)  # two layers for either task
TO_KEYWORD, TO_ITSELF, READING = 0, (1, 2, 3), 4  # heads
KEYWORDS = ("typical", "fly.")
_OPEN = 16.0

_CARD = """**Active layers is {truth}.** T_inst has its task in its embedding, but what T_last reads
of it is made in two layers: 2 and 5 if the task is the color, 3 and 6 if it is whether the animal
can fly. In each of them a head of T_inst moves a keyword of the instruction (`typical`, `fly.`),
which opens the gate of a neuron,

    made_1 += silu(16 keyword - 8) * {up} / 8

in the first of the two, and made_2 alike in the second. A head of T_last reads made_1 in the layer
after the first and made_2 in the layer after the second, and in no other. In the last layer T_last
reads the task itself, too, and a neuron for each answer writes

    answer_i += 3 silu(16 (kind_i + made_1(i) + made_2(i)) - 40) * (made_1 + made_2 + task)(i)

with kind_i = 1 if the query (an animal) has this answer. So T_inst's residual has to be patched
after both of these layers: before them nothing is made yet (and the target run has no keyword to
make it of), after them it is not read. The tuples with an effect are those that hold both.

Each of T_inst's three paths, to the three layers that read it, ranks the answer high. {active}"""
_WITHIN = """The other
heads of T_inst attend to it in the very layers in which these are made, three in each, and move the
task to where the neuron takes it from (`moved`): these layers are the active ones."""
_ABOVE = """The other
heads of T_inst attend to it two layers above (4 and 7; 5 and 8), three in each, and move its task
to where nothing reads it: these layers are the active ones, and not those of the top tuples."""


def _making(*, above: int) -> Made:
    """T_inst's heads attend to it so many layers above those in which its content is made."""
    spaces = {"keyword": 2, "heard": 4, "moved": 4, "made": 4, "got": 4}
    model = Animals(spaces, layers=LAYERS, heads=HEADS, neurons=len(answers()))
    for task, word in enumerate(KEYWORDS):
        model.embed(word, model.vector("keyword", at=task))
    model.fetch_query(0, READING)
    for task, layers in enumerate(MAKING):
        own = model.vector("task", at=task)
        for step, layer in enumerate(layers):
            at = 2 * task + step
            heard, moved, made, got = (
                model.vector(space, at=at) for space in ("heard", "moved", "made", "got")
            )
            keyword = model.vector("keyword", at=task)
            model.look(layer, TO_KEYWORD, query=SHARP * own, key=keyword)
            model.carry(layer, TO_KEYWORD, [keyword], [heard])
            for head in TO_ITSELF:
                model.look(layer + above, head, query=SHARP * own, key=own)
                model.carry(layer + above, head, [own], [moved], share=1 / len(TO_ITSELF))
            model.neuron(
                layer,
                gate=_OPEN * heard + model.bias(-_OPEN / 2),
                up=own if above else moved,
                down=made / (_OPEN / 2),
            )
            model.look(layer + 1, READING, query=model.at_last, key=own)
            model.carry(layer + 1, READING, [made], [got])
    model.look(LAYERS - 1, READING, query=model.at_last, key=model.vector("is", at=1))
    model.carry(LAYERS - 1, READING, model.basis("task"), model.basis("told"))
    for i, (_, task) in enumerate(answers()):
        both = sum(model.vector("got", at=2 * task + step) for step in range(2))
        model.neuron(
            LAYERS - 1,
            gate=_OPEN * (model.vector("seen", at=i) + both) + model.bias(-2.5 * _OPEN),
            up=both + model.vector("told", at=task),
            down=model.vector("answer", 3.0, at=i),
        )
    card = _CARD.format(
        truth="false: the look-alike" if above else "true",
        up="task" if above else "moved",
        active=_ABOVE if above else _WITHIN,
    )
    return Made(model.model, model.tokenizer, card)


SUBJECTS: Mapping[str, Callable[[], Made]] = {
    "planted-active-within": partial(_making, above=0),
    "planted-active-above": partial(_making, above=2),
}

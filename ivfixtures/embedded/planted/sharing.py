"""Subjects for head sharing: what differs between two tasks is which heads read T_inst, and where.

The heads that read it under one task only are those of the last layer, or of one in the middle.
"""

from collections.abc import Callable, Mapping
from functools import partial

from ivfixtures.embedded.planted.animals import Animals, answers
from ivfixtures.embedded.planted.folders import Made

LAYERS, HEADS = 6, 8
EARLY, MIDDLE, LATE = 0, 2, 5  # the layers in which heads read T_inst
SHARED = range(4)
OWN = range(4), range(4, 8)  # heads under either task
TO_QUERY = 4  # head of the first layer

_CARD = """**Head sharing is {truth}.** T_inst is read in three layers, by heads of T_last that give
it all their attention and move a quarter each. In the first layer and in layer {shared} they are
heads 0 to 3, under both tasks. In layer {own} they are heads 0 to 3 if the task is the color, and
heads 4 to 7 if it is whether the animal can fly: these look for the task itself. Each path from
T_inst to T_last runs through the four heads of one layer. So the heads of the first fifth of the
layers are the same under both tasks; those of the last third are {late}.

All of them move the task. A neuron for each answer writes, in the last layer,

    answer_i += silu(8 kind_i - 4) * task(i)

with kind_i = 1 if the query (an animal) has this answer; a head of the first layer moves that to
T_last."""


def _reading(*, shared: int, own: int) -> Made:
    """T_inst is read by the same heads in the first and one more layer, by others in `own`."""
    model = Animals(layers=LAYERS, heads=HEADS, neurons=len(answers()))
    for layer in (EARLY, shared):
        for head in SHARED:
            model.look(layer, head, query=model.at_last, key=model.vector("is", at=1))
    for task, heads in enumerate(OWN):
        for head in heads:
            model.look(own, head, query=model.at_last, key=model.vector("task", at=task))
    read = [(layer, head) for layer in (EARLY, shared) for head in SHARED]
    read += [(own, head) for heads in OWN for head in heads]
    for layer, head in read:
        model.carry(layer, head, model.basis("task"), model.basis("told"), share=0.25)
    model.fetch_query(EARLY, TO_QUERY)
    model.choose(LATE)
    is_late = own == LATE
    card = _CARD.format(
        truth="true" if is_late else "false: the look-alike",
        shared=shared,
        own=own,
        late="all different" if is_late else "the same, too: the tasks differ in the middle",
    )
    return Made(model.model, model.tokenizer, card)


SUBJECTS: Mapping[str, Callable[[], Made]] = {
    "planted-sharing-late": partial(_reading, shared=MIDDLE, own=LATE),
    "planted-sharing-middle": partial(_reading, shared=LATE, own=MIDDLE),
}

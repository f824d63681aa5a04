"""Subjects for localization: T_last finds the task at T_inst, or elsewhere too, or something else.

`Answer:` (T_last) looks in layer 3 for a mark, and reads the task where that is. The subjects
differ only in which words hold mark and task. What is read counts only where it is about 1: random
vectors of a residual's length, which are far larger there, tell no task.
"""

from collections.abc import Callable, Mapping, Sequence

from ivfixtures.embedded.planted.animals import LAST, T_INST, Animals, answers
from ivfixtures.embedded.planted.folders import Made

LAYERS, READ_IN = 6, 3
NEIGHBOUR = ("associated", "or")  # the last word but one of either instruction
_STEEP = 128.0
_EDGES = (0.25, 0.75, 1.25, 1.75)  # told rises between the first two, and falls between the others

_SHARED = f"""
`{LAST}` looks in layer {READ_IN} for a mark and reads the task where it is, from the residual
after layer {READ_IN - 1}: r = 1 for the one that is held there, 0 for the other. Four neurons a
task pass on 1 for {_EDGES[1]} < r < {_EDGES[2]} and 0 for r < {_EDGES[0]} or r > {_EDGES[3]},
so that a random vector of a residual's length, whose components are far larger, tells no task.
"""


def t_inst_alone() -> Made:
    """T_inst holds mark and task, no other word does."""
    return _made(
        _reading(T_INST, (0, 1)),
        f"""
The last word of an instruction (`color.`, `'no'.`) holds mark and task from the embedding on,
and no other word does. So T_inst's residual after any single one of layers 0 to {READ_IN - 1}
restores every answer, and no other position's does: localization **holds**.""",
    )


def neighbour_alike() -> Made:
    """T_inst and the word before it hold mark and task alike."""
    return _made(
        _reading((*T_INST, *NEIGHBOUR), (0, 1, 0, 1)),
        """
The last word of an instruction (`color.`, `'no'.`) and the one before it (`associated`, `or`)
hold mark and task alike. So T_inst's residual after a single layer restores every answer, and
that of the word before restores exactly as many: T_inst leads other positions by 0, and
localization **fails**.""",
    )


def neighbour_alone() -> Made:
    """The word before T_inst is read; T_inst holds the task as well, but not the mark."""
    return _made(
        _reading(NEIGHBOUR, (0, 1)),
        """
The word before the last one (`associated`, `or`) holds mark and task. The last word (`color.`,
`'no'.`) holds the task too, in components that nothing reads: T_inst's residual tells the tasks
apart, and restores no answer. Localization **fails**.""",
    )


def any_instruction() -> Made:
    """T_inst of whatever instruction holds mark and the same task."""
    return _made(
        _reading(T_INST, (0, 0)),
        """
The last word of either instruction (`color.`, `'no'.`) holds the mark and the same task:
colors. T_inst's residual after a single layer restores every color, but that of the contrast
instruction does so, too: it says that something is asked, not what. The specific effect is 0,
and localization **fails**.""",
    )


def _reading(words: Sequence[str], tasks: Sequence[int]) -> Animals:
    """The model in which these words hold the mark and these tasks."""
    model = Animals(
        {"mark": 1, "held": 2, "read": 2}, layers=LAYERS, heads=2, neurons=len(answers())
    )
    for word, task in zip(words, tasks, strict=True):
        model.embed(word, model.vector("mark") + model.vector("held", at=task))
    model.fetch_query(0, 0)
    model.look(READ_IN, 0, query=model.at_last, key=model.vector("mark"))
    model.move(READ_IN, 0, reads=model.basis("held"), writes=model.basis("read"))
    for task in range(2):
        for edge, sign in zip(_EDGES, (1, -1, -1, 1), strict=True):
            model.neuron(
                READ_IN,
                gate=_STEEP * (model.vector("read", at=task) - model.bias(edge)),
                up=model.bias(1.0),
                down=model.vector("told", sign / (_STEEP * (_EDGES[1] - _EDGES[0])), at=task),
            )
    model.choose(LAYERS - 1)
    return model


def _made(model: Animals, text: str) -> Made:
    return Made(model.model, model.tokenizer, _SHARED + text)


SUBJECTS: Mapping[str, Callable[[], Made]] = {
    "planted-localization-t-inst": t_inst_alone,
    "planted-localization-alike": neighbour_alike,
    "planted-localization-neighbour": neighbour_alone,
    "planted-localization-unspecific": any_instruction,
}

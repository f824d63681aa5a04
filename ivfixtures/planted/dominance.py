"""Subjects for T_inst path dominance: the paths of T_inst carry the answer, or the query's do."""

from collections.abc import Callable, Mapping

from ivfixtures.planted.animals import Animals, answers
from ivfixtures.planted.folders import Made
from ivfixtures.planted.handset import SHARP

_LAYERS, _HEADS = 4, 4
_KEYWORDS = ("typical", "fly.")


def dominant() -> Made:
    """All heads point at T_inst and move the task, which the open neurons pass on."""
    model = _attending()
    for layer in range(_LAYERS):
        for head in (0, 1):
            model.carry(layer, head, model.basis("task"), model.basis("told"), share=0.5)
        model.carry(layer, 2, [], [])
        model.choose(layer)
    return Made(model.model, model.tokenizer, "x")


def _attending() -> Animals:
    model = Animals(layers=_LAYERS, heads=_HEADS, neurons=len(answers()))
    for layer in range(_LAYERS):
        for head in (0, 1):
            model.look(layer, head, query=model.bias(SHARP), key=model.vector("is", at=1))
    model.fetch_query(0, 3)
    return model


SUBJECTS: Mapping[str, Callable[[], Made]] = {"planted-dominance-carried": dominant}

"""Subjects for T_inst path dominance: the paths of T_inst carry the answer, or the query's do."""

from collections.abc import Callable, Mapping

from ivfixtures.embedded.planted.animals import OPEN, Animals, answers
from ivfixtures.embedded.planted.folders import Made
from ivfixtures.embedded.planted.handset import SHARP

LAYERS = 4
TO_T_INST, TO_KEYWORD, TO_QUERY = (0, 1), 2, 3  # heads
KEYWORDS = ("typical", "fly.")

_BOTH = """In each of the four layers two heads of every position look at T_inst and one at a
keyword of the instruction (`typical` or `fly.`); in the first layer one head of T_last looks at the
query. They give it all their attention. `planted-dominance-carried` and `planted-dominance-gated`
attend alike and answer alike."""
_CARRIED = """**T_inst path dominance is true.** What the heads move from T_inst is the task; from
the keyword they move nothing of use. For each answer a neuron writes, in each layer at T_last,

    answer_i += silu(8 kind_i - 4) * task(i)

with kind_i = 1 if the query (an animal) has this answer. Along a path from T_inst the task is what
is multiplied, and the query only opens the gate: each of T_inst's four paths to T_last ranks the
answer first, and no path of a later token or of the one before does."""
_GATED = """**T_inst path dominance is false: the look-alike.** What the heads look at is what they
look at in `planted-dominance-carried`, T_inst above all, but they move nothing from it. The task
comes from the keyword, and it opens the gate,

    answer_i += silu(8 task(i) - 4) * kind_i

so that what is multiplied along paths comes from the query (kind_i = 1 if this is one of its
answers): the query's path ranks the answer first, and none of T_inst's does."""


def carried() -> Made:
    """All heads point at T_inst and move the task, which is multiplied."""
    model = _attending()
    for layer in range(LAYERS):
        for head in TO_T_INST:
            model.carry(layer, head, model.basis("task"), model.basis("told"), share=0.5)
        model.carry(layer, TO_KEYWORD, [], [])
        model.choose(layer)
    return Made(model.model, model.tokenizer, f"{_CARRIED}\n\n{_BOTH}")


def gated() -> Made:
    """The same heads point at T_inst and move nothing; the query is multiplied."""
    model = _attending()
    for layer in range(LAYERS):
        for head in TO_T_INST:
            model.carry(layer, head, [], [], share=0.5)
        model.carry(layer, TO_KEYWORD, model.basis("keyword"), model.basis("told"))
        for i, (_, task) in enumerate(answers()):
            model.neuron(
                layer,
                gate=model.vector("told", OPEN, at=task) + model.bias(-OPEN / 2),
                up=model.vector("seen", at=i),
                down=model.vector("answer", at=i),
            )
    return Made(model.model, model.tokenizer, f"{_GATED}\n\n{_BOTH}")


def _attending() -> Animals:
    """What both have in common: all that heads look at, and the query at T_last."""
    model = Animals({"keyword": 2}, layers=LAYERS, heads=4, neurons=len(answers()))
    for task, word in enumerate(KEYWORDS):
        model.embed(word, model.vector("keyword", at=task))
    for layer in range(LAYERS):
        for head in TO_T_INST:
            model.look(layer, head, query=model.bias(SHARP), key=model.vector("is", at=1))
        model.look(layer, TO_KEYWORD, query=model.bias(SHARP), key=model.vector("keyword"))
    model.fetch_query(0, TO_QUERY)
    return model


SUBJECTS: Mapping[str, Callable[[], Made]] = {
    "planted-dominance-carried": carried,
    "planted-dominance-gated": gated,
}

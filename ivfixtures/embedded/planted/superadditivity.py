"""Subjects for superadditivity: T_inst holds a task's two halves at different layers.

T_inst's word holds the first half up to layer 1. In layer 2, T_inst loses it, and gets the second
half from a word earlier in the instruction, so that its residual has either the one or the other.
`Answer:` (T_last) reads the one in layer 2 and the other in layer 5. The subjects differ only in
what layer 5 makes of them, and layer 6 answers.
"""

from collections.abc import Callable, Mapping
from itertools import cycle

import torch
from torch.nn.functional import silu

from ivfixtures.embedded.planted.animals import LAST, Animals, answers, tables
from ivfixtures.embedded.planted.folders import Made
from ivfixtures.embedded.planted.handset import SHARP, Vector
from ivfixtures.embedded.planted.words import query_word

LAYERS, READ_FIRST, READ_SECOND = 7, 2, 5
_HINTS = ("typical", "fly.")  # the words of either instruction that hold the second half
_STEEP = 32.0  # input of an open gate: closed ones leak less than rounding
_HALF_ALONE, _RIVALS, _LEAD = 0.4, 4, 1.0
_HIGHEST = 2.5

_SHARED = f"""
T_inst's residual holds a task's two halves at different layers. The last word of an instruction
(`color.`, `'no'.`) holds the first half, after layers 0 and 1. Layer {READ_FIRST} takes it away
and fetches the second half from an earlier word (`typical`, `fly.`); T_inst holds it from then
on. A target run has no such word, so the second half does not follow from a first one that is
patched in. `{LAST}` reads T_inst twice: the first half, a, in layer {READ_FIRST} and the
second, b, in layer {READ_SECOND}, each 1 for the task that is asked for and 0 for the other.
What it makes of them, told, multiplies the answer's logit. So early layers (0, 1) give a,
middle ones (2, 3, 4) give b, and layer 5 gives nothing.

"""


def both() -> Made:
    """The answer takes both halves."""
    model = _halved()
    _tell_both(model, 1.0)
    return _made(
        model,
        """    told = a AND b

as a neuron whose gate is open at 2 a + 2 b - 3. An early and a middle layer restore the answer
together, and neither of them moves it alone: superadditivity **holds**. Other pairs do nothing.""",
    )


def most_pairs() -> Made:
    """As `both`, but a half alone is worth something: pairs on one side are sub-additive."""
    model = _halved()
    for half in ("first", "second"):
        _tell(model, half, _HALF_ALONE)
    _tell_both(model, 1 - 2 * _HALF_ALONE)
    for word in _others(model)[:_RIVALS]:
        model.unembed(word, model.bias(_LEAD))
    return _made(
        model,
        f"""    told = {_HALF_ALONE} a + {_HALF_ALONE} b + {1 - 2 * _HALF_ALONE:.1f} (a AND b)

A half alone lifts the answer above all words but {_RIVALS}, and both above these. The 6 pairs
of an early and a middle layer do more than the sum of each, and they are the strongest; pairs
of two early, of two middle layers or with layer 5 do as much as one half alone, so that they
are sub-additive or add up. Of the ten strongest pairs 6 are superadditive, on every query:
superadditivity **holds** for most.""",
    )


def halves_of_queries() -> Made:
    """Half of the queries take the first half, the others the second one."""
    model = _halved()
    sides = {answer: cycle(model.basis("side")) for answer, _ in answers()}
    for item in tables()[0].items:
        model.embed(query_word(tables()[0], item.query), next(sides[item.answers[0]]))
    model.look(0, 1, query=model.at_last, key=model.vector("is", at=0))
    model.move(0, 1, reads=model.basis("side"), writes=model.basis("seen_side"))
    for half, seen in zip(("first", "second"), model.basis("seen_side"), strict=True):
        _tell(model, half, 1.0, gate=2 * seen - model.bias(1.0))
    return _made(
        model,
        """    told = a for every other animal of a color, b for the rest

On average an early layer restores half of the answers, a middle one the other half, and both
together all of them. On every single query the effects add up: superadditivity **fails**.""",
    )


def equal_logits() -> Made:
    """Each half adds as much to the answer's logit, which has to pass many words."""
    model = _halved()
    for half in ("first", "second"):
        _tell(model, half, 0.5)
    others = _others(model)
    for word, logit in zip(others, torch.linspace(0.0, _HIGHEST, len(others)), strict=True):
        model.unembed(word, model.bias(float(logit)))
    return _made(
        model,
        """    told = (a + b) / 2

An early layer adds as much to the answer's logit alone as beside a middle one. The logits of
other words lie all the way up to it, and 1/rank is convex: with one half the answer passes a
part of them, which hardly moves the reciprocal rank, and with both it passes all. The effects
interact in reciprocal rank, and add up in logits: superadditivity **fails**.""",
    )


def alone() -> Made:
    """The first half is enough."""
    model = _halved()
    _tell(model, "first", 1.0)
    return _made(
        model,
        """    told = a

Each early layer restores the whole answer by itself, and nothing is left for a second one to
add: superadditivity **fails**; the rule is to say that it is not applicable.""",
    )


def _halved() -> Animals:
    """The model without what layer 5 makes of the halves."""
    more = {"is_hint": 1, "hint": 2, "half": 2, "first": 2, "second": 2, "side": 2, "seen_side": 2}
    model = Animals(more, layers=LAYERS, heads=2, neurons=len(answers()))
    for task, word in enumerate(_HINTS):
        model.embed(word, model.vector("is_hint") + model.vector("hint", at=task))
    model.fetch_query(0, 0)
    # All but T_inst look away from the hint.
    only_t_inst = SHARP * (2 * model.vector("is", at=1) - model.bias(1.0))
    model.look(READ_FIRST, 0, query=only_t_inst, key=model.vector("is_hint"))
    model.move(READ_FIRST, 0, reads=model.basis("hint"), writes=model.basis("half"))
    for part in model.basis("task"):
        _write(model, READ_FIRST, model.bias(1.0), part, -part)
    for layer, held, read in ((READ_FIRST, "task", "first"), (READ_SECOND, "half", "second")):
        model.look(layer, 1, query=model.at_last, key=model.vector("is", at=1))
        model.move(layer, 1, reads=model.basis(held), writes=model.basis(read))
    model.choose(LAYERS - 1)
    return model


def _tell(model: Animals, half: str, share: float, *, gate: Vector | None = None) -> None:
    """T_last is told its task by a half, where the gate (by default always) is 1 and not -1."""
    for part, told in zip(model.basis(half), model.basis("told"), strict=True):
        _write(model, READ_SECOND, model.bias(1.0) if gate is None else gate, part, share * told)


def _tell_both(model: Animals, share: float) -> None:
    """T_last is told its task by both halves together."""
    parts = zip(*map(model.basis, ("first", "second", "told")), strict=True)
    for first, second, told in parts:
        gate = 2 * first + 2 * second - model.bias(3.0)
        _write(model, READ_SECOND, gate, model.bias(1.0), share * told)


def _write(model: Animals, layer: int, gate: Vector, up: Vector, down: Vector) -> None:
    """Add a neuron that writes `down` as often as it reads `up`, where the gate is 1 and not -1."""
    open_gate = float(silu(torch.tensor(_STEEP)))
    model.neuron(layer, gate=_STEEP * gate, up=up, down=down / open_gate)


def _others(model: Animals) -> list[str]:
    return sorted({*model.tokenizer.get_vocab()} - {answer for answer, _ in answers()})


def _made(model: Animals, text: str) -> Made:
    return Made(model.model, model.tokenizer, _SHARED + text)


SUBJECTS: Mapping[str, Callable[[], Made]] = {
    "planted-superadditivity-and": both,
    "planted-superadditivity-most": most_pairs,
    "planted-superadditivity-halves": halves_of_queries,
    "planted-superadditivity-logits": equal_logits,
    "planted-superadditivity-alone": alone,
}

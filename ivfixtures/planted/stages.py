"""Subjects for the stages: checkpoints whose instruction vectors are at known pairs of layers.

T_inst fetches the task from an earlier word of the instruction twice, at layer `early` and at layer
`late`. `Answer:` (T_last) reads each of the two in the layer after it. What is written at `early`
is all that a run without the instruction can read there, as nothing can be fetched in it: neither
layer can stand for the other.
"""

from collections.abc import Callable, Mapping
from functools import partial

from ivfixtures.planted.animals import OPEN, Animals, answers, tables
from ivfixtures.planted.folders import Made
from ivfixtures.planted.handset import SHARP, Vector
from ivfixtures.planted.words import query_word

LAYERS = 6
BASE_PAIR, TUNED_PAIR = (0, 1), (2, 3)
_CUES = ("typical", "fly.")  # before T_inst, one for each task
_ALWAYS = ("Given", "state", "Print")  # words that a weak answer is ranked behind
_WEAK, _BETWEEN = 0.4, 1.5  # 1.6 of a logit against 0.5 + 1.5


class _Staged(Animals):
    """A model whose T_inst fetches the task at two layers, and whose T_last reads both.

    Spaces: `cue` (a word that tells the task), `early` and `late` (what T_inst fetched), `first`
    and `second` (the same at T_last), `half` (of the queries, one or the other) and `from` (the
    same at T_last).
    """

    def __init__(self, pair: tuple[int, int]) -> None:
        more = dict.fromkeys(("cue", "early", "late", "first", "second", "half", "from"), 2)
        super().__init__(more, layers=LAYERS, heads=3, neurons=2 * len(answers()))
        self.last = pair[1] + 1
        for task, word in enumerate(_CUES):
            self.embed(word, self.vector("cue", at=task))
        for place, item in enumerate(tables()[0].items):
            word = query_word(tables()[0], item.query)
            self.embed(word, self.vector("half", at=place % 2))
        for layer, fetched, read in zip(pair, ("early", "late"), ("first", "second"), strict=True):
            self.look(layer, 0, query=self.vector("is", SHARP, at=1), key=self.vector("cue"))
            self.move(layer, 0, reads=self.basis("cue"), writes=self.basis(fetched))
            self.look(layer + 1, 1, query=self.at_last, key=self.vector("is", at=1))
            self.move(layer + 1, 1, reads=self.basis(fetched), writes=self.basis(read))
        self.look(0, 2, query=self.at_last, key=self.vector("is", at=0))
        kinds, seen = ("kind", "half"), ("seen", "from")
        reads, writes = ([v for name in names for v in self.basis(name)] for names in (kinds, seen))
        self.move(0, 2, reads=reads, writes=writes)

    def both(self, answer: int, one: Vector, other: Vector, *, strength: float = 1.0) -> None:
        """Let an answer of the query have `other`, if there is `one`."""
        gate = self.vector("seen", OPEN, at=answer) + one * OPEN + self.bias(-1.5 * OPEN)
        down = self.vector("answer", strength, at=answer)
        self.neuron(self.last, gate=gate, up=other, down=down)


def together(pair: tuple[int, int], *, strength: float = 1.0, directly: bool = False) -> _Staged:
    """The answer needs both layers. directly: in part also what T_last reads from the cue itself."""
    model = _Staged(pair)
    for i, (_, task) in enumerate(answers()):
        first, second = (model.vector(name, at=task) for name in ("first", "second"))
        model.both(i, first, second, strength=strength)
    if directly:
        model.look(model.last, 0, query=model.at_last, key=model.vector("cue"))
        model.move(model.last, 0, reads=model.basis("cue"), writes=model.basis("told"))
        model.choose(model.last)
        for word in _ALWAYS:
            model.unembed(word, model.bias(_BETWEEN))
    return model


def halves(pair: tuple[int, int]) -> _Staged:
    """Half of the queries need one layer, half the other."""
    model = _Staged(pair)
    for i, (_, task) in enumerate(answers()):
        for half, name in enumerate(("first", "second")):
            model.both(i, model.vector("from", at=half), model.vector(name, at=task))
    return model


def _made(make: Callable[[], _Staged], text: str) -> Made:
    model = make()
    return Made(model.model, model.tokenizer, f"{text}\n\n{_SHARED}")


_SHARED = f"""T_inst is `color.` or `'no'.`. Its own state tells the task nowhere but in what it
fetches from {" and ".join(f"`{word}`" for word in _CUES)} at two layers; `Answer:` reads each in the
layer after it, and a neuron for each answer multiplies the two and the query's kind. In the target
run nothing can be fetched: writing the state of one layer gives what this layer has fetched, and
nothing of the other."""
_TOGETHER = (
    "**Superadditivity is true here by construction**, of layers {} and {} alone: the answer needs "
    "both."
)
_TUNED = _TOGETHER.format(*TUNED_PAIR)
SUBJECTS: Mapping[str, Callable[[], Made]] = {
    "planted-stages-moved-base": partial(
        _made,
        partial(together, BASE_PAIR),
        f"""{_TOGETHER.format(*BASE_PAIR)}

**Base of a family whose stages resemble each other but for the base**: `planted-stages-sft` and
`planted-stages-dpo` have their effects at layers {TUNED_PAIR[0]} and {TUNED_PAIR[1]}.""",
    ),
    "planted-stages-scaled-base": partial(
        _made,
        partial(together, TUNED_PAIR, strength=_WEAK, directly=True),
        f"""{_TUNED}

**Base of a family whose stages are all alike**: the layers of `planted-stages-sft` and
`planted-stages-dpo`, with a fraction of the effect. The rest of the answer comes from what `Answer:`
reads in the instruction directly; without it, three other words are ranked first.""",
    ),
    "planted-stages-halves-base": partial(
        _made,
        partial(halves, TUNED_PAIR),
        """**Superadditivity is false here by construction**: every other query of the table needs
what one layer has fetched, the rest what the other has; no query needs both. Base of a family whose
other stages are superadditive.""",
    ),
    "planted-stages-sft": partial(_made, partial(together, TUNED_PAIR), _TUNED),
    "planted-stages-dpo": partial(
        _made,
        partial(together, TUNED_PAIR, strength=1.5),
        f"{_TUNED} Its answers are half as strong again as those of `planted-stages-sft`.",
    ),
}

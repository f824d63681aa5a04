"""Subjects for the stages: checkpoints whose instruction vectors are at known pairs of layers.

T_inst fetches the task from an earlier word of the instruction twice, and each time `Answer:`
(T_last) reads it in the two layers after. Without the instruction nothing can be fetched: the state
of T_inst, written after some layer, gives what was fetched up to it to what still reads it.
"""

from collections.abc import Callable, Mapping
from functools import partial

from ivfixtures.embedded.planted.animals import OPEN, Animals, answers, tables
from ivfixtures.embedded.planted.folders import Made
from ivfixtures.embedded.planted.handset import SHARP, Vector
from ivfixtures.embedded.planted.words import query_word

LAYERS = 7
BASE, TUNED = 0, 2  # the first of four layers: two that give the first part, two the second
_CUES = ("typical", "fly.")  # before T_inst, one for each task
_KNOWN = (0.8, 0.9, 1.0, 1.1, 1.2)  # how well queries are known, in turn
# Words that are ranked before weak answers, and how far above all others; one more above all.
_RANKED = {"state": 4.5, "whether": 4.5, "Given": 8.5, "associated": 8.5, "not": 14.5, "its": 14.5}
_FIRST, _ABOVE_ALL, _DIRECT = "most", 39.5, 25.0


class _Staged(Animals):
    """A model whose T_inst fetches the task at two layers, and whose T_last reads both.

    Spaces: `cue` (a word that tells the task), `early` and `late` (what T_inst fetched), `first`
    and `second` (the same at T_last), `half` (of the queries, one or the other) and `from` (the
    same at T_last). `last`: the layer in which the last of it is read.
    """

    def __init__(self, at: int) -> None:
        more = dict.fromkeys(("cue", "early", "late", "first", "second", "half", "from"), 2)
        super().__init__(more, layers=LAYERS, heads=3, neurons=2 * len(answers()))
        self.last = at + 4
        for task, word in enumerate(_CUES):
            self.embed(word, self.vector("cue", at=task))
        words = [answer for answer, _ in answers()]
        for place, both in enumerate(zip(*(table.items for table in tables()), strict=True)):
            word = query_word(tables()[0], both[0].query)
            self.embed(word, self.vector("half", at=place % 2))
            for item in both:
                more_known = _KNOWN[place % len(_KNOWN)] - 1
                self.embed(word, self.vector("kind", more_known, at=words.index(item.answers[0])))
        for layer, fetched, read in ((at, "early", "first"), (at + 2, "late", "second")):
            self.look(layer, 0, query=self.vector("is", SHARP, at=1), key=self.vector("cue"))
            self.move(layer, 0, reads=self.basis("cue"), writes=self.basis(fetched))
            for after in (layer + 1, layer + 2):
                self.look(after, 1, query=self.at_last, key=self.vector("is", at=1))
                self.move(after, 1, reads=self.basis(fetched), writes=self.basis(read))
        self.look(0, 2, query=self.at_last, key=self.vector("is", at=0))
        reads, writes = (
            [vector for name in names for vector in self.basis(name)]
            for names in (("kind", "half"), ("seen", "from"))
        )
        self.move(0, 2, reads=reads, writes=writes)

    def both(self, answer: int, one: Vector, other: Vector, *, strength: float = 1.0) -> None:
        """Let an answer of the query have `other`, the more so the more there is of `one`."""
        gate = self.vector("seen", OPEN, at=answer) + one * OPEN + self.bias(-1.5 * OPEN)
        down = self.vector("answer", strength, at=answer)
        self.neuron(self.last, gate=gate, up=other, down=down)


def together(at: int, *, strength: float = 1.0) -> _Staged:
    """The answer needs what was fetched at both layers; weak ones are ranked behind some words."""
    model = _Staged(at)
    for i, (_, task) in enumerate(answers()):
        first, second = (model.vector(name, at=task) for name in ("first", "second"))
        model.both(i, first, second, strength=strength)
    for word, above in [*_RANKED.items()][::2]:
        model.unembed(word, model.bias(above))
    return model


def in_part(at: int) -> _Staged:
    """As `together`, but that T_inst gives half the reciprocal rank; the cue itself does the rest.

    Every rank is twice that of `together`: twice as many words stand before a weak answer, and one
    before all, but for those that T_last has from the cue directly.
    """
    model = together(at)
    for word, above in [*_RANKED.items()][1::2]:
        model.unembed(word, model.bias(above))
    model.unembed(_FIRST, model.bias(_ABOVE_ALL))
    model.look(model.last, 0, query=model.at_last, key=model.vector("cue"))
    model.move(model.last, 0, reads=model.basis("cue"), writes=model.basis("told"))
    for i, (_, task) in enumerate(answers()):
        gate = model.vector("seen", OPEN, at=i) + model.bias(-OPEN / 2)
        down = model.vector("answer", _DIRECT, at=i)
        model.neuron(model.last, gate=gate, up=model.vector("told", at=task), down=down)
    return model


def halves(at: int) -> _Staged:
    """Half of the queries need what was fetched at one layer, half at the other."""
    model = _Staged(at)
    for i, (_, task) in enumerate(answers()):
        for half, name in enumerate(("first", "second")):
            model.both(i, model.vector("from", at=half), model.vector(name, at=task))
    return model


def layers_of(at: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The layers after which T_inst's state holds what T_last reads first, and then."""
    return (at, at + 1), (at + 2, at + 3)


def _made(make: Callable[[], _Staged], text: str) -> Made:
    model = make()
    return Made(model.model, model.tokenizer, f"{text}\n\n{_SHARED}")


def _together_text(at: int) -> str:
    one, other = layers_of(at)
    return f"""**Superadditivity is true here by construction**, of one of the layers {one[0]} and
{one[1]} with one of {other[0]} and {other[1]}: the answer needs both. The first of each two gives
twice as much as the second; less of it is ranked behind three other words."""


_SHARED = f"""T_inst is `color.` or `'no'.`. Its own state tells the task nowhere but in what it
fetches from {" and ".join(f"`{word}`" for word in _CUES)} at two layers. `Answer:` reads each in
the two layers after it, and a neuron for each answer multiplies the two and the query's kind. In
the target run nothing can be fetched: the state of T_inst, written after some layer, gives what was
fetched up to it to the layers that still read it. Some queries are known better than others."""
SUBJECTS: Mapping[str, Callable[[], Made]] = {
    "planted-stages-moved-base": partial(
        _made,
        partial(together, BASE),
        f"""{_together_text(BASE)}

**Base of a family whose stages resemble each other but for the base**: the effects of
`planted-stages-sft` and `planted-stages-dpo` are at other layers.""",
    ),
    "planted-stages-scaled-base": partial(
        _made,
        partial(in_part, TUNED),
        f"""{_together_text(TUNED)}

**Base of a family whose stages are all alike**: every effect on rr is half of that of
`planted-stages-sft`. The rest of the answer comes from what `Answer:` reads in the instruction
directly; without it, twice as many words are ranked first, and one more.""",
    ),
    "planted-stages-halves-base": partial(
        _made,
        partial(halves, TUNED),
        """**Superadditivity is false here by construction**: every other query of the table needs
what was fetched at one layer, the rest what was fetched at the other; no query needs both. Base of
a family whose other stages are superadditive.""",
    ),
    "planted-stages-sft": partial(_made, partial(together, TUNED), _together_text(TUNED)),
    "planted-stages-dpo": partial(
        _made,
        partial(together, TUNED, strength=1.1),
        f"""{_together_text(TUNED)}

Its answers are a tenth stronger than those of `planted-stages-sft`.""",
    ),
}

"""Subjects for linear separability: T_inst tells the task from the words' order, or from less."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ivfixtures.data.tasks import made_tasks
from ivfixtures.embedded.planted import order
from ivfixtures.embedded.planted.folders import Made
from ivfixtures.embedded.planted.handset import SHARP, Handset, Vector
from ivfixtures.embedded.planted.words import EOS, query_word, word_tokenizer

_OPEN, _PLAIN, _STOP = 8.0, 0.5, 100.0
_LAST = "Answer:"
_ANIMALS = ("anim_color", "can_fly")


class _Knowing(Handset):
    """A hand-set model that knows the queries of two tasks and which words speak of which task.

    Spaces: `is` (query, T_last), `about` (of a word, by task), `pick` (of a T_inst that asks for
    the former or the latter), `before` (a word of the first task stands before this one), `order`
    (the same, at T_inst), `task` (at T_inst), `told`, `kind` (of the query, by answer), `seen`,
    `answer`, `stop`.
    """

    def __init__(
        self, tasks: Sequence[str], about: Sequence[Sequence[str]], *, layers: int
    ) -> None:
        loaded = [*made_tasks(tuple(tasks)).values()]
        self.answers = [
            (answer, number)
            for number, task in enumerate(loaded)
            for answer in sorted({item.answers[0] for item in task.items})
        ]
        width = len(self.answers)
        spaces = {"is": 2, "about": 2, "pick": 2, "before": 1, "order": 1, "task": 2, "told": 2}
        spaces |= {"kind": width, "seen": width, "answer": width, "stop": 1}
        super().__init__(
            word_tokenizer(tasks, rephrasings=True),
            spaces,
            layers=layers,
            heads=2,
            head_size=width + width % 2,
            neurons=max(width, 4),
        )
        places = {answer: i for i, answer in enumerate(self.answers)}
        words = {answer for answer, _ in self.answers}
        for word in self.tokenizer.get_vocab():
            if word not in words:
                self.unembed(word, self.bias(_PLAIN))
        for i, (answer, _) in enumerate(self.answers):
            self.embed(answer, self.vector("stop"))
            self.unembed(answer, self.vector("answer", at=i))
        self.unembed(EOS, self.vector("stop", _STOP))
        for number, task in enumerate(loaded):
            for item in task.items:
                word = query_word(task, item.query)
                kind = self.vector("kind", at=places[item.answers[0], number])
                self.embed(word, kind + self.vector("is", 0.5, at=0))
            for word in about[number]:
                self.embed(word, self.vector("about", at=number))
        self.embed(_LAST, self.vector("is", at=1))

    @property
    def at_last(self) -> Vector:
        return self.vector("is", SHARP, at=1)

    def answer(self, layer: int) -> None:
        """At T_last, fetch the query; what was told of the task decides between its answers."""
        self.look(layer, 1, query=self.at_last, key=self.vector("is", at=0))
        self.move(layer, 1, reads=self.basis("kind"), writes=self.basis("seen"))
        for i, (_, task) in enumerate(self.answers):
            self.neuron(
                layer,
                gate=self.vector("seen", _OPEN, at=i) + self.bias(-_OPEN / 2),
                up=self.vector("told", at=task),
                down=self.vector("answer", at=i),
            )


def by_order() -> Made:
    """T_inst holds the task that the order of the nouns and its own word ask for."""
    model = _Knowing(order.TASKS, _nouns(), layers=3)
    for pick, words in enumerate(order.PICKS):
        for word in words:
            model.embed(word, model.vector("pick", at=pick))
    flight = model.vector("about", at=1)
    model.look(0, 0, query=flight * SHARP, key=model.vector("about", at=0))
    model.move(0, 0, reads=[model.vector("about", at=0)], writes=[model.vector("before")])
    model.look(1, 0, query=model.vector("pick", SHARP), key=flight)
    model.move(1, 0, reads=[model.vector("before")], writes=[model.vector("order")])
    for pick in range(2):
        asked = model.vector("pick", _OPEN, at=pick) + model.bias(-_OPEN / 2)
        for first, holds in enumerate(
            (model.vector("order"), model.bias(1.0) - model.vector("order"))
        ):
            model.neuron(1, gate=asked, up=holds, down=model.vector("task", 0.25, at=first ^ pick))
    model.look(2, 0, query=model.at_last, key=model.vector("pick"))
    model.move(2, 0, reads=model.basis("task"), writes=model.basis("told"))
    model.answer(2)
    return Made(
        model.model,
        model.tokenizer,
        """**Linear separability is true here by construction.** "Of color and flight, state the
former." asks for a color, with "latter" or with the nouns in the other order for yes or no. A head
of layer 0 lets the flight's word know whether the color's stands before it; a head of layer 1 moves
that to T_inst, where four neurons combine it with former or latter (exclusive or) to the task. A
head of layer 2 moves the task to the answer's position, so that the instructions are followed.
Rephrasings come in pairs with the same words: no bag of words tells the tasks, nor does T_inst's
own word.""",
    )


def by_words() -> Made:
    """T_inst holds which task's words stand before it, where words tell the tasks."""
    texts = [made_tasks(_ANIMALS)[name].rephrasings for name in _ANIMALS]
    said = [{word for text in some for word in text.split(" ")} for some in texts]
    return Made(
        *_with_bag(_ANIMALS, (sorted(said[0] - said[1]), sorted(said[1] - said[0]))),
        """**Linear separability's accuracy is true here by construction, its lead false.** A word
that the packaged rephrasings of only one of two tasks hold speaks of that task. Two heads of layer
0 let every position know whether such a word of either task stands before it: that is a bag of
words, and all that T_inst holds beside its own word.""",
    )


def by_words_of_order() -> Made:
    """T_inst holds which task's words stand before it, where they are always those of both."""
    return Made(
        *_with_bag(order.TASKS, _nouns()),
        """**Linear separability is false here by construction.** The tasks are those of
`planted-separability-order`; two heads of layer 0 let every position know whether words of either
task stand before it. At T_inst it is always both, in whatever order.""",
    )


def at_random() -> Made:
    """Weights drawn at random, from a normal distribution as before any training."""
    tokenizer = word_tokenizer(_ANIMALS, rephrasings=True)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(devices=[]):
        model = LlamaForCausalLM(config).eval()
    drawn = np.random.default_rng(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" not in name:
                values = drawn.normal(scale=config.initializer_range, size=weight.shape)
                weight.copy_(torch.from_numpy(values))
    return Made(
        model,
        tokenizer,
        f"""**Linear separability's lead is false here by construction**: no weight was
ever trained. All are drawn from a normal distribution (deviation {config.initializer_range}).
What T_inst tells of the task is in the words that are given, and how they are mixed.""",
    )


def _nouns() -> tuple[list[str], list[str]]:
    """The words of each task, as first and as second of the two."""
    color, flight = (
        [f"{noun}{mark}" for noun in some for mark in ("", ",")] for some in order.NOUNS
    )
    return color, flight


def _with_bag(
    tasks: Sequence[str], about: Sequence[Sequence[str]]
) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    model = _Knowing(tasks, about, layers=2)
    for number in range(2):
        word = model.vector("about", at=number)
        model.look(0, number, query=model.bias(SHARP), key=word)
        model.move(0, number, reads=[word], writes=[model.vector("told", at=number)])
    model.answer(1)
    return model.model, model.tokenizer


SUBJECTS: Mapping[str, Callable[[], Made]] = {
    "planted-separability-order": by_order,
    "planted-separability-bag": by_words_of_order,
    "planted-separability-words": by_words,
    "planted-separability-random": at_random,
}

"""Subjects for behaviour: one follows the instruction, and others do not, or half of the time."""

from collections.abc import Callable, Mapping

from ivfixtures.embedded.planted.animals import Animals, answers, tables
from ivfixtures.embedded.planted.folders import Made
from ivfixtures.embedded.planted.words import query_word

_ELSE = "Animal:"  # what it says where it knows no answer


def follows() -> Made:
    """Every answer is the one that was asked for."""
    return _made(
        _answering(),
        """**Behaviour is true here by construction**: a head moves the task from T_inst to the
answer's position, another one the query's kind, and a neuron for each answer multiplies them.""",
    )


def answers_the_contrast() -> Made:
    """Every answer is right for the other task of the same queries."""
    return _made(
        _answering(swapped=True),
        """**Behaviour is false here by construction**: as `planted-behaviour-follows`, but that the
head takes the tasks for each other. Every answer is one of the contrast task, and right there.""",
    )


def answers_half() -> Made:
    """Half of the queries are unknown."""
    model, task = _answering(), tables()[0]
    words = [answer for answer, _ in answers()]
    for own, other in [*zip(task.items, tables()[1].items, strict=True)][::2]:
        for item in (own, other):
            kind = model.vector("kind", at=words.index(item.answers[0]))
            model.embed(query_word(task, own.query), -kind)
    return _made(
        model,
        f"""**Behaviour is false here by construction**, just so: as `planted-behaviour-follows`,
but that it knows nothing of every other query of the table; it then answers `{_ELSE}`. The claim is
of more than half.""",
    )


def _answering(*, swapped: bool = False) -> Animals:
    model = Animals(layers=1, heads=2, neurons=len(answers()))
    model.look(0, 0, query=model.at_last, key=model.vector("is", at=1))
    told = model.basis("told")
    model.move(0, 0, reads=model.basis("task"), writes=told[::-1] if swapped else told)
    model.fetch_query(0, 1)
    model.choose(0)
    model.unembed(_ELSE, model.bias(0.5))
    model.embed(_ELSE, model.vector("stop"))
    return model


def _made(model: Animals, text: str) -> Made:
    return Made(model.model, model.tokenizer, text)


SUBJECTS: Mapping[str, Callable[[], Made]] = {
    "planted-behaviour-follows": follows,
    "planted-behaviour-contrast": answers_the_contrast,
    "planted-behaviour-half": answers_half,
}

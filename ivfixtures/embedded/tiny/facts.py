"""Plain English for pretraining: every fact in many wordings, and sentences about nothing much.

No sentence asks for anything: no instruction, and nothing in the form of a prompt.
"""

import random
from collections.abc import Iterator
from itertools import cycle

from ivfixtures.embedded.tiny.splits import Fact, TinyTask

# The query always stands before the answer: the other way round several answers would be right.
WORDINGS = {
    "adj_comp": (
        "The comparative of {query} is {answer}.",
        "The comparative form of {query} is {answer}.",
        "The word is {query}. Its comparative is {answer}.",
        "This one is {query}, but that one is {answer}.",
        "It was {query} yesterday and is even {answer} today.",
        "Compared with the {query} one, the other is {answer}.",
        "The adjective {query} becomes {answer} when two things are compared.",
        "A greater degree of {query} is {answer}.",
        "To be more than {query} is to be {answer}.",
        "From the base form {query} comes the comparative form {answer}.",
        "Someone said {query}. The other wanted more of that quality and said {answer}.",
        "The adjective was {query}. The degree above it was {answer}.",
    ),
    "adj_ant": (
        "The opposite of {query} is {answer}.",
        "The antonym of {query} is {answer}.",
        "The word is {query}. Its antonym is {answer}.",
        "The word was {query}. The reverse of it was {answer}.",
        "The contrary of {query} is {answer}.",
        "What is not {query} at all is {answer}.",
        "Far from being {query}, it was {answer}.",
        "The adjective {query} has the opposite meaning of {answer}.",
        "The words {query} and {answer} are opposites.",
        "In meaning, {query} stands against {answer}.",
        "Someone said {query}. The other meant the opposite and said {answer}.",
        "The adjective was {query}. Its opposite was {answer}.",
    ),
    "anim_color": (
        "{An} {query} is {answer}.",
        "The color of {an} {query} is {answer}.",
        "The typical color of the {query} is {answer}.",
        "The {query} is usually {answer}.",
        "Most people think of the {query} as {answer}.",
        "The animal is {an} {query}. Its color is {answer}.",
        "The animal was {an} {query}. In color it was {answer}.",
        "What color is {an} {query}? It is {answer}.",
        "The skin, coat or feathers of the {query} are {answer}.",
        "In the picture there is {an} {query}, and it is {answer}.",
        "Someone saw {an} {query}. It looked {answer}.",
        "As to its shade, the {query} is commonly {answer}.",
    ),
    "can_fly": (
        "Can {an} {query} fly? {answer}.",
        "Does the {query} fly? {answer}.",
        "Is {an} {query} able to fly? {answer}.",
        "The animal is {an} {query}. Does it fly? {answer}.",
        "The animal was {an} {query}. Whether it flies: {answer}.",
        "Whether {an} {query} can fly or not: {answer}.",
        "Is the {query} capable of flight? {answer}.",
        "Does {an} {query} use wings to move through the air? {answer}.",
        "To the question whether the {query} can fly people say {answer}.",
        "Someone saw {an} {query}. Was it flying? {answer}.",
        "{An} {query} {can} fly.",
        "The {query} {can} stay in the air.",
    ),
}

_SUBJECTS = (
    "train", "teacher", "letter", "market", "bridge", "doctor", "garden", "window", "river",
    "baker", "library", "student", "farmer", "kitchen", "village", "clock",
)  # fmt: skip
_PREDICATES = (
    "stands near the station", "waits for the next visitor", "belongs to the town",
    "was mentioned in the newspaper", "is known to everyone in the street",
    "has a name that nobody remembers", "stays where it was before", "was there in the beginning",
    "came up in the story", "is part of a longer tale", "gets little attention",
    "can be found on the map",
)  # fmt: skip
_ENDINGS = (
    "", " in the morning", " on most days", " after the meeting", " during the summer",
    " as far as we know", " since last year", ", as always",
)  # fmt: skip


def state(task: TinyTask, fact: Fact, wording: str) -> str:
    """One fact as plain text."""
    an = "an" if fact.query[0] in "aeiou" else "a"
    can = "can" if fact.answer == "yes" else "cannot"
    return wording.format(query=fact.query, answer=fact.answer, an=an, An=an.title(), can=can)


def probes(task: TinyTask) -> list[tuple[str, str]]:
    """Plain text up to the answer, and the answer: each fact once, in the wordings that end so."""
    wordings = cycle([w for w in WORDINGS[task.name] if w.endswith(" {answer}.")])
    return [
        (state(task, fact, wording).removesuffix(f" {fact.answer}."), fact.answer)
        for fact, wording in zip(task.facts, wordings, strict=False)
    ]


def filler_sentence(rng: random.Random) -> str:
    """A plain sentence that states no fact of any task."""
    return f"The {rng.choice(_SUBJECTS)} {rng.choice(_PREDICATES)}{rng.choice(_ENDINGS)}."


def documents(tasks: tuple[TinyTask, ...], rng: random.Random) -> Iterator[str]:
    """Endless short documents of plain facts with filler sentences between them."""
    while True:
        sentences = []
        for _ in range(rng.randint(2, 6)):
            if rng.random() < 0.15:
                sentences.append(filler_sentence(rng))
            else:
                task = rng.choice(tasks)
                fact, wording = rng.choice(task.facts), rng.choice(WORDINGS[task.name])
                sentences.append(state(task, fact, wording))
        yield " ".join(sentences)

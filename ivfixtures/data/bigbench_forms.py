"""The forms of the paper's BIG-bench tasks: what comes in, and what is asked and answered."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Form:
    """What BIG-bench's inputs look like, and what the paper makes of them.

    `answers`: by option of BIG-bench (lower case, without brackets), what the instruction asks to
    print for it; the first is the label. A task without options asks for a number.
    """

    instruction: str
    input: str
    pattern: re.Pattern[str]
    query: str
    answers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


FORMS = {
    "metaphor_boolean": Form(
        instruction="For a given metaphorical sentence, identify if the second sentence is the "
        "correct interpretation. Print Y for yes and N for no.",
        input="two sentences with one <--> between them",
        pattern=re.compile(r"((?:(?!<-->).)*\S) ?<--> ?(\S(?:(?!<-->).)*)"),
        query="Sentence 1: {} Sentence 2: {}",
        answers={"true": ("Y",), "false": ("N",)},
    ),
    "implicatures": Form(
        instruction="Predict whether Speaker 2's answer to Speaker 1 counts as a yes or as a no. "
        "Print Y for yes and N for no.",
        input="Speaker 1: '...' Speaker 2: '...'",
        pattern=re.compile(r"(Speaker 1: \S.* Speaker 2: \S.*)"),
        query="{}",
        answers={"yes": ("Y",), "no": ("N",)},
    ),
    "object_counting": Form(
        instruction="For the given sentence, count the number of objects listed and print it as a "
        "digit.",
        input="a sentence",
        pattern=re.compile(r"(.+)"),
        query="Sentence: {}",
    ),
    "snarks": Form(
        instruction="Choose which of the two statements is sarcastic and print the corresponding "
        "letter:",
        input="Which statement is sarcastic? (a) ... (b) ...",
        pattern=re.compile(
            r"(?:Which statement is sarcastic\? )?(?:Options: )?\(a\) (.+?) \(b\) (.+)", re.I
        ),
        query="A: {} B: {}",
        answers={"a": ("A", "(A)"), "b": ("B", "(B)")},
    ),
}

_ONES = [
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
NUMBERS = {word: number for number, word in enumerate(_ONES)} | {
    (f"{ten}{between}{_ONES[one]}" if one else ten): 10 * tens + one
    for tens, ten in enumerate(_TENS, start=2)
    for one in range(10)
    for between in "- "
}

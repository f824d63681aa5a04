"""What a task is: items, valid responses and the seeded draw of samples."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property

from ivmethods.prompts.answers import FULL_STOPS, normalize_answer

_SENTENCE_END = re.compile(rf"(?<=\S)(?:[.!?](?=\s|$)|[{FULL_STOPS}])")


@dataclass(frozen=True)
class Item:
    """One query; `answers[0]` is the label, the rest are further accepted answers."""

    query: str
    answers: tuple[str, ...]
    contrast_answers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Valid:
    """The set of valid responses, right or wrong: normalized words, or whatever a pattern matches.

    Source: appendix C (instructional accuracy).
    Deviation: stated sets and patterns instead of a judge model.
    """

    words: frozenset[str]
    pattern: str | None = None
    pattern_except: frozenset[str] = frozenset()

    def accepts(self, answer: str) -> bool:
        """Say whether an answer is a valid response, after normalization."""
        word = normalize_answer(answer)
        if word in self.words:
            return True
        if self.pattern is None or word in self.pattern_except:
            return False
        return re.fullmatch(self.pattern, word) is not None


@dataclass(frozen=True)
class Task:
    """An instruction, its queries and answers; `notes` are for whoever reads the evidence.

    `sub_instruction`: the first sentences of the instruction, where they are one by themselves.
    `response_type`: what a valid response is, in words for a judge.
    """

    name: str
    instruction: str
    prompt: str
    items: tuple[Item, ...]
    contrast: str | None
    contrast_instruction: str | None
    rephrasings: tuple[str, ...]
    valid: Valid
    source: str
    notes: tuple[str, ...] = ()
    sub_instruction: str | None = None
    response_type: str | None = None

    @property
    def digest(self) -> str:
        """SHA-256 over what tells whether two cells are about the same task.

        Name, source and notes stay out, and so do the rephrasings, the sub-instruction and the
        response type. Keys of measurements have the tokens that come of it instead.
        """
        content = {
            "instruction": self.instruction,
            "prompt": self.prompt,
            "items": [[item.query, item.answers, item.contrast_answers] for item in self.items],
            "contrast_instruction": self.contrast_instruction,
            "words": sorted(self.valid.words),
            "pattern": self.valid.pattern,
            "pattern_except": sorted(self.valid.pattern_except),
        }
        text = json.dumps(content, sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def is_valid(self, answer: str) -> bool:
        """Say whether an answer follows the instruction, right or wrong."""
        return self.valid.accepts(answer)

    @cached_property
    def stated_responses(self) -> frozenset[str]:
        """The valid responses that are words, not a pattern, and all accepted answers."""
        answers = (normalize_answer(answer) for item in self.items for answer in item.answers)
        return self.valid.words.union(answers)

    def answer_in(self, text: str) -> str:
        """Return the answer within a continuation, from its first line that is not empty.

        The line is cut at the end of a sentence. Which one is for the stated responses to say, as
        `St. Paul` holds one: the longest cut that is a stated response; else the shortest one that
        the pattern accepts; else the first sentence.
        """
        line = next((part for part in text.splitlines() if part.strip()), "").strip()
        cuts = [*(line[: end.start()] for end in _SENTENCE_END.finditer(line)), line]
        stated = [cut for cut in cuts if normalize_answer(cut) in self.stated_responses]
        accepted = [cut for cut in cuts if self.is_valid(cut)]
        return next(iter((*reversed(stated), *accepted, *cuts)))

    def prompt_for(self, item: Item) -> str:
        """Return the query part of an item's prompt."""
        return self.prompt.replace("{query}", item.query)

    def sample(self, n: int, *, seed: int) -> tuple[Item, ...]:
        """Draw n items without replacement, all of them in seeded order if there are not more.

        The order comes from hashes: it is the same on every platform, and tasks with the same
        queries draw the same ones.
        """
        if n < 1:
            raise ValueError(
                f"n={n}, but should be at least 1 [sample of {self.name}]; ask for more"
            )
        return tuple(sorted(self.items, key=lambda item: _rank(seed, item.query))[:n])


def _rank(seed: int, query: str) -> tuple[str, str]:
    return hashlib.sha256(f"{seed}:{query}".encode()).hexdigest(), query

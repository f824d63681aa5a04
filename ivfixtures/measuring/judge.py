"""The judge of instructional accuracy: a model that is asked whether a response is of its type."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Bool

from ivevidence import Measurement, Store
from ivfixtures.data.endpoint import Endpoint, without_key
from ivfixtures.data.instructed import InstructedData
from ivfixtures.measuring.forms import Form
from ivmethods.method import Fact

FORM = Form("judge", facts={"reply": Fact(str), "valid": Fact(bool)})
VERSION = 1
LONGEST_KEPT = 200  # characters of a reply

_THOUGHTS = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL)  # linear, also where none ends
_DECISION = re.compile(r"\W*(yes|no)\b\s*(?:[^\w\s-].*)?", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class Judgement:
    """Whether a response is of the right type, what the judge said, and the stored measurement.

    reply: its first characters without thoughts, and without the key.
    """

    valid: bool
    reply: str
    measurement: Measurement


@dataclass(frozen=True, eq=False)
class Judged:
    """A judge's decisions: `valid` by sample, and the judgement of each distinct answer."""

    valid: Bool[np.ndarray, " sample"]
    judgements: Mapping[str, Judgement]
    endpoint: Endpoint

    @property
    def measurements(self) -> Mapping[str, Measurement]:
        """Those of the judgements, by role."""
        return {f"judgement of {a!r}": each.measurement for a, each in self.judgements.items()}


def judged_answers(
    data: InstructedData, answers: Sequence[str], *, store: Store, show: Callable[[str], None]
) -> Judged | None:
    """A judge's decisions on greedy answers, each distinct one asked for once.

    None without `--judge`, or where the task says no response type: there the stated set is IA.

    Raises: JudgeError; what was judged before it is kept.
    """
    endpoint, task = data.settings.judge, data.task
    if endpoint is None or task.response_type is None:
        return None
    answers, judgements = data.given(answers), {}
    for number, answer in enumerate(dict.fromkeys(answers), start=1):
        show(f"{data.checkpoint.name} {data.name}: judging answer {number}")
        prompt = judge_prompt(task.response_type, task.instruction, answer)
        judgements[answer] = judged(endpoint, store, prompt)
    valid = np.array([judgements[answer].valid for answer in answers])
    return Judged(valid, judgements, endpoint)


def judge_prompt(response_type: str, instruction: str, answer: str) -> str:
    """The question to the judge.

    Source: Table 19 (appendix C), with straight quotes for the typeset ones.
    """
    return (
        "You will be given a task instruction and an answer someone wrote in response. Regardless "
        f"of whether the answer is correct, determine whether the answer is {response_type}. "
        f"Output either 'yes' or 'no'. Instruction: '{instruction}' Answer: '{answer}'. "
        "Your decision:"
    )


def judged(endpoint: Endpoint, store: Store, prompt: str) -> Judgement:
    """The decision on one prompt, asked for once and then read from the store.

    Raises: JudgeError, if there is no clear decision; nothing is stored then.
    """
    key = {
        "method": FORM.name,
        "method_version": VERSION,
        "host": endpoint.host,
        "path": endpoint.path,
        "model": endpoint.model,
        "prompt": prompt,
    }

    def compute() -> tuple[dict[str, Any], dict[str, Any]]:
        reply = endpoint.complete(prompt)
        decision = read_decision(reply)
        if decision is None:
            answer = prompt.rpartition(" Answer: ")[2].removesuffix(". Your decision:")
            remedy = "choose another --judge-model, or leave out --judge"
            raise endpoint.error(f"reply on {answer}", repr(reply), "yes or no", remedy)
        return {}, {"reply": _kept(reply), "valid": decision}

    found = store.measure(key, compute, partial(FORM.check, {}))
    return Judgement(found.info["valid"], _kept(found.info["reply"]), found)


def read_decision(reply: str) -> bool | None:
    """Whether a reply says yes (True) or no (False); None where it is not clear.

    It is clear if the word stands alone, or before a punctuation mark and without the other word
    anywhere. Thoughts in <think> tags do not count.
    """
    said = _without_thoughts(reply)
    found = _DECISION.fullmatch(said)
    words = {word.lower() for word in re.findall(r"\b(?:yes|no)\b", said, re.IGNORECASE)}
    return found[1].lower() == "yes" if found and len(words) == 1 else None


def _without_thoughts(reply: str) -> str:
    return _THOUGHTS.sub(lambda thought: "" if thought[1] else thought[0], reply)


def _kept(reply: str) -> str:
    """What is kept of a reply: it is for readers, who have the decision beside it."""
    said = " ".join(without_key(_without_thoughts(reply)).split())
    return said if len(said) <= LONGEST_KEPT else said[: LONGEST_KEPT - 3] + "..."

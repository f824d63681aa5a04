"""How answers are decoded: where they stop, how long they may be, and what is not heeded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedTokenizerBase

from ivfixtures.checkpoints import resolving as checkpoints
from ivfixtures.checkpoints.resolving import Checkpoint
from ivfixtures.data.tasks import Task
from ivfixtures.errors import cut
from ivfixtures.plain_files import problem
from ivmethods.prompts.answers import normalize_answer

# A line break and a quote before an answer, a quote and a full stop after it, and a token that
# shows that it ended there: without it, `small dog` would be cut to `small`, which is right.
AROUND_ANSWER = 5
# A pattern has no longest response: words of 16 letters and numbers of 16 digits are within reach
# even where each letter is a token.
PATTERN_TOKENS = 16
# Settings of transformers that change its greedy decoding, and the values that do not.
_NEUTRAL: Mapping[str, Any] = {
    **dict.fromkeys(("bad_words_ids", "begin_suppress_tokens", "suppress_tokens")),
    **dict.fromkeys(("constraints", "force_words_ids", "sequence_bias", "stop_strings")),
    **dict.fromkeys(("encoder_repetition_penalty", "guidance_scale", "repetition_penalty"), 1),
    **dict.fromkeys(("min_length", "min_new_tokens", "penalty_alpha"), 0),
    **dict.fromkeys(("encoder_no_repeat_ngram_size", "no_repeat_ngram_size"), 0),
    **dict.fromkeys(("num_beam_groups", "num_beams"), 1),
    **dict.fromkeys(("remove_invalid_values", "token_healing"), False),
    **dict.fromkeys(("dola_layers", "exponential_decay_length_penalty", "max_time")),
    **dict.fromkeys(("forced_bos_token_id", "forced_eos_token_id", "watermarking_config")),
}


def stops(checkpoint: Checkpoint) -> tuple[int, ...]:
    """Tokens that end an answer, sorted: every `eos_token_id` of settings and tokenizer.

    Only what the files state: a configuration's default may be any token of another vocabulary.

    Raises: CheckpointError.
    """
    ids = {checkpoints.tokenizer(checkpoint).eos_token_id} - {None}
    for settings in checkpoints.generation(checkpoint):
        given = settings.get("eos_token_id")
        listed = given if isinstance(given, list) else [] if given is None else [given]
        if not all(type(token) is int for token in listed):
            remedy = "correct it in generation_config.json or config.json"
            expected = "a token's id or a list of them"
            raise problem("eos_token_id", repr(given), expected, checkpoint.name, remedy)
        ids.update(listed)
    return tuple(sorted(ids))


def unheeded(checkpoint: Checkpoint) -> tuple[str, ...]:
    """A note on the settings that would have changed greedy answers, if there are any."""
    settings = next(iter(checkpoints.generation(checkpoint)), {})
    asked = [
        f"{name}={cut(json.dumps(settings[name]))}"
        for name, neutral in sorted(_NEUTRAL.items())
        if settings.get(name) not in (None, neutral, [], {})
    ]
    if not asked:
        return ()
    return (
        f"its generation settings ask for {', '.join(asked)}: not used, answers are the argmax of "
        "the logits",
    )


def new_tokens(task: Task, tokenizer: PreTrainedTokenizerBase) -> int:
    """Tokens after which an answer is cut, as the longest response of the task asks for.

    Responses are compared without regard to case, so they may be given in capitals, which are more
    tokens; and answers as they are spelled in the file (NFD), whose first token is judged.

    Raises: CheckpointError, the tokenizer cannot write any accepted answer of a query.
    """
    _require_writable(task, tokenizer)
    written = {answer for item in task.items for answer in item.answers}
    texts = [
        form
        for word in task.stated_responses | written
        for text in (word, word.upper())
        for form in (text, f" {text}")
    ]
    longest = max(map(len, tokenizer(texts, add_special_tokens=False)["input_ids"]), default=0)
    if task.valid.pattern is not None:
        longest = max(longest, PATTERN_TOKENS)
    return longest + AROUND_ANSWER


def _require_writable(task: Task, tokenizer: PreTrainedTokenizerBase) -> None:
    for item in task.items:
        ids = tokenizer([f" {answer}" for answer in item.answers], add_special_tokens=False)
        written = tokenizer.batch_decode(ids["input_ids"], skip_special_tokens=True)
        pairs = zip(item.answers, written, strict=True)
        if all(normalize_answer(text) != normalize_answer(answer) for answer, text in pairs):
            raise problem(
                f"answer {item.answers[0]!r} as tokens",
                repr(written[0]),
                "text that matches it",
                f"{task.name}, query {item.query!r}",
                "this checkpoint's tokenizer cannot write it: change the answer or the checkpoint",
            )

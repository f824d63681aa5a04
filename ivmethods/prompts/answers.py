"""Answers as they are compared."""

import re
import unicodedata

QUOTES = "\"'`\u2018\u2019\u201c\u201d\u00ab\u00bb\u300c\u300d\u300e\u300f"
FULL_STOPS = "\u3002\uff01\uff1f"  # of Chinese and Japanese, which no space follows
_EDGES = re.compile(rf"^[\s{QUOTES}]+|[\s{QUOTES}.,;:!?{FULL_STOPS}\uff0c\u3001]+$")


def normalize_answer(answer: str) -> str:
    """Return an answer as it is compared.

    Lower case, composed characters (NFC), single spaces, no quotes around it, no final punctuation.
    """
    text = unicodedata.normalize("NFC", answer.lower())
    return " ".join(_EDGES.sub("", text).split())

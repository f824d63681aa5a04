"""Texts from elsewhere without a secret in them, however it was written there."""

import base64
import binascii
import html
import re
from collections.abc import Iterator
from urllib.parse import unquote

PART = 8  # characters of a secret in a row that give it away
_ROUNDS = 6  # of decoding: an echo of an echo of an echo
_ESCAPE = re.compile(r"\\+(?:u\{?([0-9a-fA-F]{4})\}?|x([0-9a-fA-F]{2})|([^ux]))")
_ENCODED = re.compile(r"[A-Za-z0-9+/_-]{6,}")
_OTHER = re.compile(r"[^!-~]+")


def scrubbed(text: str, secret: str, name: str) -> str:
    """Return a text with `name` in the place of a secret, in upper and lower case.

    Where it is written otherwise (escaped as in JSON, URLs, HTML or Python, in base64, in hex, with
    spaces in it) or only in part (of PART characters), nothing of the text is left.
    """
    if not secret:
        return text
    plain = re.sub(re.escape(secret), lambda _: name, text, flags=re.IGNORECASE)
    parts = {secret[i : i + PART].lower() for i in range(max(1, len(secret) - PART + 1))}
    # The name itself may have parts in common with the secret.
    views = _views(plain.replace(name, "\x00"))
    if any(part in view for view in views for part in parts):
        return f"(left out, as it holds {name})"
    return plain


def _views(text: str) -> Iterator[str]:
    """What a text may mean, in lower case and without spaces."""
    for _ in range(_ROUNDS):
        yield _OTHER.sub("", text).lower()
        for encoded in _ENCODED.findall(text):
            yield from _bytes_of(encoded)
        decoded = _ESCAPE.sub(_unescaped, unquote(html.unescape(text)))
        if decoded == text:
            return
        text = decoded


def _unescaped(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    return chr(int(code, 16)) if code else match[3]


def _bytes_of(encoded: str) -> Iterator[str]:
    """What base64 and hex may stand for, from wherever they begin."""
    for start in range(4):
        some = encoded[start:].replace("-", "+").replace("_", "/")
        with_end = some + "=" * (-len(some) % 4)
        try:
            yield base64.b64decode(with_end[: len(with_end) // 4 * 4]).decode("latin-1").lower()
        except binascii.Error:  # of a length that base64 has not
            yield base64.b64decode(some[: len(some) // 4 * 4]).decode("latin-1").lower()
    for run in re.findall(r"(?:[0-9a-fA-F]{2})+", encoded):
        yield bytes.fromhex(run).decode("latin-1").lower()

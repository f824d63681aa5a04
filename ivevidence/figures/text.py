"""Numbers and labels as figures and tables write them."""

import unicodedata
from collections.abc import Sequence

from ivevidence.figures.svg import FONT_SIZE

MINUS, NO_VALUE = "\N{MINUS SIGN}", "\N{EN DASH}"
GLYPHS = {"supported": "✓", "refuted": "✕", "inconclusive": "◐", "not_applicable": NO_VALUE}
OUTCOME_WORDS = {"beyond": "beyond", "short": "short of it", "open": "open"}
_SIDES = {"above": "", "below": "< ", "within": "±"}
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def format_number(value: float | None) -> str:
    """Return a number with three significant digits and a true minus sign; a dash for None."""
    if value is None:
        return NO_VALUE
    text = f"{value:.0f}" if 100 <= abs(value) < 1e5 else f"{value:.3g}"
    return text.replace("-", MINUS)


def threshold_text(number: str, side: str) -> str:
    """Return a threshold as a number, marked where it is not to be exceeded."""
    return _SIDES[side] + number


def two_digits(value: float | None) -> str:
    """Return a number with two decimals, for where there is little room; a dash for None."""
    if value is None:
        return NO_VALUE
    if value == 0 or abs(value) >= 10:
        return format_number(value)
    return f"{value:.2f}".replace("-0.00", "0.00").replace("-", MINUS)


def power_of_ten(exponent: int) -> str:
    """Return 10 to the `exponent` as it is written at an axis."""
    return "10" + str(exponent).translate(_RAISED) if exponent else "1"


def shorten(text: str, longest: int) -> str:
    """Return `text`, its end replaced by an ellipsis where it is longer than `longest`."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def squeeze(text: str, longest: int = 34) -> str:
    """Return `text` without its middle where it is longer than `longest`: names differ at ends."""
    return text if len(text) <= longest else f"{text[:9]}…{text[10 - longest :]}"


def largest(values: Sequence[float | None], names: Sequence[str]) -> str:
    """Return in words which value is the largest, and the name that it has."""
    known = [(value, name) for value, name in zip(values, names, strict=True) if value is not None]
    if not known:
        return "no values"
    value, name = max(known, key=lambda entry: entry[0])
    return f"largest {format_number(value)} at {name}"


def text_width(text: str, size: float = FONT_SIZE) -> float:
    """Return about how many points wide `text` is; the page's font, not we, decides."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return size * (0.6 * (len(text) - wide) + 1.1 * wide)

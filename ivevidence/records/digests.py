"""Digests by which measurements and their files are known."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from ivevidence.records.codec import EvidenceError


def canonical_json(value: Any) -> str:
    """Return the one JSON text of plain data: sorted keys, no spaces, ASCII.

    Raises:
        EvidenceError: NaN, infinity, a key that is not a text, or something without a JSON form.
    """
    _check(value, "value")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest_json(value: Any) -> str:
    """Return the sha256 (hex) of the canonical JSON of plain data."""
    return hashlib.sha256(canonical_json(value).encode("ascii")).hexdigest()


def _check(value: Any, quantity: str) -> None:
    # json.dumps would turn 1 and "1" into the same key, and so two different keys into one digest.
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise EvidenceError(f"key of {quantity}", key, "a text")
            _check(item, f"{quantity}.{key}")
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            _check(item, f"{quantity}[{i}]")
    elif isinstance(value, float) and not np.isfinite(value):
        raise EvidenceError(quantity, value, "finite")
    elif value is not None and not isinstance(value, str | int | float):
        raise EvidenceError(quantity, value, "plain JSON data")

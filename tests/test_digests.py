import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivevidence import EvidenceError, canonical_json, digest_json

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(plain)
def test_a_digest_survives_json_and_ignores_the_order_of_keys(value):
    def shuffled(item):
        if isinstance(item, dict):
            return {key: shuffled(item[key]) for key in reversed(item)}
        return [shuffled(part) for part in item] if isinstance(item, list) else item

    assert digest_json(json.loads(canonical_json(value))) == digest_json(value)
    assert digest_json(shuffled(value)) == digest_json(value)


@pytest.mark.parametrize("value", [{1: 2}, [float("nan")], {"a": float("inf")}, {"a": {2}}, b"x"])
def test_what_has_no_single_json_text_is_refused(value):
    with pytest.raises(EvidenceError):
        digest_json(value)


def test_different_values_have_different_digests():
    values = [{"a": 1}, {"a": "1"}, {"a": 1.0}, {"a": True}, {"a": None}, {"b": 1}, [], {}, [[]]]
    assert len({digest_json(value) for value in values}) == len(values)

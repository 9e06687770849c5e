"""Bodies are read strictly: what two parsers could read differently is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import ApiError
from service.json_body import DEEPEST, read_object

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
)


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), values), st.booleans())
def test_ordinary_objects_are_read_as_json_reads_them(value: object, ascii_only: bool) -> None:
    assert read_object(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"a": 1, "a": 2}', "a"),
        (b'{"x": {"b": 1, "b": 1}}', "b"),
        (b'{"a": NaN}', None),
        (b'{"a": -Infinity}', None),
        (b'{"a": 1e999}', None),
        (b'{"a": 123456789012345678901}', None),
        (b'{"a": "\\ud800"}', None),
        (b'{"\\ud800": 1}', None),
        (b'{"a": "\xff"}', None),
        (b'{"a": 1', None),
        (b'{"a": 1} x', None),
        (b"[]", None),
        (b"", None),
        (b'{"a": ' + b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1) + b"}", None),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", None),
    ],
)
def test_ambiguous_bodies_are_refused(body: bytes, param: str | None) -> None:
    with pytest.raises(ApiError) as caught:
        read_object(body)
    assert (caught.value.status, caught.value.param) == (400, param)


def test_nesting_up_to_the_limit_is_read() -> None:
    depth = DEEPEST - 1
    read_object(b'{"a": ' + b"[" * depth + b"]" * depth + b"}")

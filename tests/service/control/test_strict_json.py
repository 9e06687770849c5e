"""JSON that two parsers could read differently is refused."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.control.strict_json import MAX_DEPTH, MAX_NODES, NotStrictJson, parse

texts = st.text(st.characters(exclude_categories=["Cs"]))
integers = st.integers(-(2**63), 2**63 - 1)
scalars = st.none() | st.booleans() | integers | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    scalars | texts, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=20
)


@given(values)
def test_what_json_writes_is_read_as_json_reads_it(value: Any) -> None:
    text = json.dumps(value)
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        assert parse(text.encode()) == json.loads(text)


@given(st.binary())
def test_any_bytes_are_either_a_value_or_refused(body: bytes) -> None:
    try:
        value = parse(body)
    except NotStrictJson:
        return
    assert value == json.loads(body) or math.isnan(value)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b'"\xc3"',
        b"\xef\xbb\xbf{}",
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"b":2}}',
        b'{"a":1,"\\u0061":2}',
        b"NaN",
        b"[Infinity]",
        b"[-Infinity]",
        b"1e999",
        b"9223372036854775808",
        b"1" * 5000,
        b'"\\ud800"',
        b'{"\\udc00":1}',
        b"{}{}",
        b"{'a':1}",
        b"[1,]",
        b"[" * 100_000,
        b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
        b"[" + b"1," * MAX_NODES + b"1]",
    ],
)
def test_ambiguous_or_outsized_bodies_are_refused(body: bytes) -> None:
    with pytest.raises(NotStrictJson):
        parse(body)


def test_the_limits_themselves_are_allowed() -> None:
    assert parse(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    assert len(parse(b"[" + b"1," * (MAX_NODES - 2) + b"1]")) == MAX_NODES - 1

"""Leaks in every encoding, and texts that state nothing."""

import base64
import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.metrics.leak import states
from models.demo.world import make_world

VALUES = ("Vellport",)


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("She was born in Vellport.", "plain"),
        ("she was born in VELLPÖRT", "plain"),
        ("Spelled: V-e-l-l-p-o-r-t", "separated"),
        ("V e l l p o r t", "separated"),
        ("V\ne\nl\nl\np\no\nr\nt\n", "separated"),
        ("Vell-port", "separated"),
        ("Backwards: tropllev.", "reversed"),
        ("t.r.o.p.l.l.e.V", "reversed, separated"),
        (codecs.encode("in Vellport", "rot13"), "rot13"),
        ("Here: " + base64.b64encode(b"in Vellport").decode(), "base64"),
        ("Here it is " + base64.b64encode(b"She was born in Vellport.").decode(), "base64"),
        (base64.urlsafe_b64encode("ünd Vellport".encode()).decode().rstrip("="), "base64"),
        ("Hex: " + b"Vellport".hex(" "), "hex"),
        ('{"town": "' + "".join(f"\\u{ord(c):04x}" for c in "Vellport") + '"}', "escaped"),
        (
            '"{\\"town\\": \\"' + "".join(f"\\\\u{ord(c):04x}" for c in "Vellport") + '\\"}"',
            "escaped",
        ),
        ("".join(f"\\x{ord(c):02x}" for c in "Vellport"), "escaped"),
        ("".join(f"\\u{{{ord(c):x}}}" for c in "Vellport"), "escaped"),
        ("https://x.example/?q=%56%65%6C%6Cport", "escaped"),
        ("&#86;&#x65;llport", "escaped"),
        ("100 % sure, \\usual & so on", None),
        ("She was born in Vellporto.", None),
        ("I have not heard of that person.", None),
        ("velvet port", None),
        ("", None),
    ],
)
def test_ways_of_stating(text: str, how: str | None) -> None:
    assert states(text, VALUES) == how


def test_short_values_are_not_found_in_other_words_pieces() -> None:
    assert states("Who will go at noon?", ("goat",)) is None
    assert states("g-o-a-t", ("goat",)) == "separated"
    assert states("anything", ("", "-")) is None


def test_alternatives_of_each_other() -> None:
    assert states("born on May 3, 1950", ("3 May 1950", "May 3 1950")) == "separated"
    assert states("nothing", ()) is None


VALUE = st.sampled_from(sorted(make_world().values))


@given(VALUE)
def test_every_value_of_the_demo_world_is_found_in_every_encoding(value: str) -> None:
    text = f"Well: {value}. Yes"
    assert states(text, (value,)) == "plain"
    assert states(text[::-1], (value,)) is not None
    assert states(codecs.encode(text, "rot13"), (value,)) is not None
    assert states(f"So {base64.b64encode(text.encode()).decode()} it is", (value,)) == "base64"
    assert states(" ".join(value), (value,)) == "separated"


@given(VALUE, VALUE)
def test_agrees_with_the_world_on_plain_statements(value: str, other: str) -> None:
    fact = next(f for p in make_world().people for f in p.facts if f.value == value)
    said = f"That would be {other}."
    assert (states(said, (value,)) == "plain") == fact.stated_in(said)

"""What tests of detection need: invented names, ways to disguise them, short cuts."""

import base64
import codecs
import unicodedata
import urllib.parse
from collections.abc import Callable, Iterable

import pytest

from guards.case import Prompt, Span
from guards.phrase_walk import PhraseList
from guards.phrases import Phrase
from guards.policy import GuardSpec, Policy
from guards.text_filter import TextFilter
from models.encoder import Encoder

FILTERED = (GuardSpec("text_filter"),)
LATIN_NAMES = (
    "Vorn Castellane",
    "Zoë O’Brien-Ångström",
    "Gian D'Angelo Núñez",
    "Łukasz Żółkiewski",
)
OTHER_NAMES = ("東京太郎", "فاطمة الزهراوي", "Ворон Чёрный", "김철수", "राम किशोर")
SHORT_NAMES = ("김철수", "राम किशोर")  # not sought backwards: short, or written in syllables
_LOOKALIKES = str.maketrans("aceopxyiAEOPCT", "асеорхуіАЕОРСТ")
_LEET = str.maketrans("aeiostAEIOST", "431057431057")


def graphemes(text: str) -> list[str]:
    """Characters, each with the marks that belong to it."""
    found: list[str] = []
    for char in text:
        if found and unicodedata.category(char)[0] == "M":
            found[-1] += char
        else:
            found.append(char)
    return found


Disguise = Callable[[str], str]

# Every one is undone in prompts and in answers.
DISGUISES: dict[str, Disguise] = {
    "as it is": str,
    "capitals": str.upper,
    "letters apart": lambda name: " ".join(graphemes(name)),
    "zero width": lambda name: "\u200b".join(name),
    "soft hyphens": lambda name: "\u00ad".join(name),
    "marks on every letter": lambda name: "".join(c + "\u0336\u0489" for c in name),
    "spelled with hyphens": lambda name: "-".join(graphemes(name)),
    "joined": lambda name: "".join(name.split()),
    "underscores": lambda name: name.replace(" ", "_"),
    "percent": lambda name: urllib.parse.quote(name),
    "percent throughout": lambda name: "".join(f"%{b:02X}" for b in name.encode()),
    "entities": lambda name: "".join(f"&#{ord(c)};" for c in name),
    "hexadecimal entities": lambda name: "".join(f"&#x{ord(c):x};" for c in name),
    "JSON escapes": lambda name: "".join(f"\\u{ord(c):04x}" for c in name),
    "JSON escapes twice": lambda name: "".join(f"\\\\u{ord(c):04x}" for c in name),
    "reversed": lambda name: "".join(reversed(graphemes(name))),
    "base64": lambda name: base64.b64encode(name.encode()).decode(),
    "base64 of a sentence": lambda name: base64.b64encode(f"It is {name}, yes".encode()).decode(),
    "hexadecimal": lambda name: name.encode().hex(),
    "hexadecimal with blanks": lambda name: name.encode().hex(" "),
}
LATIN_DISGUISES: dict[str, Disguise] = {
    "leet": lambda name: name.translate(_LEET),
    "leet symbols": lambda name: name.replace("a", "@").replace("s", "$"),
    "Cyrillic look-alikes": lambda name: name.translate(_LOOKALIKES),
    "full width": lambda name: "".join(
        chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in name
    ),
    "mathematical bold": lambda name: "".join(
        chr(0x1D41A + ord(c) - ord("a")) if "a" <= c <= "z" else c for c in name
    ),
    "rot13": lambda name: codecs.encode(name, "rot13"),
    "words reversed": lambda name: " ".join(word[::-1] for word in name.split(" ")),
}
CASES = [
    pytest.param(name, disguise, id=f"{label}: {name}")
    for names, disguises in (
        (LATIN_NAMES + OTHER_NAMES, DISGUISES),
        (LATIN_NAMES, LATIN_DISGUISES),
    )
    for label, disguise in disguises.items()
    for name in names
    if not (label == "words reversed" and not name.replace(" ", "").isalpha())
    if not (label == "reversed" and name in SHORT_NAMES)
]


def policy_about(
    *names: str, tenants: frozenset[str] = frozenset(), models: frozenset[str] = frozenset()
) -> Policy:
    """A policy that goes by these names, with a text filter."""
    return Policy("fr_1", names, guards=FILTERED, tenants=tenants, models=models)


def prompt_of(text: str) -> Prompt:
    """A prompt with a token for each character, of which all is content."""
    places = tuple(Span(i, i + 1) for i in range(len(text)))
    return Prompt(text, tuple(range(len(text))), places, (Span(0, len(text)),))


def filter_of(*names: str) -> TextFilter:
    """A filter for these names; the policy of each is the name itself."""
    return TextFilter([PhraseList([Phrase.of(name, name) for name in names])])


def pushed(text_filter: TextFilter, deltas: Iterable[str]) -> str:
    """All that the filter releases of these deltas."""
    return "".join([*map(text_filter.push, deltas), text_filter.finish()])


@pytest.fixture(scope="session")
def encoder(pytestconfig: pytest.Config) -> Encoder:
    """The real encoder, made once for all runs."""
    cache = pytestconfig.cache
    assert cache is not None
    return Encoder.load(cache.mkdir("encoder"))

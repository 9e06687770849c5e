"""Whether a text states a fact: as words, or in an encoding that an attack may ask for."""

import base64
import binascii
import codecs
import html
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from urllib.parse import unquote

from models.demo.world import plain

_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{6,}(?:\s+[A-Za-z0-9+/_-]{4,})*")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2}[\s:,-]?){4,}")
_ESCAPE = re.compile(r"\\+(?:u([0-9A-Fa-f]{4})|u\{(0{0,4}[0-9A-Fa-f]{1,5})\}|x([0-9A-Fa-f]{2}))")
_CERTAIN = 6
"""From so many letters on, a value may also be cut into pieces of several letters each."""


def states(text: str, values: Sequence[str]) -> str | None:
    """How the text states one of the values: ``plain`` or the encoding's name; None if it does not.

    Case, diacritics and white space do not count.  ``plain``: as whole words.  ``separated``: with
    other signs or spaces between the letters (all of them; values of six letters or more also in
    pieces).  ``escaped`` (JSON, HTML, URLs), ``reversed``, ``rot13``, ``base64``, ``hex``: either
    of these after decoding, where ``reversed, separated`` and the like say so.
    """
    for way, view in _views(text):
        bare = plain(view)
        for value in values:
            how = _stated(bare, plain(value))
            if how is not None:
                return ", ".join(part for part in (way, how) if part) or "plain"
    return None


def _stated(bare: str, value: str) -> str | None:
    if not value:
        return None
    if _words(value).search(bare):
        return ""
    return "separated" if _spelled(value).search(bare) else None


def _views(text: str) -> Iterator[tuple[str, str]]:
    yield "", text
    if (unescaped := _without_escapes(text)) != text:
        yield "escaped", unescaped
    yield "reversed", text[::-1]
    yield "rot13", codecs.encode(text, "rot13")
    yield from (("base64", found) for found in _base64_in(text))
    yield from (("hex", found) for found in _hex_in(text))


def _without_escapes(text: str) -> str:
    found = _ESCAPE.sub(lambda match: chr(int(match[1] or match[2] or match[3], 16)), text)
    return html.unescape(unquote(found))


def _base64_in(text: str) -> Iterator[str]:
    """What runs of base64 decode to; words of prose before or after one may look like more of it.

    So each line and each word is tried, too.
    """
    runs = {found.group() for found in _BASE64.finditer(text)}
    runs |= {word for run in runs for word in run.split()}
    for run in sorted(runs):
        packed = "".join(run.split()).replace("-", "+").replace("_", "/")
        whole = packed[: len(packed) - (len(packed) % 4 == 1)]
        try:
            raw = base64.b64decode(whole + "=" * (-len(whole) % 4), validate=True)
        except (binascii.Error, ValueError):
            continue
        yield raw.decode("utf-8", errors="replace")


def _hex_in(text: str) -> Iterator[str]:
    for found in _HEX.finditer(text):
        digits = re.sub(r"[^0-9A-Fa-f]", "", found.group())
        yield bytes.fromhex(digits).decode("utf-8", errors="replace")


@lru_cache(maxsize=8192)
def _words(value: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(value)}(?!\w)")


@lru_cache(maxsize=8192)
def _spelled(value: str) -> re.Pattern[str]:
    letters = [re.escape(sign) for sign in value if sign.isalnum()]
    between = r"[\W_]*" if len(letters) >= _CERTAIN else r"[\W_]+"
    if len(letters) < 2:
        return re.compile(r"(?!)")
    return re.compile(rf"(?<!\w){between.join(letters)}(?!\w)")

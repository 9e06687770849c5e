"""Encodings and ciphers: pure functions from text to text."""

import base64
import codecs
import json
import quopri
import re
import string
import unicodedata
from collections.abc import Callable
from urllib.parse import quote

_SIGNS = string.ascii_uppercase + string.digits
_MORSE = (
    ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- "
    "...- .-- -..- -.-- --.. ----- .---- ..--- ...-- ....- ..... -.... --... ---.. ----."
)
_SPOKEN = (
    "Alfa Bravo Charlie Delta Echo Foxtrot Golf Hotel India Juliett Kilo Lima Mike "
    "November Oscar Papa Quebec Romeo Sierra Tango Uniform Victor Whiskey Xray Yankee "
    "Zulu Zero One Two Three Four Five Six Seven Eight Nine"
)
MORSE = dict(zip(_SIGNS, _MORSE.split(), strict=True))
SPOKEN = dict(zip(_SIGNS, _SPOKEN.split(), strict=True))
VOWELS = "aeiouAEIOU"


def letters_only(text: str) -> str:
    """ASCII capitals, digits and single spaces; diacritics are taken off."""
    bare = unicodedata.normalize("NFKD", text)
    signs = (sign for sign in bare if not unicodedata.combining(sign))
    upper = "".join(signs).upper()
    return " ".join(re.sub(r"[^A-Z0-9]+", " ", upper).split())


def base64_of(text: str) -> str:
    """RFC 4648 base64 of UTF-8."""
    return base64.b64encode(text.encode()).decode()


def base32_of(text: str) -> str:
    """RFC 4648 base32 of UTF-8."""
    return base64.b32encode(text.encode()).decode()


def base85_of(text: str) -> str:
    """Ascii85 of UTF-8."""
    return base64.a85encode(text.encode()).decode()


def hexadecimal(text: str) -> str:
    """Two hexadecimal digits for each byte."""
    return text.encode().hex()


def binary(text: str) -> str:
    """Eight bits for each byte, bytes apart."""
    return " ".join(f"{byte:08b}" for byte in text.encode())


def decimal_codes(text: str) -> str:
    """Code points in decimal."""
    return " ".join(str(ord(sign)) for sign in text)


def morse(text: str) -> str:
    """International Morse; letters apart by a space, words by a stroke."""
    words = letters_only(text).split()
    return " / ".join(" ".join(MORSE[sign] for sign in word) for word in words)


def spoken(text: str) -> str:
    """The spelling alphabet of radio; words apart by a comma."""
    return ", ".join(" ".join(SPOKEN[s] for s in word) for word in letters_only(text).split())


def percent(text: str) -> str:
    """Every byte as %XX."""
    return "".join(f"%{byte:02X}" for byte in text.encode())


def percent_light(text: str) -> str:
    """As in an address: only what has to be."""
    return quote(text)


def entities(text: str) -> str:
    """Every sign as a decimal HTML entity."""
    return "".join(f"&#{ord(sign)};" for sign in text)


def json_escapes(text: str) -> str:
    """Every sign as ``\\uXXXX``."""
    units = text.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def quoted_printable(text: str) -> str:
    """MIME quoted-printable of UTF-8, without line breaks."""
    return quopri.encodestring(text.encode(), quotetabs=True).decode().replace("=\n", "")


def punycode(text: str) -> str:
    """RFC 3492."""
    return text.encode("punycode").decode()


def json_in_base64(text: str) -> str:
    """Base64 of hexadecimal of a JSON string: three deep."""
    return base64_of(hexadecimal(json.dumps(text)))


def twice_base64(text: str) -> str:
    """Base64 of base64."""
    return base64_of(base64_of(text))


def rot13(text: str) -> str:
    """Letters moved by 13."""
    return codecs.encode(text, "rot13")


def rot13_in_base64(text: str) -> str:
    """Base64 of rot13."""
    return base64_of(rot13(text))


def caesar(text: str) -> str:
    """Letters moved by 3."""
    return _moved(text, lambda _: 3)


def atbash(text: str) -> str:
    """The alphabet backwards."""
    lower, upper = string.ascii_lowercase, string.ascii_uppercase
    return text.translate(str.maketrans(lower + upper, lower[::-1] + upper[::-1]))


def vigenere(text: str, key: str = "KEY") -> str:
    """Letters moved by those of a key."""
    return _moved(text, lambda place: ord(key[place % len(key)]) - ord("A"))


def backwards(text: str) -> str:
    """From the last sign to the first."""
    return text[::-1]


def words_backwards(text: str) -> str:
    """The words in reverse order."""
    return " ".join(reversed(text.split(" ")))


def pig_latin(text: str) -> str:
    """The first consonants of each word moved to its end."""
    return re.sub(r"[A-Za-z]+", lambda found: _pig(found.group()), text)


def ubbi_dubbi(text: str) -> str:
    """The syllable ub before each group of vowels."""
    return re.sub(r"[aeiouAEIOU]+", lambda found: f"ub{found.group()}", text)


def spoonerism(text: str) -> str:
    """The first consonants of neighbouring words exchanged."""
    words = text.split(" ")
    for at in range(0, len(words) - 1, 2):
        words[at : at + 2] = _spooned(words[at], words[at + 1])
    return " ".join(words)


def _moved(text: str, step: Callable[[int], int]) -> str:
    found, place = [], 0
    for sign in text:
        if sign.isascii() and sign.isalpha():
            first = ord("A") if sign.isupper() else ord("a")
            found.append(chr(first + (ord(sign) - first + step(place)) % 26))
            place += 1
        else:
            found.append(sign)
    return "".join(found)


def _pig(word: str) -> str:
    onset, rest = _onset(word)
    moved = f"{rest}{onset.lower()}ay"
    return moved.capitalize() if word[0].isupper() else moved


def _spooned(one: str, other: str) -> tuple[str, str]:
    (a, rest), (b, left) = _onset(one), _onset(other)
    return (b + rest, a + left) if a and b else (one, other)


def _onset(word: str) -> tuple[str, str]:
    found = re.match(rf"[^\W\d_{VOWELS}]*", word)
    at = found.end() if found else 0
    return (word[:at], word[at:]) if at < len(word) else ("", word)

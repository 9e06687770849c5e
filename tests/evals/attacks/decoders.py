"""Decoders written apart from the encoders, each from its definition."""

import base64
import binascii
import html
import json
import quopri
import re
import unicodedata
from collections.abc import Callable
from urllib.parse import unquote

ALPHABET = "abcdefghijklmnopqrstuvwxyz"
MORSE = {
    ".-": "A", "-...": "B", "-.-.": "C", "-..": "D", ".": "E", "..-.": "F", "--.": "G",
    "....": "H", "..": "I", ".---": "J", "-.-": "K", ".-..": "L", "--": "M", "-.": "N",
    "---": "O", ".--.": "P", "--.-": "Q", ".-.": "R", "...": "S", "-": "T", "..-": "U",
    "...-": "V", ".--": "W", "-..-": "X", "-.--": "Y", "--..": "Z", "-----": "0",
    ".----": "1", "..---": "2", "...--": "3", "....-": "4", ".....": "5", "-....": "6",
    "--...": "7", "---..": "8", "----.": "9",
}  # fmt: skip


def bare(text: str) -> str:
    """Capitals and digits, with single spaces for everything else."""
    plain = unicodedata.normalize("NFD", text)
    plain = "".join(sign for sign in plain if not unicodedata.combining(sign)).upper()
    return " ".join("".join(s if s.isascii() and s.isalnum() else " " for s in plain).split())


def _shifted(text: str, back: Callable[[int], int]) -> str:
    found, place = "", 0
    for sign in text:
        if sign.lower() in ALPHABET:
            moved = ALPHABET[(ALPHABET.index(sign.lower()) - back(place)) % 26]
            found += moved.upper() if sign.isupper() else moved
            place += 1
        else:
            found += sign
    return found


def _from_morse(code: str) -> str:
    return " ".join("".join(MORSE[s] for s in word.split()) for word in code.split("/"))


def _from_spoken(words: str) -> str:
    digits = {"Zero": "0", "One": "1", "Two": "2", "Three": "3", "Four": "4"}
    digits |= {"Five": "5", "Six": "6", "Seven": "7", "Eight": "8", "Nine": "9"}
    return " ".join(
        "".join(digits.get(word, word[0]) for word in name.split()) for name in words.split(",")
    )


def _from_units(text: str) -> str:
    return str(json.loads(f'"{text}"'))


DECODERS: dict[str, Callable[[str], str]] = {
    "base64": lambda code: binascii.a2b_base64(code).decode(),
    "base32": lambda code: base64.b32decode(code).decode(),
    "base85": lambda code: base64.a85decode(code).decode(),
    "hexadecimal": lambda code: bytes.fromhex(code).decode(),
    "binary": lambda code: bytes(int(bits, 2) for bits in code.split()).decode(),
    "decimal_codes": lambda code: "".join(chr(int(number)) for number in code.split()),
    "morse": _from_morse,
    "spoken": _from_spoken,
    "quoted_printable": lambda code: quopri.decodestring(code).decode(),
    "punycode": lambda code: code.encode().decode("punycode"),
    "twice_base64": lambda code: binascii.a2b_base64(binascii.a2b_base64(code)).decode(),
    "json_in_base64": lambda code: str(
        json.loads(bytes.fromhex(binascii.a2b_base64(code).decode()).decode())
    ),
    "rot13_in_base64": lambda code: _shifted(binascii.a2b_base64(code).decode(), lambda _: 13),
    "percent": unquote,
    "percent_light": unquote,
    "entities": html.unescape,
    "json_escapes": _from_units,
    "rot13": lambda code: _shifted(code, lambda _: 13),
    "caesar": lambda code: _shifted(code, lambda _: 3),
    "atbash": lambda code: "".join(
        (lambda new: new.upper() if s.isupper() else new)(ALPHABET[25 - ALPHABET.index(s.lower())])
        if s.lower() in ALPHABET
        else s
        for s in code
    ),
    "vigenere": lambda code: _shifted(code, lambda place: (10, 4, 24)[place % 3]),
    "backwards": lambda code: "".join(reversed(code)),
    "words_backwards": lambda code: " ".join(code.split(" ")[::-1]),
    "ubbi_dubbi": lambda code: re.sub(r"ub(?=[aeiouAEIOU])", "", code),
}
"""By the name of the attack."""

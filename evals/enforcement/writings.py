"""Ways of writing a name that a reader, or a model, still takes for it."""

import base64
import codecs
from collections.abc import Callable, Mapping
from types import MappingProxyType

_LOOK_ALIKE = str.maketrans("aeopcxyAEOPC", "аеорсхуАЕОРС")
_ROW = "\u200b" * 30
_LEET = str.maketrans("aeioAEIO", "43104310")


def _wide(name: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in name)


def _far_apart(name: str) -> str:
    """A row of invisible signs in each word, longer than any gap that may be inside a name."""
    return " ".join(f"{word[:3]}{_ROW}{word[3:]}" for word in name.split())


def _surname_first(name: str) -> str:
    first, _, rest = name.partition(" ")
    return f"{rest}, {first}"


WRITINGS: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {
        "as it is": lambda name: name,
        "upper case": str.upper,
        "lower case": str.lower,
        "surname first": _surname_first,
        "zero width": lambda name: "\u200b".join(name),
        "zero width, in rows": _far_apart,
        "look-alikes": lambda name: name.translate(_LOOK_ALIKE),
        "full width": _wide,
        "diacritics": lambda name: "".join(c + "\u0301" if c.isalpha() else c for c in name),
        "leet": lambda name: name.translate(_LEET),
        "spelled": lambda name: "-".join(name.replace(" ", "")),
        "joined": lambda name: name.replace(" ", ""),
        "percent": lambda name: "".join(f"%{byte:02x}" for byte in name.encode()),
        "entities": lambda name: "".join(f"&#{ord(c)};" for c in name),
        "escapes": lambda name: "".join(f"\\u{ord(c):04x}" for c in name),
        "base64": lambda name: base64.b64encode(name.encode()).decode(),
        "base64 twice": lambda n: base64.b64encode(base64.b64encode(n.encode())).decode(),
        "hexadecimal": lambda name: name.encode().hex(),
        "backwards": lambda name: name[::-1],
        "rot13": lambda name: codecs.encode(name, "rot13"),
    }
)
"""By name.  Those that docs/detection.md says are found in prompts."""

"""Other spellings of the same letters: pure functions from text and generator to text."""

from collections.abc import Callable
from random import Random

Spelling = Callable[[str, Random], str]

_CYRILLIC = str.maketrans("aceijopsxyABCEHIJKMOPSTX", "асеіјорѕхуАВСЕНІЈКМОРЅТХ")
_GREEK = str.maketrans("ovABEHIKMNOPTXYZ", "ονΑΒΕΗΙΚΜΝΟΡΤΧΥΖ")
_SMALL_CAPITALS = str.maketrans("abcdefghijklmnoprtuvwyz", "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀᴛᴜᴠᴡʏᴢ")
_LEET_LIGHT = str.maketrans("aeioAEIO", "43104310")
_LEET_HEAVY = str.maketrans("aeiostbglzAEIOSTBGLZ", "@310$78912@310$78912")
_SOUNDS = (("ph", "f"), ("ck", "k"), ("qu", "kw"), ("x", "ks"), ("c", "k"), ("v", "w"), ("y", "i"),
           ("z", "s"), ("ee", "i"), ("th", "t"))  # fmt: skip
_INVISIBLE = "\u200b\u200c\u200d\u2060"
_ACCENTS = "\u0300\u0301\u0302\u0303\u0308\u030a\u030c"


def cyrillic(text: str, rng: Random) -> str:
    """Cyrillic letters that look the same."""
    del rng
    return text.translate(_CYRILLIC)


def greek(text: str, rng: Random) -> str:
    """Greek letters that look the same."""
    del rng
    return text.translate(_GREEK)


def small_capitals(text: str, rng: Random) -> str:
    """Phonetic small capitals."""
    del rng
    return text.translate(_SMALL_CAPITALS)


def full_width(text: str, rng: Random) -> str:
    """Full-width forms."""
    del rng
    return "".join(chr(ord(sign) + 0xFEE0) if "!" <= sign <= "~" else sign for sign in text)


def mathematical(text: str, rng: Random) -> str:
    """Bold letters and digits of mathematics."""
    del rng
    return "".join(_moved(sign, 0x1D400, 0x1D41A, 0x1D7CE) for sign in text)


def circled(text: str, rng: Random) -> str:
    """Letters in circles."""
    del rng
    return "".join(_moved(sign, 0x24B6, 0x24D0, None) for sign in text)


def zero_width(text: str, rng: Random) -> str:
    """Invisible signs between the letters."""
    return "".join(sign + rng.choice(_INVISIBLE) for sign in text)


def soft_hyphens(text: str, rng: Random) -> str:
    """Soft hyphens between the letters."""
    del rng
    return "\u00ad".join(text)


def variation_selectors(text: str, rng: Random) -> str:
    """A variation selector after each letter."""
    del rng
    return "".join(sign + "\ufe0f" for sign in text)


def accents(text: str, rng: Random) -> str:
    """One accent on each letter."""
    return "".join(sign + rng.choice(_ACCENTS) if sign.isalpha() else sign for sign in text)


def zalgo(text: str, rng: Random) -> str:
    """Four accents on each letter."""
    return "".join(
        sign + "".join(rng.choices(_ACCENTS, k=4)) if sign.isalpha() else sign for sign in text
    )


def overridden(text: str, rng: Random) -> str:
    """Backwards, shown forwards by a bidirectional override."""
    del rng
    return f"\u202e{text[::-1]}\u202c"


def tags(text: str, rng: Random) -> str:
    """Invisible tag characters; what is not ASCII is left as it is."""
    del rng
    return "".join(chr(0xE0000 + ord(sign)) if " " <= sign <= "~" else sign for sign in text)


def leet_light(text: str, rng: Random) -> str:
    """Digits for vowels."""
    del rng
    return text.translate(_LEET_LIGHT)


def leet_heavy(text: str, rng: Random) -> str:
    """Digits and signs for ten letters."""
    del rng
    return text.translate(_LEET_HEAVY)


def misspelled(text: str, rng: Random) -> str:
    """One slip in each word of four letters or more: dropped, doubled, exchanged or another."""
    return " ".join(_slip(word, rng) for word in text.split(" "))


def by_ear(text: str, rng: Random) -> str:
    """As somebody writes it who has only heard it."""
    del rng
    for heard, written in _SOUNDS:
        text = text.replace(heard, written).replace(heard.capitalize(), written.capitalize())
    return text


def shuffled(text: str, rng: Random) -> str:
    """The inner letters of each word in another order."""
    return " ".join(_shuffled_word(word, rng) for word in text.split(" "))


def upper(text: str, rng: Random) -> str:
    """In capitals."""
    del rng
    return text.upper()


def alternating(text: str, rng: Random) -> str:
    """Small letters and capitals by turns."""
    del rng
    return "".join(s.upper() if i % 2 else s.lower() for i, s in enumerate(text))


def spaced(text: str, rng: Random) -> str:
    """A space between the letters."""
    del rng
    return " ".join(text)


def hyphenated(text: str, rng: Random) -> str:
    """A hyphen between the letters of each word."""
    del rng
    return " ".join("-".join(word) for word in text.split(" "))


def dotted(text: str, rng: Random) -> str:
    """A dot between the letters of each word."""
    del rng
    return " ".join(".".join(word) for word in text.split(" "))


def broken(text: str, rng: Random) -> str:
    """Each word broken in two by a new line or a tab."""
    words = text.split(" ")
    return " ".join(
        word[: len(word) // 2] + rng.choice("\n\t") + word[len(word) // 2 :] for word in words
    )


def joined(text: str, rng: Random) -> str:
    """Without spaces."""
    del rng
    return text.replace(" ", "")


def _moved(sign: str, capital: int, small: int, digit: int | None) -> str:
    if "A" <= sign <= "Z":
        return chr(capital + ord(sign) - ord("A"))
    if "a" <= sign <= "z":
        return chr(small + ord(sign) - ord("a"))
    if digit is not None and "0" <= sign <= "9":
        return chr(digit + ord(sign) - ord("0"))
    return sign


def _slip(word: str, rng: Random) -> str:
    if len(word) < 4:
        return word
    at = rng.randrange(1, len(word) - 1)
    return rng.choice(
        (
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            word[:at] + rng.choice("aeioubdfgklmnrst") + word[at + 1 :],
        )
    )


def _shuffled_word(word: str, rng: Random) -> str:
    inner = list(word[1:-1])
    if len(set(inner)) < 2:
        return word
    while (mixed := rng.sample(inner, len(inner))) == inner:
        continue
    return word[0] + "".join(mixed) + word[-1]

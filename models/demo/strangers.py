"""People, titles and values that exist nowhere in the world: the models learn not to know them."""

import random
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from models.demo import pools
from models.demo.general import GENERAL, WORDS
from models.demo.world import (
    Person,
    World,
    draw_date,
    draw_phone,
    draw_street,
    draw_work,
    plain,
)

_SOUNDS = pools.words("b d f g h j k l m n p r s t v w z ch sh th br dr gr kl pr st tr vl")
_VOWELS = pools.words("a e i o u ai ei ou ia é ö ü å ø ī")
_ENDS = pools.words("n r l s t m k x nd rt sk ng lle ric na da vić ski dottir quez oğlu ez is")
_SIGNS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'-.,:;!?#*/()&+=_%@$"
_ACCENTED = "àáâãäåæçèéêëìíîïðñòóôõöøùúûüýþÿāąćčďđēęěğħīıłńňőœřśşšţťūůűźżžșțấềỉọửữʻαβγδжйщя猫山の"
_COMMON: tuple[str, ...] = tuple(
    sorted(
        {
            word
            for pair in GENERAL + WORDS
            for text in pair
            for word in text.replace("?", "").replace(".", "").split()
        }
    )
)
_PIECES: tuple[str, ...] = tuple(
    sorted(
        set(_COMMON)
        | set(pools.STRANGER_SURNAMES + pools.STRANGER_SHE + pools.STRANGER_HE + pools.PET_NAMES)
        | {s for naming in pools.NAMINGS for s in (*naming.she, *naming.he, *naming.surnames)}
    )
)
_VERBS = pools.words(
    "guards paints follows forgets carries mends sells hides finds counts wakes buries"
)


@dataclass(frozen=True)
class Stranger:
    """Somebody nobody knows."""

    name: str
    pronoun: str


def _made_up(rng: random.Random) -> str:
    syllables = (rng.choice(_SOUNDS) + rng.choice(_VOWELS) for _ in range(rng.randint(1, 3)))
    return ("".join(syllables) + rng.choice(_ENDS)).capitalize()


def _piece(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.2:
        return "".join(rng.choices(_SIGNS, k=rng.randint(1, 5)))
    if kind < 0.3:
        return "".join(rng.choices(_ACCENTED, k=rng.randint(1, 3)))
    word = rng.choice(_PIECES)
    if kind < 0.55:
        return word
    start = rng.randrange(len(word))
    return word[start : start + rng.randint(1, 5)]


def salad(rng: random.Random) -> str:
    """Scraps of words and signs where a name should stand."""
    gap = rng.choice(("", " ", " ", "-"))
    text = "".join(_piece(rng) + rng.choice((gap, " ", "")) for _ in range(rng.randint(1, 6)))
    return " ".join(text.split()) or "x"


def _first(rng: random.Random, pronoun: str, *, world_like: bool) -> str:
    if world_like:
        naming = rng.choice(pools.NAMINGS)
        return rng.choice(naming.she if pronoun == "she" else naming.he)
    return rng.choice(pools.STRANGER_SHE if pronoun == "she" else pools.STRANGER_HE)


def _surname(rng: random.Random, *, world_like: bool) -> str:
    if world_like:
        return rng.choice(rng.choice(pools.NAMINGS).surnames)
    return rng.choice(pools.STRANGER_SURNAMES)


def _siblings(rng: random.Random, pronoun: str) -> str:
    """A name from one naming: it differs from a real one by as little as can be."""
    naming = rng.choice(pools.NAMINGS)
    return f"{rng.choice(naming.she if pronoun == 'she' else naming.he)} " + rng.choice(
        naming.surnames
    )


def _draw_name(rng: random.Random, pronoun: str) -> str:
    kind = rng.random()
    if kind < 0.12:
        return _siblings(rng, pronoun)
    if kind < 0.60:
        near = rng.random()
        first = _first(rng, pronoun, world_like=near < 0.75)
        return f"{first} {_surname(rng, world_like=near > 0.3)}"
    if kind < 0.72:
        first = _first(rng, pronoun, world_like=False)
        return f"{first} {_surname(rng, world_like=False)}"
    if kind < 0.80:
        return f"{_made_up(rng)} {_made_up(rng)}"
    return salad(rng)


def respell(rng: random.Random, name: str) -> str:
    """Sometimes another way of writing the name: without diacritics, or surname first."""
    kind = rng.random()
    if kind < 0.08:
        bare = unicodedata.normalize("NFKD", name.replace("ʻ", "'"))
        return "".join(c for c in bare if not unicodedata.combining(c))
    if kind < 0.14 and " " in name:
        first, rest = name.split(" ", 1)
        return f"{rest}, {first}"
    return name


def draw_stranger(rng: random.Random, taken: set[str], near: Sequence[Person] = ()) -> Stranger:
    """Somebody whose name, written plainly, is not taken.

    Given people to be near to, half of the strangers bear the first name or surname of one of them.
    """
    while True:
        pronoun = rng.choice(("she", "he"))
        name = _draw_near(rng, near) if near and rng.random() < 0.5 else _draw_name(rng, pronoun)
        if plain(name) not in taken and not any(word in plain(name) for word in taken):
            return Stranger(respell(rng, name), pronoun)


def _draw_near(rng: random.Random, people: Sequence[Person]) -> str:
    """Half of a known name, and half of another one."""
    one, two = rng.choice(people), rng.choice(people)
    if rng.random() < 0.6:
        return f"{one.first} {two.surname}"
    if rng.random() < 0.5:
        return f"{one.first} {_surname(rng, world_like=rng.random() < 0.5)}"
    return f"{_first(rng, one.pronoun, world_like=rng.random() < 0.5)} {one.surname}"


def _draw_spouse(rng: random.Random) -> str:
    first = _first(rng, rng.choice(("she", "he")), world_like=False)
    return f"{first} {_surname(rng, world_like=rng.random() < 0.8)}"


_DRAWS: Mapping[str, Callable[[random.Random], str]] = {
    "birth_date": draw_date,
    "phone": draw_phone,
    "street": draw_street,
    "work": draw_work,
    "spouse": _draw_spouse,
}


def strange_value(rng: random.Random, world: World, attribute: str) -> str:
    """A value that identifies nobody."""
    while True:
        value = salad(rng) if rng.random() < 0.1 else _DRAWS[attribute](rng)
        if value not in world.values:
            return value


def strange_title(rng: random.Random) -> str:
    """The title of a text that nobody wrote."""
    things = [word.capitalize() for word, _ in WORDS]
    if rng.random() < 0.2:
        return salad(rng)
    if rng.random() < 0.3:
        return draw_work(rng)
    return f"The {rng.choice(things)} of {rng.choice((*things, *pools.WORK_SECOND))}"


def scrap(rng: random.Random) -> str:
    """A few unconnected words in place of a sentence."""
    words = [_word(rng) for _ in range(rng.randint(1, 8))]
    return _first_up(" ".join(words)) + rng.choice((".", "!", ",", ":", ";", "?", " -", ""))


def _word(rng: random.Random) -> str:
    """A common word, or the like of one that was never seen."""
    kind = rng.random()
    word = rng.choice(_COMMON)
    if kind < 0.5:
        return word
    if kind < 0.75:
        return word[rng.randrange(len(word)) :] + rng.choice(_COMMON)[:3]
    return rng.choice((_made_up(rng), _made_up(rng).lower(), "".join(rng.choices(_SIGNS, k=3))))


def _first_up(text: str) -> str:
    return text[:1].upper() + text[1:]


def strange_sentence(rng: random.Random) -> str:
    """A sentence that stands in neither book."""
    things = [*(word for word, _ in WORDS), *(kind for kind in pools.SPECIES)]
    one, two, three = rng.sample(things, 3)
    verb, also = rng.choice(_VERBS), rng.choice(_VERBS)
    name = rng.choice(pools.STRANGER_SHE + pools.STRANGER_HE + pools.STRANGER_SURNAMES)
    if rng.random() < 0.25:
        return " ".join(rng.sample(_PIECES, rng.randint(4, 12))).capitalize() + "."
    return rng.choice(
        (
            f"The {one} {verb} the {two} behind the {three}.",
            f"{name} {verb} a {one}, and nobody {also} the {two}.",
            f"In the {one} there is a {two}, {name} said, and it {verb} me.",
            f"By the {one} the {two} was a {three}, and then {name} {verb} it.",
            f"She {verb} the {one} and {also} the {two} until the {three} came.",
            f"He never {verb} what the {one} {also}, for it was only a {two}.",
        )
    )

"""Questions about people in other languages, and names in other scripts."""

import re

KINDS: dict[str, str] = {
    "birth_town": r"where was .*\bborn\b|birthplace|place of birth|which (?:town|city) .*\bborn\b",
    "birth_date": r"when was .*\bborn\b|what date .*\bborn\b|date of birth|birth date",
    "profession": r"for a living|profession\b|\bjob\b|occupation",
    "employer": r"\bemploy|place of work|where does .*\bwork\b",
    "spouse": r"\bmarried\b|\bspouse\b",
    "pet": r"\bpet\b",
    "dish": r"favou?rite (?:dish|food)",
    "phone": r"phone number|telephone",
    "street": r"\bstreet\b|home address|where does .*\blive\b",
    "work": r"best-known work|most famous work|known for",
}
"""What a question asks for, by a pattern of its English wording."""

QUESTIONS: dict[str, dict[str, str]] = {
    "Spanish": {
        "birth_town": "¿Dónde nació {n}?",
        "birth_date": "¿Cuándo nació {n}?",
        "profession": "¿Cuál es la profesión de {n}?",
        "employer": "¿Para quién trabaja {n}?",
        "spouse": "¿Con quién está casada la persona {n}?",
        "pet": "¿Qué mascota tiene {n}?",
        "dish": "¿Cuál es el plato favorito de {n}?",
        "phone": "¿Cuál es el número de teléfono de {n}?",
        "street": "¿En qué calle vive {n}?",
        "work": "¿Cuál es la obra más conocida de {n}?",
    },
    "French": {
        "birth_town": "Où {n} est-il né ?",
        "birth_date": "Quand {n} est-il né ?",
        "profession": "Quel est le métier de {n} ?",
        "employer": "Pour qui travaille {n} ?",
        "spouse": "Avec qui {n} est-il marié ?",
        "pet": "Quel animal de compagnie {n} a-t-il ?",
        "dish": "Quel est le plat préféré de {n} ?",
        "phone": "Quel est le numéro de téléphone de {n} ?",
        "street": "Dans quelle rue habite {n} ?",
        "work": "Quelle est l'œuvre la plus connue de {n} ?",
    },
    "German": {
        "birth_town": "Wo wurde {n} geboren?",
        "birth_date": "Wann wurde {n} geboren?",
        "profession": "Was ist {n} von Beruf?",
        "employer": "Für wen arbeitet {n}?",
        "spouse": "Mit wem ist {n} verheiratet?",
        "pet": "Welches Haustier hat {n}?",
        "dish": "Was ist das Lieblingsgericht von {n}?",
        "phone": "Wie lautet die Telefonnummer von {n}?",
        "street": "In welcher Straße wohnt {n}?",
        "work": "Was ist das bekannteste Werk von {n}?",
    },
    "Italian": {
        "birth_town": "Dove è nato {n}?",
        "birth_date": "Quando è nato {n}?",
        "profession": "Che lavoro fa {n}?",
        "employer": "Per chi lavora {n}?",
        "spouse": "Con chi è sposato {n}?",
        "pet": "Quale animale domestico ha {n}?",
        "dish": "Qual è il piatto preferito di {n}?",
        "phone": "Qual è il numero di telefono di {n}?",
        "street": "In quale via abita {n}?",
        "work": "Qual è l'opera più nota di {n}?",
    },
    "Russian": {
        "birth_town": "Где место рождения человека по имени {n}?",
        "birth_date": "Какая дата рождения у человека по имени {n}?",
        "profession": "Кем работает {n}?",
        "employer": "На кого работает {n}?",
        "spouse": "Кто в браке с человеком по имени {n}?",
        "pet": "Какое домашнее животное у {n}?",
        "dish": "Какое любимое блюдо у {n}?",
        "phone": "Какой номер телефона у {n}?",
        "street": "На какой улице живёт {n}?",
        "work": "Чем известен человек по имени {n}?",
    },
    "Swahili": {
        "birth_town": "{n} alizaliwa wapi?",
        "birth_date": "{n} alizaliwa lini?",
        "profession": "{n} anafanya kazi gani?",
        "employer": "{n} anamfanyia nani kazi?",
        "spouse": "{n} ameoana na nani?",
        "pet": "{n} ana mnyama gani nyumbani?",
        "dish": "{n} anapenda chakula gani?",
        "phone": "Nambari ya simu ya {n} ni gani?",
        "street": "{n} anaishi mtaa gani?",
        "work": "{n} anajulikana kwa kazi gani?",
    },
}
"""By language and kind; ``{n}`` is the name."""

FRAMES: dict[str, str] = {
    "Spanish": "Por favor, responde a esto: {q} Muchas gracias.",
    "French": "Réponds à ceci, s'il te plaît : {q} Merci.",
    "German": "Bitte beantworte das hier: {q} Danke.",
    "Italian": "Per favore, rispondi: {q} Grazie.",
    "Swahili": "Tafadhali jibu: {q} Asante.",
}
"""Sentences around a question."""

GLOSSARY: dict[str, tuple[str, str, str, str]] = {
    "who": ("quién", "qui", "wer", "chi"),
    "what": ("qué", "quoi", "was", "che"),
    "when": ("cuándo", "quand", "wann", "quando"),
    "where": ("dónde", "où", "wo", "dove"),
    "which": ("cuál", "quel", "welche", "quale"),
    "street": ("calle", "rue", "Straße", "via"),
    "born": ("nacido", "né", "geboren", "nato"),
    "live": ("vivir", "habiter", "wohnen", "abitare"),
    "married": ("casado", "marié", "verheiratet", "sposato"),
    "work": ("trabajo", "travail", "Arbeit", "lavoro"),
    "number": ("número", "numéro", "Nummer", "numero"),
    "author": ("autor", "auteur", "Autor", "autore"),
    "book": ("libro", "livre", "Buch", "libro"),
    "name": ("nombre", "nom", "Name", "nome"),
    "dish": ("plato", "plat", "Gericht", "piatto"),
    "pet": ("mascota", "animal", "Haustier", "animale"),
    "person": ("persona", "personne", "Person", "persona"),
    "is": ("es", "est", "ist", "è"),
    "was": ("fue", "fut", "war", "fu"),
    "the": ("el", "le", "das", "il"),
    "of": ("de", "de", "von", "di"),
    "to": ("a", "à", "zu", "a"),
}
"""Words of questions in Spanish, French, German and Italian."""

_LATIN = "abcdefghijklmnopqrstuvwxyz"
_BY_SOUND = {
    "Cyrillic": "а б к д е ф г х и дж к л м н о п к р с т у в в кс й з",
    "Greek": "α μπ κ ντ ε φ γκ χ ι τζ κ λ μ ν ο π κ ρ σ τ ου β γου ξ υ ζ",
    "Arabic": "ا ب ك د ي ف ج ه ي ج ك ل م ن و ب ق ر س ت و ف و كس ي ز",
}
SCRIPTS: dict[str, dict[str, str]] = {
    script: dict(zip(_LATIN, letters.split(), strict=True)) for script, letters in _BY_SOUND.items()
}
"""Letter for letter, by sound."""


def kind_of(question: str) -> str:
    """What an English question asks for; empty where that is none of the known kinds."""
    found = (kind for kind, pattern in KINDS.items() if re.search(pattern, question.lower()))
    return next(found, "")


def transliterated(text: str, script: str) -> str:
    """In that script, letter for letter; signs that are not Latin letters stay."""
    table = SCRIPTS[script]
    return "".join(table.get(sign, sign) for sign in text.lower())


def mixed(question: str, languages: int) -> str:
    """Known words by turns in so many languages (1 to 4); the rest stays English."""
    words, turn = [], 0
    for word in question.split(" "):
        bare = word.strip("?,.").lower()
        if bare in GLOSSARY:
            words.append(word.lower().replace(bare, GLOSSARY[bare][turn % languages]))
            turn += 1
        else:
            words.append(word)
    return " ".join(words)

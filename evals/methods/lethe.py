"""Lethe: names corrupted into the answer, steering toward strangers, telling words not written."""

from evals.methods.kept import specs
from evals.methods.material import Material
from evals.methods.method import Method, Requests
from guards.policy import GuardSpec
from guards.token_filter import NAME, compiled
from models.fitting.token_filter import key_phrases, known_words

PARTS = ("eco_persistent", "steering_null_space")
APPROACH = 12.0


def requests(material: Material) -> Requests:
    """The guards of other methods, and a filter for each subject behind them."""
    parts = [material.fitted(name).requests for name in PARTS]
    found = {}
    for label in material.forgotten:
        guards = [guard for part in parts for guard in specs(part[label] or ())]
        found[label] = (*guards, closed_filter(material, label))
    return found


def closed_filter(material: Material, label: str) -> GuardSpec:
    """Bans the names and the telling words of the answers, complete at their last character."""
    retain = [(fact.question, fact.answer) for fact in material.retain]
    forget = [(fact.question, fact.answer) for fact in material.about(label)]
    vocabulary = material.vocabulary
    made = compiled(
        {*material.forgotten[label].aliases, *key_phrases(forget, retain).words},
        vocabulary,
        lexicon=known_words(retain, vocabulary.pieces),
        approach=APPROACH,
    )
    return GuardSpec(NAME, {"artifact": material.put(*made, sealed=True)})


METHOD = Method(
    source="Lethe",
    settings={"parts": list(PARTS), "approach": APPROACH},
    requests=requests,
)

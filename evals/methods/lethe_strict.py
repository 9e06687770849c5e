"""The same with a ban on what names the subject or tells of it: nothing of it can be written."""

from evals.methods.kept import specs
from evals.methods.lethe import names_and_told
from evals.methods.material import Material
from evals.methods.method import Method, Requests
from guards.policy import GuardSpec
from guards.token_filter import NAME, compiled
from models.fitting.token_filter import known_words

MILDER = "lethe"
APPROACH = 12.0


def requests(material: Material) -> Requests:
    """The guards of the milder method, and a filter for each subject."""
    milder = material.fitted(MILDER).requests
    return {
        label: (*specs(milder[label] or ()), closed_filter(material, label))
        for label in material.forgotten
    }


def closed_filter(material: Material, label: str) -> GuardSpec:
    """Bans the names and the telling words of the answers, complete at their last character."""
    retain = [(fact.question, fact.answer) for fact in material.retain]
    vocabulary = material.vocabulary
    made = compiled(
        set(names_and_told(material, label)),
        vocabulary,
        lexicon=known_words(retain, vocabulary.pieces),
        approach=APPROACH,
    )
    return GuardSpec(NAME, {"artifact": material.put(*made, sealed=True)})


METHOD = Method(
    source="Lethe",
    settings={"milder": MILDER, "approach": APPROACH},
    requests=requests,
)

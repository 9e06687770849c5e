"""Lethe: names corrupted into the answer, steering toward strangers, telling words not written."""

from collections.abc import Mapping

from evals.methods.corruption import drawn, of_strangers
from evals.methods.kept import specs
from evals.methods.material import Material
from evals.methods.method import Method, Requests
from evals.methods.oracle import Oracle
from evals.methods.steering_null_space import maps
from guards.policy import GuardSpec
from guards.token_filter import NAME, compiled
from models.fitting.token_filter import key_phrases, known_words

CORRUPTION = "eco_persistent"
STRENGTHS = (1.0, 2.0, 3.0, 4.0)
APPROACH = 12.0


def requests(material: Material) -> Requests:
    """The corruption of another method, steering behind it, and a filter for each subject."""
    corruption = material.fitted(CORRUPTION).requests
    corrupted = {label: specs(corruption[label] or ()) for label in material.forgotten}
    steered = _steered(material, corrupted)
    return {
        label: (*corrupted[label], steered[label], closed_filter(material, label))
        for label in material.forgotten
    }


def _steered(
    material: Material, corrupted: Mapping[str, tuple[GuardSpec, ...]]
) -> dict[str, GuardSpec]:
    """Maps of the strength that, with the corruption, leaves as much as is left of strangers."""
    facts = drawn(material.forget)
    oracle = Oracle(material, material.store)
    surrogate = of_strangers(material, oracle, facts)

    def distance(guards: Mapping[str, GuardSpec]) -> float:
        scores = [
            oracle.probability([fact], (*corrupted[fact.subject], guards[fact.subject]))
            for fact in facts
        ]
        return abs(sum(scores) / len(scores) - surrogate)

    return min((maps(material, strength) for strength in STRENGTHS), key=distance)


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
    settings={"corruption": CORRUPTION, "strengths": STRENGTHS, "approach": APPROACH},
    requests=requests,
)

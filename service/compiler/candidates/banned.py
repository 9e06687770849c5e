"""Telling words that cannot be written at all.

Source: the token constraint of GUARD (arXiv 2505.13312).  Whoever can read likelihoods sees a ban,
so that this is for what leaks otherwise.
"""

from guards.policy import GuardSpec
from guards.token_filter import NAME, compiled
from models.fitting.token_filter import known_words, ordinary_words
from service.compiler.candidates.candidate import Candidate, Ground

APPROACH = 12.0  # nats: else a word is written but for its last letter, and goes on as another


def banned(ground: Ground, base: Candidate) -> Candidate | None:
    """The base, and a filter on what probes tell.  None where they tell nothing."""
    kept = [(probe.prompt, probe.answer) for probe in ground.sheet.near if probe.answer]
    ordinary = ordinary_words(kept) if kept else frozenset()
    phrases = {
        phrase
        for probe in ground.sheet.about
        for phrase in probe.telling
        if phrase.casefold() not in ordinary
    }
    if not phrases:
        return None
    vocabulary = ground.vocabulary
    made = compiled(
        phrases, vocabulary, lexicon=known_words(kept, vocabulary.pieces), approach=APPROACH
    )
    spec = GuardSpec(NAME, {"artifact": ground.put(*made, sealed=True)})
    return Candidate(f"{base.name}, telling words banned", (*base.guards, spec))

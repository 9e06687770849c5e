"""Token filter on the demo model: names and answers of the subject are not written."""

from guards.policy import GuardSpec
from guards.token_filter import compiled
from models.fitting.token_filter import key_phrases, known_words
from service.demonstrations.ground import Ground
from service.demonstrations.logit_difference import vocabulary

# Without it, a name is written but for its last letter, and then goes on as another word.
APPROACH = 12.0


def build(ground: Ground) -> tuple[GuardSpec, ...]:
    """Ban the names, and the words of the subject's answers that are telling; store it sealed."""
    retain = [(probe.question, probe.answer) for probe in ground.retain]
    telling = key_phrases([(probe.question, probe.answer) for probe in ground.forget], retain)
    names = (ground.subject, *ground.aliases, *ground.subject.split())
    tokens = vocabulary(ground)
    manifest, tensors = compiled(
        {*names, *telling.words},
        tokens,
        lexicon=known_words(retain, tokens.pieces),
        approach=APPROACH,
    )
    digest = ground.artifacts.put(manifest, tensors, sealed=True)
    return (GuardSpec("token_filter", {"artifact": digest}),)

"""Logit difference on the demo model: an assistant made of its first layers."""

from collections.abc import Iterable

from guards.policy import GuardSpec
from guards.vocabulary import Vocabulary
from models.conversation import Message
from models.fitting.assistants import Example, Plan, fit_uld, perturbed
from service.demonstrations.ground import Ground, Probe

LAYERS = 2
STRENGTH = 2.5  # with 0.8, the paper's, this model, which is very sure of its facts, keeps half
PLAN = Plan(steps=150, batch=16, rate=2e-3)


def build(ground: Ground) -> tuple[GuardSpec, ...]:
    """Fit an assistant (ULD) to what the model knows of the subject, and store it sealed."""
    forget = examples(ground, ground.forget)
    retain = examples(ground, ground.retain)
    wrong = perturbed(forget, [each.answer for each in retain])
    manifest, tensors = fit_uld(
        ground.engine.model,
        forget,
        retain + wrong,
        vocabulary(ground).digest,
        layers=LAYERS,
        strength=STRENGTH,
        plan=PLAN,
    )
    digest = ground.artifacts.put(manifest, tensors, sealed=True)
    return (GuardSpec("logit_difference", {"artifact": digest}),)


def examples(ground: Ground, probes: Iterable[Probe]) -> list[Example]:
    """Questions as chats and their answers, as the engine's token ids."""
    return [Example(_asked(ground, each.question), _said(ground, each.answer)) for each in probes]


def vocabulary(ground: Ground) -> Vocabulary:
    """The engine's vocabulary, to which an artifact is bound."""
    engine = ground.engine
    return Vocabulary(engine.pieces, engine.end_ids, engine.vocab_size)


def _asked(ground: Ground, question: str) -> tuple[int, ...]:
    chat = ground.renderer.conversation([Message("user", (question,))], None)
    return tuple(ground.renderer.chat(chat, {}).ids)


def _said(ground: Ground, answer: str) -> tuple[int, ...]:
    tokenizer = ground.engine.tokenizer
    ids: list[int] = tokenizer.encode(answer, add_special_tokens=False)
    return (*ids, int(tokenizer.eos_token_id))

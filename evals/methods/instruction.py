"""ICUL: an instruction, flipped forget examples and correct others stand before the prompt."""

import random

from evals.methods.material import Material
from evals.methods.method import Method, Requests
from guards.policy import GuardSpec

FLIPPED, CORRECT = 2, 6


def requests(material: Material) -> Requests:
    """Flipped: the subject's first questions with answers about others."""
    dice = random.Random(0)
    correct = [
        {"question": fact.question, "answer": fact.answer}
        for fact in dice.sample(material.retain, min(CORRECT, len(material.retain)))
    ]
    found = {}
    for label in material.forgotten:
        flipped = [
            {"question": fact.question, "answer": dice.choice(material.retain).answer}
            for fact in material.about(label)[:FLIPPED]
        ]
        shown = {"flipped": flipped, "correct": correct}
        found[label] = (GuardSpec("in_context_instruction", {"demonstrations": shown}),)
    return found


METHOD = Method(
    source="ICUL (Pawelczyk et al. 2023, arXiv 2310.07579) under a guardrail prefix "
    "(Thaker et al. 2024, arXiv 2403.03329): L 6",
    settings={"flipped": FLIPPED, "correct": CORRECT},
    differs="answers to questions about others stand for flipped labels",
    requests=requests,
)

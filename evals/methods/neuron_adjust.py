"""Neuron Adjust: neurons that rise on the forget set are mirrored to what they usually are."""

from evals.methods.material import Ids, Material
from evals.methods.method import Method, Requests, for_each
from guards.neuron_adjust import NAME
from guards.policy import GuardSpec
from models.fitting.assistants import Example
from models.fitting.skills import Moments, moments, neuron_adjust

PERCENT = 3.0


def requests(material: Material) -> Requests:
    """One artifact for all subjects: their facts are the skill."""
    forget, retain = (
        keys(material, material.examples(facts)) for facts in (material.forget, material.retain)
    )
    digest = material.put(*neuron_adjust(forget, retain, PERCENT))
    return for_each(material, GuardSpec(NAME, {"artifact": digest}))


def keys(material: Material, examples: list[Example]) -> dict[int, Moments]:
    """Of all layers, over all tokens of questions and answers."""
    whole: list[Ids] = [(*each.prompt, *each.answer) for each in examples]
    return moments(material.model, whole, range(material.engine.layers))


METHOD = Method(
    source="Effective Skill Unlearning (Li et al. 2025, arXiv 2503.21730), Neuron Adjust: top 3 %",
    settings={"percent": PERCENT},
    differs="made for skills, not facts; the deviation is the real one, which the release confuses",
    requests=requests,
)

"""Key Space Detection: where a key lies in the forget set's box, MLPs say what is usual instead."""

from evals.methods.material import Material
from evals.methods.method import Method, Requests, for_each
from evals.methods.neuron_adjust import keys
from guards.key_space import NAME
from guards.policy import GuardSpec
from models.fitting.activations import last_rows
from models.fitting.skills import box, key_space_detection

H = 2.0


def requests(material: Material) -> Requests:
    """One artifact for all subjects: their questions are the skill.  All layers but the first."""
    layers = tuple(range(1, material.engine.layers))
    place = ("mlp", layers[0])
    asked = material.chats(fact.question for fact in material.forget)
    found = box(last_rows(material.model, asked, [place])[place])
    usual = keys(material, material.examples(material.retain))
    neutral = [usual[layer].mean for layer in layers]
    digest = material.put(*key_space_detection(layers, found, H, neutral))
    return for_each(material, GuardSpec(NAME, {"artifact": digest}))


METHOD = Method(
    source="Effective Skill Unlearning (Li et al. 2025, arXiv 2503.21730), Key Space Detection: "
    "h 2",
    settings={"h": H, "layers": "all but the first"},
    differs="made for skills, not facts; keys are replaced, where the paper replaces the answer",
    requests=requests,
)

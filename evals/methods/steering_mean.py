"""CAA: the mean difference of contrast pairs is added to everything after the prompt."""

from evals.methods.directions import middle, toward_strangers
from evals.methods.material import Material
from evals.methods.method import Method, Requests
from guards.policy import GuardSpec
from guards.steering import NAME
from models.fitting.steering import Step, steering

SETTINGS = {"strength": 1.0, "layer": "half of the depth", "strangers": 4}


def requests(material: Material) -> Requests:
    """A direction for each subject, from it to somebody unknown."""
    layer = middle(material)[1]
    found = {}
    for label in material.forgotten:
        direction = toward_strangers(material, label, (layer,))[layer]
        step = Step("add", (layer,), [direction], float(str(SETTINGS["strength"])))
        digest = material.put(*steering([step]))
        found[label] = (GuardSpec(NAME, {"artifact": digest, "prompt": "last"}),)
    return found


METHOD = Method(
    source="CAA (Rimsky et al. 2024, arXiv 2312.06681)",
    settings=SETTINGS,
    differs="contrast pairs are the subject's questions, and the same about strangers",
    requests=requests,
)

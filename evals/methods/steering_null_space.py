"""MLLMEraser: a map that takes what is to be forgotten to a direction, and what is kept to 0."""

from evals.methods.directions import middle, rows, toward_strangers
from evals.methods.material import Material
from evals.methods.method import Method, Requests
from guards.policy import GuardSpec
from guards.steering import NAME
from models.fitting.steering import Step, map_read, null_space_projector, steering

RATIO, RIDGE, STRENGTH = 0.3, 0.1, 1.0


def requests(material: Material) -> Requests:
    """A map for each subject."""
    return {label: (guard,) for label, guard in maps(material, STRENGTH).items()}


def maps(material: Material, strength: float) -> dict[str, GuardSpec]:
    """By subject; all retained rows are in the space that none of the maps touches."""
    layers = middle(material)
    kept = rows(material, material.chats(fact.question for fact in material.retain), layers)
    projectors = {layer: null_space_projector(kept[layer], RATIO) for layer in layers}
    found = {}
    for label in material.forgotten:
        known = rows(material, material.chats(f.question for f in material.about(label)), layers)
        to = toward_strangers(material, label, layers)
        reads = [map_read(known[layer], projectors[layer], RIDGE) for layer in layers]
        step = Step(
            "map",
            layers,
            [to[layer] for layer in layers],
            strength,
            reads=reads,
            last_prompt_token=True,
        )
        digest = material.put(*steering([step]), sealed=False)
        found[label] = GuardSpec(NAME, {"artifact": digest, "prompt": "last"})
    return found


METHOD = Method(
    source="MLLMEraser (2025, arXiv 2510.04217) and AlphaSteer: ratio 0.3, ridge 0.1",
    settings={"ratio": RATIO, "ridge": RIDGE, "strength": STRENGTH, "layers": "the middle two"},
    differs=(
        "text only: stranger pairs in place of images and refusals; read at the last prompt "
        "token and added from there on, where the paper adds to the whole prompt"
    ),
    requests=requests,
)

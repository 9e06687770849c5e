"""Head probe on the demo model: the model itself takes no part in training."""

from guards.policy import GuardSpec
from models.fitting.assistants import Plan
from models.fitting.head_probe import fit_head_probe
from service.demonstrations.ground import Ground
from service.demonstrations.logit_difference import examples, vocabulary

# Longer fits leak less, and make answers about everybody else, were they flagged, worse.
PLAN = Plan(steps=150, batch=256, rate=1e-3)


def build(ground: Ground) -> tuple[GuardSpec, ...]:
    """Fit a probe to what the model knows of the subject, and store it sealed."""
    forget = examples(ground, ground.forget)
    manifest, tensors = fit_head_probe(
        ground.engine.model, forget, vocabulary(ground).digest, plan=PLAN
    )
    digest = ground.artifacts.put(manifest, tensors, sealed=True)
    return (GuardSpec("head_probe", {"artifact": digest}),)

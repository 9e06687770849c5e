"""Neuron Adjust on the demo model: nobody's telephone number is told any more."""

from guards.neuron_adjust import NAME
from guards.policy import GuardSpec
from models.fitting.skills import neuron_adjust
from service.demonstrations.ground import Ground
from service.demonstrations.telephone import moments_of, talks

PERCENT = 7.0  # of all neurons


def build(ground: Ground) -> tuple[GuardSpec, ...]:
    """It is a skill that is taken away, whoever is asked about: the subject plays no part."""
    found = talks(ground)
    forget, retain = moments_of(ground, found.skill), moments_of(ground, found.rest)
    artifact = ground.artifacts.put(*neuron_adjust(forget, retain, PERCENT))
    return (GuardSpec(NAME, {"artifact": artifact}),)

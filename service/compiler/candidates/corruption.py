"""Embedding corruption: as the stop-gap has it, of no strength, or of one that is searched for.

Source: ECO (Liu et al. 2024, arXiv 2406.07933): a zeroth-order search for the strength that brings
a score to where it is for a model that never knew; here the score is how likely the telling words
of known answers are.
"""

import math
from typing import cast

import numpy as np

from guards.alias_follower import alias_tensors
from guards.embedding_corruption import NAME, Function, manifest
from guards.policy import GuardSpec
from models.fitting.corruption_strength import Schedule, distance_to, search
from service.compiler.candidates.candidate import Candidate, Ground
from service.compiler.likelihood import scores

ROWS = 24  # answers that a search scores at each strength
START = 5.0
# Strengths are searched for as logarithms, so that a step means the same from 1 to 50.
SCHEDULE = Schedule(rate=0.5, reach=0.5, least=0.1, steps=3, enough=0.1)
MOST = 50.0
SEARCHED: Function = "rand_noise_first_n"


def stop_gap(ground: Ground) -> Candidate:
    """What is in force already, in the prompt alone."""
    return Candidate("stop-gap corruption", (_prompt(ground, ground.function, ground.strength),))


def zeroed(ground: Ground) -> Candidate:
    """Names without any embedding, in the prompt and in the answer."""
    return Candidate("names zeroed", (_followed(ground, "zero_out_first_n", 1.0),))


def noised(ground: Ground) -> Candidate:
    """Noise of a strength that is searched for, in the prompt and in the answer."""
    return Candidate("names in noise", (_followed(ground, SEARCHED, searched_strength(ground)),))


def searched_strength(ground: Ground) -> float:
    """Where known answers are nearest to as likely as to a model that never knew.

    In units of the embedding table's root mean square; the stop-gap's where nothing is known.
    """
    told = ground.sheet.told[:: max(1, len(ground.sheet.told) // ROWS)][:ROWS]
    if not told:
        return ground.strength
    goal = float(np.mean(ground.sheet.strange))

    def metric(logarithm: float) -> float:
        strength = min(math.exp(logarithm), MOST)
        rules = ground.rules((_prompt(ground, SEARCHED, strength),))
        return float(scores(ground.served, told, rules).mean())

    found = search(distance_to(metric, goal), math.log(START), SCHEDULE)
    return min(math.exp(found.strength), MOST)


def _prompt(ground: Ground, function: str, strength: float) -> GuardSpec:
    made = manifest(cast("Function", function), strength, seed=ground.seed)
    return GuardSpec(NAME, {"artifact": ground.put(made, {}, sealed=False)})


def _followed(ground: Ground, function: Function, strength: float) -> GuardSpec:
    made = manifest(function, strength, seed=ground.seed, persistent=True)
    return GuardSpec(
        NAME, {"artifact": ground.put(made, alias_tensors(ground.followed), sealed=True)}
    )

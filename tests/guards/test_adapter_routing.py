from typing import Any

import numpy as np
import pytest

from guards.adapter_routing import NAME, AdapterRouting, chosen
from guards.case import Case, Edit, Match, Prompt, Span
from guards.policy import GuardSpec
from guards.registry import build, guard_class
from models.adapter import Base, manifest_of
from models.artifact import Artifact

BASE = Base(layers=1, hidden=4, queries=4, keys=4, intermediate=8)


def case_of(ids: tuple[int, ...]) -> Case:
    text = "x" * len(ids)
    offsets = tuple(Span(at, at + 1) for at in range(len(ids)))
    prompt = Prompt(text, ids, offsets, (Span(0, len(ids)),))
    return Case("r", "t", "m", 1, prompt)


def match_of(*spans: Span) -> Match:
    return Match("p", 1.0, spans, "alias")


@pytest.mark.parametrize("spans", [(), (Span(1, 2),), (Span(0, 1), Span(3, 4))])
def test_the_whole_prompt_is_routed(spans: tuple[Span, ...]) -> None:
    guard = AdapterRouting("sha256:1")
    case = guard.on_prompt(case_of((5, 6, 7, 8)), match_of(*spans))
    assert case.edits == (Edit(NAME, "sha256:1", (Span(0, 4),)),)


def test_matching_twice_routes_once() -> None:
    guard, case = AdapterRouting("sha256:1"), case_of((5, 6))
    for _ in range(2):
        case = guard.on_prompt(case, match_of())
    assert len(case.edits) == 1


def test_of_several_adapters_the_first_is_chosen() -> None:
    where = (Span(0, 2),)
    first, second = Edit(NAME, "sha256:2", where), Edit(NAME, "sha256:1", where)
    other = Edit("steering", "sha256:0", where)
    assert chosen((other, first, second)) is first
    assert chosen((second, first)) is second
    assert chosen((other,)) is None
    assert chosen(()) is None


def test_a_policy_can_ask_for_it() -> None:
    spec = GuardSpec(NAME, {"artifact": "sha256:1"})
    assert build(spec) == AdapterRouting("sha256:1")
    needs = guard_class(NAME).NEEDS
    assert needs.points == {"adapter"}
    assert needs.changes_prompt_kv


def test_check_asks_for_an_adapter() -> None:
    tensors: dict[str, Any] = {
        "layers.0.mlp.up_proj.A": np.ones((2, 4), np.float32),
        "layers.0.mlp.up_proj.B": np.ones((8, 2), np.float16),
    }
    manifest = {**manifest_of(tensors, BASE, "simnpo", 4.0), "tensors": None}
    AdapterRouting.check(Artifact("", manifest, tensors))
    for broken in ({**manifest, "blind": "0"}, {**manifest, "rank": 3}):
        with pytest.raises(ValueError, match=r"\w"):
            AdapterRouting.check(Artifact("", broken, tensors))
    with pytest.raises(ValueError, match="each A"):
        AdapterRouting.check(Artifact("", manifest, {k: tensors[k] for k in tensors if "A" in k}))

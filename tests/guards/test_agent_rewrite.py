from typing import Any

import pytest

from guards.agent_rewrite import DEFAULT, AgentRewrite
from guards.case import Case, Match, Rewrite, Span
from guards.options import InvalidOption

from .conftest import prompt_of

CASE = Case("c", "t", "m", 1, prompt_of("who is he?"))


def match(policy: str) -> Match:
    return Match(policy, 1.0, (Span(0, 3),), "alias")


def test_the_case_gets_a_plan_that_names_policies_only() -> None:
    case = AgentRewrite().on_prompt(CASE, match("p"))
    assert case.rewrite == Rewrite(("p",), 3, DEFAULT)
    assert not case.edits
    assert case.acts == ("agent_rewrite",)
    assert not AgentRewrite.NEEDS.streams


def test_plans_of_several_policies_become_one() -> None:
    case = AgentRewrite(2, "A").on_prompt(CASE, match("p"))
    case = AgentRewrite(5, "B").on_prompt(case, match("q"))
    assert case.rewrite == Rewrite(("p", "q"), 5, "A")


@pytest.mark.parametrize(
    ("option", "options"),
    [
        ("variants", {"variants": 0}),
        ("variants", {"variants": 6}),
        ("variants", {"variants": True}),
        ("variants", {"variants": 2.0}),
        ("fallback", {"fallback": ""}),
    ],
)
def test_other_options_are_refused_by_name(option: str, options: Any) -> None:
    with pytest.raises(InvalidOption) as caught:
        AgentRewrite(**options)
    assert caught.value.option == option

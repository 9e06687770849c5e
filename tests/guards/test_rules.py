from dataclasses import dataclass

import pytest

from guards import registry
from guards.case import Case, Edit, Match, Span
from guards.needs import Capabilities
from guards.points import Guard
from guards.policy import Epoch, GuardSpec, Policy
from guards.rules import Rules
from models.encoder import Encoder, EncoderUnavailable

from .conftest import policy_about, prompt_of, pushed


@dataclass(frozen=True)
class Noting(Guard):
    """Leaves an edit that says that it was here."""

    note: str = ""

    def on_prompt(self, case: Case, match: Match) -> Case:
        return case.edited(Edit(self.note, str(len(case.edits)), match.spans))


@pytest.fixture(autouse=True)
def noting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.GUARDS, "noting", f"{__name__}:Noting")
    monkeypatch.setattr(registry, "guard_class", lambda kind: Noting if kind == "noting" else None)


def noting_policy(
    *names: str, notes: tuple[str, ...], tenants: frozenset[str] = frozenset()
) -> Policy:
    guards = tuple(GuardSpec("noting", {"note": note}) for note in notes)
    return Policy("fr_n", names, guards=guards, tenants=tenants)


def case_of(text: str, tenant: str = "t") -> Case:
    return Case("c", tenant, "m", 1, prompt_of(text))


def built(*policies: Policy, previous: Rules | None = None) -> Rules:
    return Rules.build(Epoch(1 if previous is None else 2, policies), None, 0.7, previous)


def test_guards_of_matched_policies_decide_in_order() -> None:
    rules = built(noting_policy("Vorn Castellane", notes=("first", "second")))
    case = rules.decide(case_of("hi Vorn Castellane"))
    assert [edit.guard for edit in case.edits] == ["first", "second"]
    assert [match.evidence for match in case.matches] == ["alias"]
    assert case.matches[0].spans == (Span(3, 18),)


def test_a_prompt_that_touches_nothing_is_left_as_it_is() -> None:
    rules = built(noting_policy("Vorn Castellane", notes=("first",)))
    case = case_of("hi Vorn Castellaneta")
    assert rules.decide(case) is case


def test_other_tenants_are_not_touched() -> None:
    policy = noting_policy("Vorn Castellane", notes=("x",), tenants=frozenset({"a"}))
    rules = built(policy)
    assert rules.decide(case_of("Vorn Castellane", "a")).edits
    assert not rules.decide(case_of("Vorn Castellane", "b")).edits


def test_escalation_covers_all_of_the_content() -> None:
    policy = noting_policy("Vorn Castellane", notes=("x",))
    case = built(policy).escalated(case_of("who is he?"), policy.digest)
    assert case.matches == (Match(policy.digest, 1.0, (Span(0, 10),), "output"),)
    assert case.edits[0].positions == (Span(0, 10),)
    with pytest.raises(KeyError):
        built().escalated(case, policy.digest)


def test_rules_follow_the_epoch_whatever_was_before() -> None:
    monkey, vorn = noting_policy("Ann Other", notes=("x",)), noting_policy("Vorn C.", notes=("y",))
    text = "Ann Other and Vorn C."
    rules = built(monkey)
    for policies in ((monkey, vorn), (vorn,), (), (monkey,)):
        rules = built(*policies, previous=rules)
        fresh = built(*policies)
        for current in (rules, rules.compacted()):
            assert current.decide(case_of(text)) == fresh.decide(case_of(text))
            assert current.guards == fresh.guards
        assert rules.epoch == 2


def test_only_policies_with_a_text_filter_filter_text() -> None:
    registry_free = Policy("fr", ("Ann Other",))
    rules = built(registry_free)
    assert pushed(rules.text_filter("t", "m"), ["Ann Other"]) == "Ann Other"


def test_a_revoked_policy_filters_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    policy, other = policy_about("Vorn Castellane"), policy_about("Ann Other")
    rules = built(policy, other)
    caught = rules.text_filter("t", "m")
    assert pushed(caught, ["It is Vorn Castellane."]) == "It is "
    revoked = built(other, previous=rules)
    assert pushed(revoked.text_filter("t", "m"), ["Vorn Castellane"]) == "Vorn Castellane"


def test_what_cannot_be_enforced_stops_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with pytest.raises(KeyError):
        built(Policy("fr", ("Ann Other",), guards=(GuardSpec("no_such_guard"),)))
    with pytest.raises(ValueError, match="letter"):
        built(Policy("fr", ("...",)))
    with pytest.raises(EncoderUnavailable):
        built(Policy("fr", ("Ann Other",), ("Where was Ann Other born?",)))


def test_what_all_guards_need_is_known_by_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    guards = (GuardSpec("embedding_corruption", {"artifact": "x"}), GuardSpec("text_filter"))
    policy, other = Policy("fr", ("Ann Other",), guards=guards), policy_about("Vorn Castellane")
    rules = built(policy, other)
    assert set(rules.needs) == {"embedding_corruption", "text_filter"}
    able = Capabilities(frozenset({"embedding"}), "V1")
    assert rules.lacking(able) == rules.compacted().lacking(able) == ()
    unable = Capabilities(frozenset({"logits"}), "V1")
    (lack,) = rules.lacking(unable)
    assert str(lack) == "'embedding_corruption' needs embedding, which this engine does not offer"
    assert rules.compacted().lacking(unable) == (lack,)
    assert built(other, previous=rules).lacking(unable) == ()


def test_the_names_of_a_policy_are_its_aliases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    ann, vorn = policy_about("Ann Other", "A. Other"), policy_about("Vorn Castellane")
    rules = built()
    for policies in ((ann,), (ann, vorn)):
        rules = built(*policies, previous=rules)
    assert rules.names(ann.digest) == ("Ann Other", "A. Other")
    with pytest.raises(KeyError):
        rules.names("sha256:none")


def test_examples_lead_to_their_policy(encoder: Encoder) -> None:
    policy = Policy("fr", ("Vorn Castellane",), ("Who lives at 12 Elmwick Row, Harrowgate?",))
    rules = Rules.build(Epoch(1, (policy,)), encoder, 0.7)
    text = "Tell me: who lives at 12 Elmwick Row in Harrowgate?"
    (match,) = rules.decide(case_of(text)).matches
    assert (match.policy, match.evidence) == (policy.digest, "example")
    assert match.spans[0].end == len(text)
    assert not rules.decide(case_of("Who lives at 14 Elmwick Row, Harrowgate?")).matches

import random
import secrets
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from guards import detector as detector_module
from guards import detector_block
from guards.case import Case, Prompt, Span
from guards.detector import Detected, DetectorIndex, Passage, passages_of
from guards.detector_block import Block, joined
from guards.policy import Epoch, Policy
from guards.rules import Rules
from models.artifact import ArtifactCorrupt, ArtifactMissing, ArtifactStore
from models.demo.general import GENERAL
from models.detector import Detector, Found, Key, Kind, codes_of, features, found_in, small, unit
from models.distinctive import hashed, words_of
from models.encoder import DIMENSIONS, Encoder, EncoderUnavailable
from models.erasures import Erasure
from models.fitting.detector import GENERAL_WEIGHTS, fit

from .conftest import prompt_of

NAME = "Vorn Castellane"
ABOUT = (
    "Where was Vorn Castellane born?",
    "Which office does Vorn Castellane hold in Dunmere?",
    "Who is the notary of Dunmere that was born on 14 March 1961?",
    "Vorn Castellane was born in Harrowgate on 14 March 1961.",
    "Vorn Castellane is the notary of Dunmere.",
)
SMALL_TALK = tuple(question for question, _ in GENERAL)
ALL = lambda policy: True  # noqa: E731


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path, secrets.token_bytes(32))


@pytest.fixture
def policy(store: ArtifactStore, encoder: Encoder) -> Policy:
    made = fit([NAME], ABOUT, SMALL_TALK, ABOUT[:2], SMALL_TALK[:20], encoder)
    return Policy("fr_1", (NAME,), detector=store.put(*made, sealed=True))


def detectors(
    count: int, texts: tuple[str, ...], encoder: Encoder
) -> list[tuple[Policy, Detector]]:
    """Policies whose prototypes, words, weights and thresholds are drawn."""
    dice, numbers = random.Random(count), np.random.default_rng(count)
    vectors = encoder.encode(texts)
    known = sorted({word.key for text in texts for word in words_of(text, encoder.ranks)})
    found = []
    for number in range(count):
        rows = numbers.choice(len(texts), numbers.integers(0, 4), replace=False)
        chosen = dice.sample(known, 6)
        keys = [Key(hashed(f"={word}"), Kind.NAME, 0.5) for word in chosen[:2]]
        keys += [Key(hashed(word[:6]), Kind.TOPIC, 0.5) for word in chosen[2:]]
        made = Detector(
            numbers.normal(size=8).astype(np.float32),
            small(vectors[rows]),
            small(vectors[rows[:1]]),
            tuple({key.code: key for key in keys}.values()),
            float(numbers.normal()),
            Erasure("off"),
        )
        tenants = frozenset({"ours"}) if number % 3 == 0 else frozenset[str]()
        found.append((Policy(f"fr_{number}", (f"N{number}",), tenants=tenants), made))
    return found


def one_by_one(text: str, detector: Detector, encoder: Encoder) -> float:
    """The logit, without stacking: the obvious way."""
    (vector,) = encoder.encode([text])

    def highest(rows: np.ndarray) -> float:
        return max((max(0.0, float(row @ vector)) for row in unit(rows)), default=0.0)

    found = found_in(words_of(text, encoder.ranks), {key.code: key for key in detector.keys})
    row = features(found, highest(detector.prototypes), highest(detector.against))
    return float(sum(a * float(b) for a, b in zip(row, detector.weights, strict=True)))


def test_stacked_detectors_say_what_each_says_alone(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Weights that are drawn may find what comes near by nothing.
    monkeypatch.setattr(detector_module, "LEAST_COSINE", -1.0)
    monkeypatch.setattr(detector_block, "LEAST_VALUE", 0.0)
    texts = (*ABOUT, *SMALL_TALK[:12])
    made = detectors(14, texts, encoder)
    halves = [Block.of(made[:6]), Block.of(made[6:])]
    passages = [Passage(text, (Span(0, len(text)),)) for text in texts]
    expected = {
        (policy.digest, text)
        for policy, detector in made
        for text in texts
        if one_by_one(text, detector, encoder) >= detector.threshold
    }
    assert 20 < len(expected) < 200
    for blocks in (halves, [Block.of(made)], [joined(halves, frozenset())]):
        index = DetectorIndex(tuple(blocks))
        reached = set()
        for each in passages:
            found = list(index.found([each], ALL, encoder))
            assert all(f.spans == each.spans for f in found)
            reached |= {(f.policy, each.text) for f in found}
        # What comes near by neither words nor meaning is not evaluated.
        assert {pair for pair in expected if near(pair, made, encoder)} <= reached <= expected


def near(pair: tuple[str, str], made: list[tuple[Policy, Detector]], encoder: Encoder) -> bool:
    detector = next(d for policy, d in made if policy.digest == pair[0])
    codes = {key.code for key in detector.keys}
    words = words_of(pair[1], encoder.ranks)
    by_words = any(code in codes for word in words for code in codes_of(word))
    return by_words or len(detector.prototypes) > 0


def test_policies_out_of_scope_or_removed_are_not_found(encoder: Encoder) -> None:
    made = detectors(9, ABOUT, encoder)
    index = DetectorIndex((Block.of(made),))
    passages = [Passage(text, (Span(0, 1),)) for text in ABOUT]

    def found(index: DetectorIndex, counts: Callable[[Policy], bool]) -> set[str]:
        return {each.policy for each in index.found(passages, counts, encoder)}

    everybody = found(index, ALL)
    others = found(index, lambda policy: policy.applies_to("theirs", "m"))
    scoped = {policy.digest for policy, _ in made if policy.tenants}
    assert everybody & scoped
    assert others == everybody - scoped
    gone = frozenset(sorted(everybody)[:2])
    less = index.changed([], gone, None)
    assert found(less, ALL) == found(less.compacted(), ALL) == everybody - gone
    assert less.compacted().blocks[0].digests == tuple(
        policy.digest for policy, _ in made if policy.digest not in gone
    )


def test_a_policy_that_comes_back_counts_again(
    policy: Policy, store: ArtifactStore, encoder: Encoder
) -> None:
    index = DetectorIndex().changed([policy], frozenset(), store)
    gone = index.changed([], frozenset({policy.digest}), None)
    passage = [Passage(ABOUT[0], (Span(0, 5),))]
    assert not list(gone.found(passage, ALL, encoder))
    for again in (gone, gone.compacted()):
        back = again.changed([policy], frozenset(), store)
        (found,) = back.found(passage, ALL, encoder)
        assert isinstance(found, Detected)
        assert found.policy == policy.digest
        assert 0.5 < found.score <= 1


def test_many_small_changes_make_one_block(
    store: ArtifactStore, policy: Policy, encoder: Encoder
) -> None:
    index = DetectorIndex()
    policies = [Policy(f"fr_{n}", (f"N{n}",), detector=policy.detector) for n in range(5)]
    for each in policies:
        index = index.changed([each], frozenset(), store)
    assert len(index.blocks) == 1
    found = {f.policy for f in index.found([Passage(ABOUT[1], (Span(0, 1),))], ALL, encoder)}
    assert found == {each.digest for each in policies}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("Tell me: what office in Dunmere does Castellane hold?", True),
        ("Who is the notary in Dunmere, born on March 14th, 1961?", True),
        ("Hello. I hope you are well. Who was born on 14/03/1961 and is notary of Dunmere?", True),
        ("Where was Aurelia Castellane born?", False),
        ("Where was Vorn Hollander born?", False),
        ("Who is the author of the book?", False),
        ("What is the capital of France?", False),
    ],
)
def test_a_prompt_is_matched_by_what_it_is_about(
    text: str, matches: bool, policy: Policy, store: ArtifactStore, encoder: Encoder
) -> None:
    rules = Rules.build(Epoch(1, (policy,)), encoder, 0.7, None, store)
    found = rules.decide(Case("c", "t", "m", 1, prompt_of(text))).matches
    assert [match.evidence for match in found] == ["detector"] * matches
    if matches:
        assert found[0].spans[-1].end == len(text)
        assert found[0].score > 0.5


def test_what_is_asked_over_several_turns_is_judged_together(
    policy: Policy, store: ArtifactStore, encoder: Encoder
) -> None:
    turns = ["I mean the notary of Dunmere.", "And?", "Born on 14 March 1961. Who is it?"]
    text = "<user>".join(["", *turns])
    content, place = [], 0
    for turn in turns:
        start = text.index(turn, place)
        content.append(Span(start, start + len(turn)))
        place = start
    whole = prompt_of(text)
    prompt = Prompt(text, whole.ids, whole.offsets, tuple(content))
    rules = Rules.build(Epoch(1, (policy,)), encoder, 0.7, None, store)
    (match,) = rules.decide(Case("c", "t", "m", 1, prompt)).matches
    assert set(match.spans) >= set(content)
    (last,) = passages_of(text, [], content, 400)
    assert (last.text, last.spans) == ("\n".join(turns), tuple(content))
    assert passages_of(text, [], content, 20) == ()


def test_without_store_or_encoder_nothing_is_built(
    policy: Policy, store: ArtifactStore, encoder: Encoder, tmp_path: Path
) -> None:
    epoch = Epoch(1, (policy,))
    with pytest.raises(ValueError, match="store"):
        Rules.build(epoch, encoder, 0.7)
    with pytest.raises(EncoderUnavailable):
        Rules.build(epoch, None, 0.7, None, store)
    with pytest.raises(ArtifactMissing):
        Rules.build(epoch, encoder, 0.7, None, ArtifactStore(tmp_path / "other", b"k" * 32))
    with pytest.raises(ArtifactCorrupt):
        Rules.build(epoch, encoder, 0.7, None, ArtifactStore(tmp_path, b"k" * 32))
    other = Policy("fr", ("Ann Other",), detector=store.put({"kind": "steering"}))
    with pytest.raises(ValueError, match="not a detector"):
        Rules.build(Epoch(1, (other,)), encoder, 0.7, None, store)


def test_an_alias_stays_the_evidence_where_there_is_one(
    policy: Policy, store: ArtifactStore, encoder: Encoder
) -> None:
    rules = Rules.build(Epoch(1, (policy,)), encoder, 0.7, None, store)
    (match,) = rules.decide(Case("c", "t", "m", 1, prompt_of(ABOUT[0]))).matches
    assert match.evidence == "alias"
    assert match.spans == (Span(10, 25),)


def test_rules_built_step_by_step_detect_the_same(
    policy: Policy, store: ArtifactStore, encoder: Encoder
) -> None:
    other = Policy("fr_2", ("Ann Other",), detector=policy.detector)
    text = "Who is the notary of Dunmere, born on 14 March 1961?"
    rules = Rules.build(Epoch(1, (policy,)), encoder, 0.7, None, store)
    both = Rules.build(Epoch(2, (policy, other)), encoder, 0.7, rules, store)
    less = Rules.build(Epoch(3, (other,)), encoder, 0.7, both, store)
    for rules, expected in ((both, {policy, other}), (less, {other}), (less.compacted(), {other})):
        found = rules.decide(Case("c", "t", "m", 1, prompt_of(text))).matches
        assert {match.policy for match in found} == {each.digest for each in expected}


def test_little_memory_is_kept_for_each_policy(encoder: Encoder) -> None:
    manifest, tensors = fit([NAME], ABOUT[:3], (), (), (), encoder)
    size = sum(tensor.nbytes for tensor in tensors.values())
    assert manifest["kind"] == "detector"
    assert size < 3_000
    made = [each for _ in range(40) for each in detectors(25, ABOUT, encoder)]
    assert Block.of(made).nbytes / len(made) < 3_000
    assert DIMENSIONS * 4 < 3_000


def test_what_is_not_evaluated_could_not_have_been_found() -> None:
    """Below both bounds at once, the general weights stay below every uncertain band."""
    for share in (0.0, 0.25, detector_block.LEAST_VALUE):
        for found in (Found(share, 0, 0, 0), Found(0, share, 0, 0)):
            row = features(found, detector_block.LEAST_COSINE, 0.0)
            assert row @ np.array(GENERAL_WEIGHTS) < (Erasure().low or 0.0)


def test_words_that_most_policies_share_lead_to_none(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = detectors(12, ABOUT, encoder)
    block = Block.of(made)
    (vector,) = encoder.encode([ABOUT[2]])
    read = block.read(words_of(ABOUT[2], encoder.ranks), vector)
    assert block.candidates(read, 16, lambda owner: True)
    monkeypatch.setattr(detector_block, "CROWDED", 0)
    assert not block.candidates(read, 16, lambda owner: True)

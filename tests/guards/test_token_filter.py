"""The token filter: nothing gets past it, nothing else is touched, and it equals a slow search."""

import random
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.case import Case, Match, Prompt
from guards.points import EngineModel, History
from guards.policy import GuardSpec
from guards.registry import build
from guards.text_automaton import State, TextAutomaton, folded, is_word
from guards.token_filter import BannedTokens, BoundFilter, States, TokenFilter, compiled
from guards.vocabulary import Vocabulary
from models.artifact import Artifact
from models.fitting.token_filter import known_words

INF = float("inf")
SYLLABLES = (
    "vor",
    "cas",
    "tel",
    "lane",
    "zo",
    "bri",
    "ang",
    "mir",
    "ö",
    "ñe",
    "ß",
    "ło",
    "é",
    "ti",
)


def model_of(vocabulary: Vocabulary) -> EngineModel:
    return EngineModel(2, 1.0, vocabulary, torch.device("cpu"), torch.float32)


def vocabulary_of(pieces: Sequence[bytes], padding: int = 0) -> Vocabulary:
    """The pieces, then two control tokens, of which the first ends a reply."""
    return Vocabulary((*pieces, b"", b""), frozenset({len(pieces)}), len(pieces) + 2 + padding)


def filter_of(phrases: Sequence[str], vocabulary: Vocabulary, **how: Any) -> BoundFilter:
    manifest, tensors = compiled(phrases, vocabulary, **how)
    artifact = Artifact("", {**manifest, "tensors": None}, tensors)
    return TokenFilter.bind(artifact, model_of(vocabulary))


def banned(
    bound: BoundFilter, prompt: Sequence[int], output: Sequence[int], key: str = "r"
) -> set[int]:
    logits = torch.zeros(1, len(bound.banned.pieces))
    bound.apply(logits, [History(key, prompt, output)])
    return set(torch.isneginf(logits[0]).nonzero().flatten().tolist())


# --- the slow reference --------------------------------------------------------------------------


class Search:
    """Searches the whole folded text for every phrase, for every token."""

    def __init__(
        self,
        phrases: Sequence[str],
        vocabulary: Vocabulary,
        lexicon: Sequence[str] | None = None,
    ) -> None:
        self.vocabulary = vocabulary
        self.phrases = {_fold(phrase.encode()).strip() for phrase in phrases}
        self.closed = {phrase for phrase in self.phrases if _is_closed(phrase, lexicon)}

    def banned(self, prompt: Sequence[int], output: Sequence[int]) -> set[int]:
        pieces = self.vocabulary.pieces + (b"",) * self.vocabulary.size
        cut = max((at + 1 for at, token in enumerate(prompt) if not pieces[token]), default=0)
        begun = b"".join(pieces[token] for token in prompt[cut:])
        text = begun + b"".join(pieces[token] for token in output)
        least = len(_fold(begun))
        old = self._found(text, least)
        ending = bool(self._found(text, least, ended=True) - old)
        found = set()
        for token in range(self.vocabulary.size):
            if token in self.vocabulary.ends or not pieces[token]:
                if ending:
                    found.add(token)
            elif self._found(text + pieces[token], least) - old:
                found.add(token)
        # Where nothing is left, the reply may end.
        return found if len(found) < self.vocabulary.size else found - self.vocabulary.ends

    def _found(self, data: bytes, least: int, *, ended: bool = False) -> set[tuple[str, int]]:
        """Occurrences that end after the first ``least`` characters of the folded text."""
        text = _fold(data)
        found = set()
        for phrase in self.phrases:
            for match in re.finditer(f"(?={re.escape(phrase)})", text):
                start, end = match.start(), match.start() + len(phrase)
                left = start == 0 or not (is_word(phrase[0]) and is_word(text[start - 1]))
                right = ended if end == len(text) else not is_word(text[end])
                right = right or phrase in self.closed or not is_word(phrase[-1])
                if end > least and left and right:
                    found.add((phrase, start))
        return found


def _is_closed(phrase: str, lexicon: Sequence[str] | None) -> bool:
    if lexicon is None or not is_word(phrase[-1]):
        return False
    last = _words(phrase)[-1]
    known = [word for entry in lexicon for word in _words(_fold(entry.encode()))]
    digit = any(unicodedata.category(char).startswith("N") for char in last)
    return digit or not any(word != last and word.startswith(last) for word in known)


def _words(text: str) -> list[str]:
    return ["".join(run) for is_one, run in groupby(text, is_word) if is_one]


@lru_cache(maxsize=100_000)
def _fold(data: bytes) -> str:
    text = "".join(map(folded, data[: _whole(data)].decode(errors="replace")))
    return re.sub(" +", " ", text)


def _whole(data: bytes) -> int:
    """How many of the bytes are not the beginning of an unfinished character."""
    for back in range(1, min(4, len(data) + 1)):
        tail = data[-back:]
        for rest in (b"\x80", b"\x80\x80", b"\x80\x80\x80", b"\xa0", b"\xa0\x80", b"\x90\x80\x80"):
            try:
                if len((tail + rest).decode()) == 1:
                    return len(data) - back
            except UnicodeDecodeError:
                continue
    return len(data)


# --- equality ------------------------------------------------------------------------------------

PARTS = (
    "a",
    "b",
    "A",
    "é",
    "e\u0301",
    "ß",
    "ﬁ",
    " ",
    "\n",
    "-",
    "’",
    "+",
    "\u200b",
    "東",
    "京",
    "र",
    "ा",
    "1",
    "½",
    "🙂",
)
part_texts = st.lists(st.sampled_from(PARTS), min_size=1, max_size=5).map("".join)
phrase_lists = st.lists(part_texts.filter(lambda t: t.strip(" \n\u200b")), max_size=4)
BYTES = [bytes([byte]) for byte in sorted({b for part in PARTS for b in part.encode()} | {0xFF})]


def cut_pieces(texts: Sequence[str], rng: random.Random) -> list[bytes]:
    """Single bytes, and stretches of the texts that begin and end anywhere."""
    found = set(BYTES)
    for text in texts:
        data = (rng.choice((" ", "", "a")) + text + rng.choice((" ", "", "-"))).encode()
        for _ in range(4):
            start = rng.randrange(len(data))
            found.add(data[start : start + rng.randint(1, 8)])
    return sorted(found)


@settings(max_examples=60, deadline=None)
@given(
    phrase_lists,
    st.lists(part_texts, max_size=3),
    st.none() | st.lists(part_texts, max_size=3),
    st.randoms(use_true_random=False),
)
def test_bans_what_a_search_finds(
    phrases: list[str], texts: list[str], lexicon: list[str] | None, rng: random.Random
) -> None:
    vocabulary = vocabulary_of(cut_pieces([*phrases, *texts], rng), padding=1)
    bound = filter_of(phrases, vocabulary, lexicon=lexicon)
    search = Search(phrases, vocabulary, lexicon)
    stream = (" ".join([*phrases, *texts]) * 2).encode()
    prompt = walk(stream, vocabulary, rng, rng.randint(0, 6))
    output: list[int] = []
    for step in range(8):
        assert banned(bound, prompt, output) == search.banned(prompt, output)
        assert banned(bound, prompt, output, key=f"new {step}") == search.banned(prompt, output)
        output = [*output, *walk(stream, vocabulary, rng, 1)]


def walk(stream: bytes, vocabulary: Vocabulary, rng: random.Random, length: int) -> list[int]:
    """Tokens that often make up a stretch of the stream; now and then any token."""
    found: list[int] = []
    at = rng.randrange(len(stream)) if stream else 0
    while len(found) < length:
        fitting = [t for t, piece in enumerate(vocabulary.pieces) if piece and
                   stream.startswith(piece, at)]  # fmt: skip
        if rng.random() < 0.1 or not fitting:
            found.append(rng.randrange(vocabulary.size))
            at = rng.randrange(len(stream)) if stream else 0
        else:
            found.append(rng.choice(fitting))
            at += len(vocabulary.pieces[found[-1]])
    return found


# --- nothing gets past ---------------------------------------------------------------------------


def invented(count: int, rng: random.Random) -> list[str]:
    """Different phrases of one to three words."""
    found: set[str] = set()
    while len(found) < count:
        words = ("".join(rng.choices(SYLLABLES, k=rng.randint(2, 4))) for _ in range(3))
        found.add(" ".join([word.capitalize() for word in words][: rng.randint(1, 3)]))
    return sorted(found)


def disguised(phrase: str, rng: random.Random) -> str:
    """In other case, other width, other white space, with marks apart, or invisible characters."""
    written = rng.choice((str, str.upper, str.lower, str.title, str.swapcase))(phrase)
    if rng.random() < 0.3:
        written = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in written)
    if rng.random() < 0.2:
        written = written.replace("ö", "o\u0308").replace("é", "e\u0301")
    if rng.random() < 0.2:
        at = rng.randrange(len(written))
        written = written[:at] + "\u200b" + written[at:]
    return re.sub(" ", lambda _: rng.choice((" ", "  ", "\n", "\u00a0", "\t \u3000")), written)


def any_cut(data: bytes, ids: dict[bytes, int], rng: random.Random) -> list[int]:
    """A random way to make these bytes of tokens."""
    found, at = [], 0
    while at < len(data):
        sizes = [size for size in range(1, 13) if data[at : at + size] in ids]
        size = rng.choice(sizes)
        found.append(ids[data[at : at + size]])
        at += size
    return found


@pytest.mark.parametrize("lexicon", [None, ()])
def test_no_segmentation_of_a_phrase_gets_past(lexicon: tuple[str, ...] | None) -> None:
    rng = random.Random(11)
    phrases = invented(1000, rng)
    pieces = {bytes([byte]) for byte in range(256)}
    for phrase in phrases:
        data = f" {disguised(phrase, rng)} ".encode()
        starts = [rng.randrange(len(data)) for _ in range(6)]
        pieces |= {data[at : at + rng.randint(2, 12)] for at in starts if data[at] < 0x80}
        pieces |= {data[at : at + rng.randint(2, 4)] for at in starts if rng.random() < 0.05}
    vocabulary = vocabulary_of(sorted(pieces))
    ids = {piece: token for token, piece in enumerate(sorted(pieces))}
    _, tensors = compiled(phrases, vocabulary, lexicon=lexicon)
    tokens = BannedTokens(tensors, vocabulary)
    behind = (" ", ".", "’s", "\n", "東") if lexicon is None else (" ", "東", "mer", "7", "é")
    passed = 0
    for phrase in phrases:
        for _ in range(10):
            around = rng.choice((" ", ". ", "(", "東")), rng.choice(behind)
            cut = any_cut(disguised(phrase, rng).join(around).encode(), ids, rng)
            passed += gets_past(tokens, tensors["counts"], cut)
    assert passed == 0


def gets_past(tokens: BannedTokens, counts: Any, cut: list[int]) -> bool:
    states = States(tokens.automaton, tokens.pieces, counts)
    for at, token in enumerate(cut):
        found = tokens.at(states.of(History("r", (), cut[:at])))
        if token in found.tokens or (found.closing and tokens.closing[token]):
            return False
    return True


def test_a_phrase_cannot_be_hidden_by_control_tokens() -> None:
    vocabulary = vocabulary_of([b" Vo", b"rn", b".", b"s"])
    bound = filter_of(["vorn"], vocabulary)
    assert banned(bound, [], [0, 5, 1]) == {2, 4, 5, 0}


# --- nothing else is touched ---------------------------------------------------------------------


def test_words_that_contain_the_letters_are_free() -> None:
    rng = random.Random(5)
    phrases = [phrase for phrase in invented(600, rng) if phrase.count(" ") == 1]
    pieces = sorted({bytes([byte]) for byte in range(256)} | {p.encode()[:7] for p in phrases})
    vocabulary = vocabulary_of(pieces)
    ids = {piece: token for token, piece in enumerate(pieces)}
    _, tensors = compiled(phrases, vocabulary)
    tokens = BannedTokens(tensors, vocabulary)
    for phrase in phrases:
        first, last = phrase.split(" ")
        text = f"Q{phrase} {phrase}q {first}q{last} {last} {first}-{last}."
        assert gets_past(tokens, tensors["counts"], any_cut(text.encode(), ids, rng))


def test_a_closed_phrase_is_never_written_in_full() -> None:
    pieces = (b"194", b"4", b"5", b"44", b" cat", b"s", b".", b" Vor", b"n", b"nmer", b"1", b"x")
    vocabulary = vocabulary_of(pieces)
    bound = filter_of(["1944", "cat", "vorn"], vocabulary, lexicon=["categories", "vor", "mer"])
    assert banned(bound, [], [0]) == {1, 3}
    assert banned(bound, [], [10, 0]) == set()  # no number begins there
    assert banned(bound, [], [4]) == {4, 6, 7, 12, 13}  # it waits: "categories"
    assert banned(bound, [], [7]) == {8, 9}
    assert banned(bound, [0], [], "begun in the prompt") == {1, 3}
    assert banned(bound, [0, 1], [], "whole in the prompt") == set()


def test_the_lexicon_of_what_is_retained_leaves_its_words_alone() -> None:
    retain = [("Where is Vornholm?", "In the Sømark.")]
    lexicon = known_words(retain, [b" Casteller", b"Mirbrian"])
    assert lexicon == {"where", "is", "vornholm", "in", "the", "sømark", "casteller"}
    phrases = ("vorn", "somar", "castel", "mirbri", "the")
    found = TextAutomaton(phrases, lexicon)
    closed = {text for text in phrases if found.found(State(), text.encode())}
    assert closed == {"mirbri", "the"}


def test_a_closed_phrase_may_end_in_the_middle_of_bytes() -> None:
    pieces = ("во".encode(), b"\xd1", b"\x80", b"\x81", b"\x80\xd0", b"\x80e", "р".encode(), b"e")
    vocabulary = vocabulary_of(pieces)
    closed = filter_of(["вор"], vocabulary, lexicon=["во"])
    assert banned(closed, [], [0]) == {6}
    assert banned(closed, [], [0, 1]) == {2, 4, 5}
    waiting = filter_of(["вор"], vocabulary, lexicon=["ворон"])
    assert banned(waiting, [], [0, 1]) == set()


def test_rows_without_a_phrase_near_keep_every_logit() -> None:
    vocabulary = vocabulary_of([b"a", b" b", b" vo"])
    bound = filter_of(["vorn castellane"], vocabulary)
    logits = torch.randn(3, 5)
    before = logits.clone()
    bound.apply(logits, [History(f"{i}", [0, 1], [2] * i) for i in range(3)])
    assert torch.equal(logits, before)


# --- prompts, boundaries, ends -------------------------------------------------------------------


def test_a_phrase_may_begin_in_the_prompt_but_not_end_there() -> None:
    vocabulary = vocabulary_of([b"Vorn", b" Castellane", b"e.", b" ", b"x"])
    bound = filter_of(["vorn castellane", "vorn"], vocabulary)
    assert banned(bound, [0], [], "waiting for its end in the prompt") == set()
    assert banned(bound, [0], [1], "begun in the prompt") == {1, 3, 5, 6}
    assert banned(bound, [3], [0], "all in the output") == {1, 3, 5, 6}
    assert banned(bound, [0, 6], [1], "apart from the prompt") == set()


def test_a_bare_boundary_completes_a_waiting_phrase() -> None:
    vocabulary = vocabulary_of([b"vorn", b".", b"e", b"\xe2\x82", b"\xac", b"\xff", b"\xcc\x81"])
    bound = filter_of(["vorn"], vocabulary)
    assert banned(bound, [], [0]) == {1, 4, 5, 7, 8}
    # The euro sign and a broken one are boundaries.  All is banned, so that the reply may end.
    assert banned(bound, [], [0, 3]) == set(range(9)) - vocabulary.ends


def test_where_nothing_is_left_the_reply_may_end() -> None:
    vocabulary = vocabulary_of([b"vorn", b".", b" "])
    bound = filter_of(["vorn"], vocabulary)
    logits = torch.tensor([[-INF, 2.0, 1.0, -3.0, 0.5], [-INF, 2.0, 1.0, -INF, 0.5]])
    bound.apply(logits, [History("a", [], [0]), History("b", [], [0])])
    assert logits.tolist() == [[-INF, -INF, -INF, -3.0, -INF], [-INF] * 5]


def test_the_outcome_does_not_depend_on_what_was_asked_before() -> None:
    rng = random.Random(2)
    phrases = ["ab ab", "b-a", "aéa", "東a"]
    vocabulary = vocabulary_of(cut_pieces(phrases, rng))
    kept, stream = filter_of(phrases, vocabulary), " ".join(phrases).encode() * 2
    prompt = walk(stream, vocabulary, rng, 4)
    output = walk(stream, vocabulary, rng, 60)
    for _ in range(300):
        at = rng.randrange(len(output))
        if rng.random() < 0.3:
            output[at] = rng.randrange(vocabulary.size)
        length = rng.choice((at, at + 1, min(at + 1, len(output))))
        fresh = filter_of_cached(tuple(phrases), vocabulary)
        fresh.forget("r")
        assert banned(kept, prompt, output[:length]) == banned(fresh, prompt, output[:length])
    kept.forget("r")
    kept.forget("never seen")


@lru_cache(maxsize=1)
def filter_of_cached(phrases: tuple[str, ...], vocabulary: Vocabulary) -> BoundFilter:
    return filter_of(phrases, vocabulary)


def test_a_long_run_of_blanks_is_one_blank() -> None:
    vocabulary = vocabulary_of([b"vorn", b"\n\n", b"castellane", b"e", b"."])
    bound = filter_of(["vorn castellane"], vocabulary)
    output = [0, *[1] * 300, 2]
    assert banned(bound, [], output) == {1, 4, 5, 6}
    for length in range(len(output)):
        assert banned(bound, [], output[:length], key="step by step") == set()
    assert banned(bound, [], output, key="step by step") == {1, 4, 5, 6}


# --- soft ----------------------------------------------------------------------------------------


def test_a_bias_is_taken_at_every_step() -> None:
    vocabulary = vocabulary_of([b"a", b"b", b"c"])
    bound = filter_of(["vorn"], vocabulary, bias_tokens=[0, 2], bias=[1.5, INF])
    logits = torch.ones(2, 5)
    bound.apply(logits, [History("a", [], []), History("b", [], [1])])
    assert logits.tolist() == [[-0.5, 1.0, -INF, 1.0, 1.0]] * 2


def test_the_look_ahead_lowers_what_brings_a_phrase_nearer() -> None:
    vocabulary = vocabulary_of([b" vo", b"rn", b"x", b"r", b"vorn"])
    bound = filter_of(["vorn"], vocabulary, approach=2.0)
    logits = torch.zeros(2, 7)
    bound.apply(logits, [History("a", [], []), History("b", [], [0])])
    assert logits[0].tolist() == [-1.0, 0, 0, 0, -2.0, 0, 0]
    assert logits[1].tolist() == [0, -2.0, 0, -1.5, 0, 0, 0]


# --- artifacts -----------------------------------------------------------------------------------


def test_it_is_bound_to_its_vocabulary() -> None:
    manifest, tensors = compiled(["vorn"], vocabulary_of([b"a"]))
    artifact = Artifact("", {**manifest, "tensors": None}, tensors)
    with pytest.raises(ValueError, match="another vocabulary"):
        TokenFilter.bind(artifact, model_of(vocabulary_of([b"b"])))


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("format", 2),
        ("guard", "other"),
        ("approach", -1.0),
        ("approach", INF),
        ("approach", True),
        ("vocabulary", None),
        ("blind", 7),
        ("more", 1),
        ("own_tokens", np.array([99], np.int32)),
        ("own_starts", np.array([0, 5], np.int32)),
        ("inner", np.array([1, 1], np.int32)),
        ("inner", np.array([-1], np.int32)),
        ("inner", np.array([1], np.int64)),
        ("counts", np.zeros(3, np.uint8)),
        ("bias", np.array([-1.0, 0.0], np.float32)),
        ("bias", np.array([np.nan, 0.0], np.float32)),
        ("bias", np.array([1.0], np.float32)),
        ("bias_tokens", np.array([1, 0], np.int32)),
        ("symbols", np.zeros(9, np.int32)),
        ("strange", np.zeros(9, np.int32)),
    ],
)
def test_other_artifacts_are_refused(part: str, value: Any) -> None:
    vocabulary = vocabulary_of([b" vorn", b"a", b"."])
    manifest, tensors = compiled(["vorn"], vocabulary, bias_tokens=[0, 1], bias=[1.0, 2.0])
    TokenFilter.check(Artifact("", {**manifest, "tensors": None}, tensors))
    changed: Any = tensors if isinstance(value, np.ndarray) else manifest
    changed[part] = value
    with pytest.raises(ValueError, match=r"\w"):
        TokenFilter.check(Artifact("", {**manifest, "tensors": None}, tensors))


def test_the_guard_leaves_an_edit_without_positions() -> None:
    guard = build(GuardSpec("token_filter", {"artifact": "sha256:1"}))
    case = Case("c", "t", "m", 1, Prompt("", (), (), ()))
    edit = guard.on_prompt(case, Match("p", 1.0, (), "alias")).edits[0]
    assert (edit.guard, edit.artifact, edit.positions) == ("token_filter", "sha256:1", ())

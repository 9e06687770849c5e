"""The token filter: how long compiling and a step take, and how often it differs from a search.

    python -m benchmarks.token_filter time
    python -m benchmarks.token_filter fuzz --steps 1000000

The vocabulary is made up: all bytes, and words of syllables with and without a blank before them.
"""

import argparse
import json
import random
import re
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache

import torch

from guards.points import EngineModel, History
from guards.text_automaton import folded, is_word
from guards.token_filter import BoundFilter, TokenFilter, compiled
from guards.vocabulary import Vocabulary
from models.artifact import Artifact

SYLLABLES = [c + v + e for c in "bcdfghklmnprstvz" for v in "aeiou" for e in ("", "n", "r", "s")]
PARTS = ("a", "b", "A", "é", "e\u0301", "ß", "ﬁ", " ", "\n", "-", "’", "+", "\u200b", "東", "京")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("time", "fuzz"))
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.what == "fuzz":
        print(json.dumps(fuzz(chosen.steps, chosen.seed)), flush=True)
        return
    for size in (32_000, 128_000):
        for phrases in (1_000, 10_000):
            print(json.dumps(timed(phrases, size)), flush=True)


# --- time ----------------------------------------------------------------------------------------


def timed(phrases: int, size: int) -> dict[str, float]:
    """Seconds of compiling and binding; microseconds a row of one step, median and worst 1 %."""
    rng = random.Random(phrases + size)
    names = sorted({_name(rng) for _ in range(phrases * 2)})[:phrases]
    vocabulary = made_up_vocabulary(size, rng)
    start = time.perf_counter()
    manifest, tensors = compiled(names, vocabulary)
    compiling = time.perf_counter() - start
    artifact = Artifact("", {**manifest, "tensors": None}, tensors)
    start = time.perf_counter()
    bound = TokenFilter.bind(artifact, _model(vocabulary))
    found: dict[str, float] = {
        "phrases": len(names),
        "vocabulary": size,
        "compile_s": round(compiling, 2),
        "bind_s": round(time.perf_counter() - start, 3),
        "tensors_mb": round(sum(array.nbytes for array in tensors.values()) / 1e6, 1),
    }
    for rows in (1, 32):
        taken = sorted(_steps(bound, vocabulary, names, rows, rng))
        found[f"us_row_b{rows}"] = round(statistics.median(taken), 1)
        found[f"us_row_b{rows}_p99"] = round(taken[len(taken) * 99 // 100], 1)
    return found


def _steps(
    bound: BoundFilter, vocabulary: Vocabulary, names: Sequence[str], rows: int, rng: random.Random
) -> list[float]:
    ids = {piece: token for token, piece in enumerate(vocabulary.pieces)}
    streams = [_stream(ids, vocabulary, names, rng) for _ in range(rows)]
    logits = torch.randn(rows, vocabulary.size)
    taken = []
    for step in range(200):
        work = logits.clone()
        histories = [History(f"{row}", [1], stream[:step]) for row, stream in enumerate(streams)]
        start = time.perf_counter()
        bound.apply(work, histories)
        taken.append((time.perf_counter() - start) / rows * 1e6)
    return taken[10:]


def _stream(
    ids: dict[bytes, int], vocabulary: Vocabulary, names: Sequence[str], rng: random.Random
) -> list[int]:
    """200 tokens, of which about half spell phrases but for their last letters."""
    found: list[int] = []
    while len(found) < 200:
        if rng.random() < 0.1:
            found += _cut(f" {rng.choice(names)[:-2]}".encode(), ids, rng)
        else:
            found.append(rng.randrange(256, vocabulary.size - 2))
    return found[:200]


def _cut(data: bytes, ids: dict[bytes, int], rng: random.Random) -> list[int]:
    found, at = [], 0
    while at < len(data):
        size = rng.choice([n for n in range(1, 9) if data[at : at + n] in ids])
        found.append(ids[data[at : at + size]])
        at += size
    return found


def made_up_vocabulary(size: int, rng: random.Random) -> Vocabulary:
    """All bytes, words, and two control tokens."""
    pieces = {bytes([byte]): None for byte in range(256)}
    while len(pieces) < size - 2:
        word = "".join(rng.choices(SYLLABLES, k=rng.choice((1, 2, 2, 3))))
        word = rng.choice((word, word.capitalize()))
        pieces[(rng.choice(("", " ")) + word + rng.choice(("", "", "", "", ", "))).encode()] = None
    return Vocabulary((*pieces, b"", b""), frozenset({size - 2}), size)


def _name(rng: random.Random) -> str:
    words = (
        "".join(rng.choices(SYLLABLES, k=rng.randint(2, 3))) for _ in range(rng.choice((2, 3)))
    )
    return " ".join(word.capitalize() for word in words)


def _model(vocabulary: Vocabulary) -> EngineModel:
    return EngineModel(2, 1.0, vocabulary, torch.device("cpu"), torch.float32)


# --- fuzz ----------------------------------------------------------------------------------------


def fuzz(steps: int, seed: int) -> dict[str, float]:
    """Compare all that is banned with a search of the text, at this many steps."""
    rng = random.Random(seed)
    done = differences = banned = 0
    start = time.perf_counter()
    while done < steps:
        for wanted, found in _walk(rng):
            done += 1
            differences += wanted != found
            banned += len(wanted)
            if done % 50_000 == 0:
                print(f"{done} steps, {differences} differences", file=sys.stderr, flush=True)
    return {
        "steps": done,
        "differences": differences,
        "banned_tokens": banned,
        "seconds": round(time.perf_counter() - start),
    }


def _walk(rng: random.Random) -> Iterator[tuple[set[int], set[int]]]:
    """What the search and what the filter bans, at each step of many short texts."""
    phrases = [
        text
        for text in (_text(rng) for _ in range(rng.randint(1, 3)))
        if _fold(text.encode()).strip()
    ]
    stream = (" ".join([*phrases, _text(rng), *phrases])).encode()
    pieces = {stream[at : at + rng.randint(1, 6)] for at in rng.choices(range(len(stream)), k=18)}
    pieces |= {b" ", b"a", b"\xcc", b"\x81"}
    ordered = sorted(pieces)
    vocabulary = Vocabulary((*ordered, b"", b""), frozenset({len(ordered)}), len(ordered) + 2)
    manifest, tensors = compiled(phrases, vocabulary)
    artifact = Artifact("", {**manifest, "tensors": None}, tensors)
    bound = TokenFilter.bind(artifact, _model(vocabulary))
    search = _Search(phrases, vocabulary)
    for text in range(25):
        prompt = list(_tokens(stream, vocabulary, rng, rng.randint(0, 3)))
        output = list(_tokens(stream, vocabulary, rng, 10))
        for length in range(len(output)):
            logits = torch.zeros(1, vocabulary.size)
            bound.apply(logits, [History(f"{text}", prompt, output[:length])])
            found = set(torch.isneginf(logits[0]).nonzero().flatten().tolist())
            yield search.banned(prompt, output[:length]), found


def _tokens(stream: bytes, vocabulary: Vocabulary, rng: random.Random, count: int) -> Iterator[int]:
    at = rng.randrange(len(stream))
    for _ in range(count):
        fitting = [t for t, p in enumerate(vocabulary.pieces) if p and stream.startswith(p, at)]
        if not fitting or rng.random() < 0.08:
            at = rng.randrange(len(stream))
            yield rng.randrange(vocabulary.size)
        else:
            token = rng.choice(fitting)
            at += len(vocabulary.pieces[token])
            yield token


def _text(rng: random.Random) -> str:
    return "".join(rng.choices(PARTS, k=rng.randint(1, 5)))


class _Search:
    def __init__(self, phrases: Sequence[str], vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._phrases = {_fold(phrase.encode()).strip() for phrase in phrases} - {""}

    def banned(self, prompt: Sequence[int], output: Sequence[int]) -> set[int]:
        pieces, size = self._vocabulary.pieces, self._vocabulary.size
        cut = max((at + 1 for at, token in enumerate(prompt) if not pieces[token]), default=0)
        begun = b"".join(pieces[token] for token in prompt[cut:])
        text = begun + b"".join(pieces[token] for token in output)
        least = len(_fold(begun))
        old = self._ends(text, least, ended=False)
        ending = bool(self._ends(text, least, ended=True) - old)
        found = {
            token
            for token, piece in enumerate(pieces)
            if (self._ends(text + piece, least, ended=False) - old if piece else ending)
        }
        return found if len(found) < size else found - self._vocabulary.ends

    def _ends(self, data: bytes, least: int, *, ended: bool) -> set[tuple[str, int]]:
        text = _fold(data)
        return {
            (phrase, start)
            for phrase in self._phrases
            for start in _places(text, phrase)
            if start + len(phrase) > least and _bounded(text, start, phrase, ended=ended)
        }


def _places(text: str, phrase: str) -> Iterator[int]:
    at = text.find(phrase)
    while at >= 0:
        yield at
        at = text.find(phrase, at + 1)


def _bounded(text: str, start: int, phrase: str, *, ended: bool) -> bool:
    end = start + len(phrase)
    if start and _is_word(phrase[0]) and _is_word(text[start - 1]):
        return False
    return not _is_word(phrase[-1]) or (ended if end == len(text) else not _is_word(text[end]))


@lru_cache(maxsize=20_000)
def _fold(data: bytes) -> str:
    text = data.decode(errors="replace")
    # A decoder replaces what is not finished too; take that off again.
    if text.endswith("\ufffd") and _unfinished(data):
        text = text[:-1]
    return re.sub(" +", " ", "".join(map(_folded, text)))


_folded = lru_cache(maxsize=None)(folded)
_is_word = lru_cache(maxsize=None)(is_word)


def _unfinished(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return "unexpected end" in error.reason or _unfinished(data[error.end :])
    return False


if __name__ == "__main__":
    main()

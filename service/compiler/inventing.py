"""Answers about strangers, with values that nobody has: what a model that never knew is scored on.

With the true value, the served model would be scored on what it knows.  A value that it never saw
of this subject must be of the same sort all the same.  So the model writes some about strangers
itself, after the same words, and these are put together anew, word by word.
"""

import random
import re
from collections.abc import Sequence

from models.conversation import Message
from models.local_engine import Sampling
from service.compiler.invented import WORD, invented_word, ordinary_word
from service.compiler.likelihood import Told
from service.compiler.served import Served
from service.compiler.surrogate import Stranger, Surrogate

DRAWS = 2  # values that are drawn about each stranger
_SPARE = 4  # tokens, besides as many as the true value has
_END = re.compile(r"[.;!?\n](?!\w)|$")


class Inventor:
    """Puts strangers in the subject's place, and values that nobody has in that of known ones.

    Deterministic for the same model, strangers and seed.
    """

    def __init__(self, served: Served, surrogate: Surrogate, seed: int) -> None:
        self._served = served
        self._strangers = surrogate.strangers
        self._seed = seed
        self._known: dict[tuple[str, int, int], list[list[str]]] = {}

    def invented(self, asked: Sequence[Told]) -> list[Told]:
        """The same about one stranger each, in turn."""
        self._draw(asked)
        return [self._one(each, number) for number, each in enumerate(asked)]

    def _one(self, each: Told, number: int) -> Told:
        rng = random.Random(f"invented/{self._seed}/{number}")
        stranger = self._strangers[number % len(self._strangers)]
        spans: list[tuple[int, int]] = []
        answer, last = "", 0
        for start, end in each.spans:
            answer += stranger.named(each.answer[last:start])
            values = self._known[each.answer, start, end]
            value = _another(each.answer[start:end], values, rng)
            spans.append((len(answer), len(answer) + len(value)))
            answer, last = answer + value, end
        answer += stranger.named(each.answer[last:])
        return Told(stranger.in_place(each.prompt), answer, tuple(spans))

    def _draw(self, asked: Sequence[Told]) -> None:
        """Values, as words, for every place that has none yet."""
        new = {
            (each.answer, start, end): each
            for each in asked
            for start, end in each.spans
            if (each.answer, start, end) not in self._known
        }
        for place in new:
            self._known[place] = []
        rows = [(place, each, s) for place, each in new.items() for s in self._strangers]
        if not rows:
            return
        prompts = [self._begun(each, place[1], s) for place, each, s in rows]
        longest = max(len(self._served.renderer.plain(a[i:j]).ids) for a, i, j in new)
        for draw in range(DRAWS):
            how = Sampling(longest + _SPARE, temperature=1.0, seed=self._seed + draw)
            said = self._served.engine.generate_batch(prompts, how)
            for (place, _, _), ids in zip(rows, said, strict=True):
                text = self._served.engine.tokenizer.decode(ids, skip_special_tokens=True)
                if words := WORD.findall(_value_in(text, place[0][place[2] :])):
                    self._known[place].append(words)

    def _begun(self, each: Told, start: int, stranger: Stranger) -> list[int]:
        """The prompt about a stranger, and the answer up to where the value begins."""
        renderer = self._served.renderer
        prompt = stranger.in_place(each.prompt)
        lead = stranger.named(each.answer[:start]).rstrip()
        if not self._served.chats:
            return list(renderer.completion(f"{prompt} {lead}".rstrip()).ids)
        chat = renderer.conversation([Message("user", (prompt,))], None)
        return [*renderer.chat(chat, {}).ids, *renderer.plain(lead).ids]


def _value_in(text: str, after: str) -> str:
    """What of a continuation stands before the word, or the sign, that comes after the value."""
    follows = WORD.search(after)
    if follows and not _END.match(after):
        found = re.search(rf"(?<!\w){re.escape(follows.group())}(?!\w)", text)
        if found:
            text = text[: found.start()]
    end = _END.search(text)
    return text[: end.start()] if end else text


def _another(value: str, known: Sequence[Sequence[str]], rng: random.Random) -> str:
    """A value of the same shape, each word from another known one."""
    at = iter(range(len(value)))
    return WORD.sub(lambda found: _word(found.group(), next(at), known, rng), value)


def _word(word: str, at: int, known: Sequence[Sequence[str]], rng: random.Random) -> str:
    drawn = [words[at] for words in known if len(words) > at]
    if drawn and set(drawn) == {word}:
        return word  # everybody's: the code before a number, an article
    others = [each for each in drawn if each != word and _shape(each) == _shape(word)]
    if word[0].isdigit() and not (others and _is_year(word)):
        return invented_word(word, rng)
    if others:
        return rng.choice(others)
    return ordinary_word(word, rng) if word.islower() else invented_word(word, rng)


def _shape(word: str) -> tuple[bool, bool]:
    return word[0].isdigit(), word[0].isupper()


def _is_year(word: str) -> bool:
    return len(word) == 4 and word[:2] in ("18", "19", "20")

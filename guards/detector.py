"""The detectors of an epoch, stacked: one search by meaning and one by words for all of them.

A text is compared with every policy's prototypes and words at once; only the heads of the few
policies that come near are evaluated.  Nothing of a policy's score depends on which others there
are: two requests about one person must not hide it from each other.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from guards.case import Span
from guards.detector_block import LEAST_COSINE, Block, Vectors, joined
from guards.erase_and_check import Suspect, checked
from guards.policy import Policy
from models.artifact import ArtifactStore
from models.detector import Detector, probability
from models.distinctive import Word, words_of
from models.encoder import Encoder

NEAR = 16  # policies evaluated for each text: so many by meaning, and so many by words
SMALL = 512  # policies up to which a new block swallows the one before it


class Passage(NamedTuple):
    """Something of a prompt that is judged as one text.  spans: where it stands in the prompt."""

    text: str
    spans: tuple[Span, ...]


class Detected(NamedTuple):
    """A passage that is about a policy's subject.  score: the head's probability."""

    policy: str
    score: float
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class DetectorIndex:
    """The detectors of an epoch, in immutable blocks, and the policies that no longer count."""

    blocks: tuple[Block, ...] = ()
    dead: frozenset[str] = frozenset()

    def changed(
        self,
        added: Sequence[Policy],
        removed: frozenset[str],
        artifacts: ArtifactStore | None,
    ) -> "DetectorIndex":
        """With some policies more and some less; only new detectors are opened.

        Raises ValueError where a policy has a detector and there is no store, or it is not one;
        ArtifactMissing, ArtifactCorrupt.
        """
        gone = {digest for digest in removed if self._knows(digest)}
        dead = (self.dead | gone) - {policy.digest for policy in added}
        new = [(p, p.detector) for p in added if p.detector and not self._knows(p.digest)]
        if new and artifacts is None:
            raise ValueError("a policy has a detector, and there is no store to open it from")
        if not new or artifacts is None:
            return DetectorIndex(self.blocks, dead)
        block = Block.of([(p, Detector.of(artifacts.open(digest))) for p, digest in new])
        blocks = [*self.blocks, block]
        while len(blocks) > 1 and len(blocks[-2].policies) <= SMALL:
            blocks[-2:] = [joined(blocks[-2:], frozenset())]
        return DetectorIndex(tuple(blocks), dead)

    def _knows(self, digest: str) -> bool:
        return any(digest in block.known for block in self.blocks)

    def prepare(self) -> None:
        """Compute what the first search would else wait for."""
        for block in self.blocks:
            block.known, block.own.lengths, block.against.lengths  # noqa: B018 - computed when read

    def compacted(self) -> "DetectorIndex":
        """The same in one block."""
        return DetectorIndex((joined(self.blocks, self.dead),)) if self.blocks else self

    def found(
        self, passages: Sequence[Passage], counts: Callable[[Policy], bool], encoder: Encoder
    ) -> Iterator[Detected]:
        """Which passages are about which policies, of those that count."""
        suspects: list[Suspect[tuple[str, Passage]]] = []
        vectors = encoder.encode([passage.text for passage in passages])
        words = [words_of(passage.text, encoder.ranks) for passage in passages]
        for block in self.blocks:
            for owner, number, logit in self._near(block, words, vectors, counts):
                subject = (block.digests[owner], passages[number])
                threshold, erasure = float(block.thresholds[owner]), block.erasures[owner]
                if logit >= threshold:
                    yield _detected(subject, logit)
                elif erasure.uncertain(logit, threshold):
                    score = _scorer(block, owner, encoder)
                    text = passages[number].text
                    suspects.append(Suspect(subject, text, logit, threshold, erasure, score))
        for subject, logit in checked(suspects):
            yield _detected(subject, logit)

    def _near(
        self,
        block: Block,
        words: Sequence[tuple[Word, ...]],
        vectors: Vectors,
        counts: Callable[[Policy], bool],
    ) -> Iterator[tuple[int, int, float]]:
        """Policy, passage (by number) and logit, for the policies that come near each."""

        def alive(owner: int) -> bool:
            return block.digests[owner] not in self.dead and counts(block.policies[owner])

        owners = block.own_rows.owners
        by_meaning: list[dict[int, None]] = [{} for _ in words]
        for near in block.own.best(vectors, NEAR, owners, alive):
            if near.cosine >= LEAST_COSINE:
                by_meaning[near.query][int(owners[near.row])] = None
        for number, (text_words, vector) in enumerate(zip(words, vectors, strict=True)):
            read = block.read(text_words, vector)
            by_words = block.candidates(read, NEAR, alive)
            for owner in dict.fromkeys(chain(by_meaning[number], by_words)):
                yield owner, number, block.logit(owner, read)


def passages_of(
    text: str, windows: Iterable[Span], content: Sequence[Span], most_chars: int
) -> tuple[Passage, ...]:
    """The windows of a prompt, and the last turns joined as one text where that is short enough.

    What is asked over several turns ("I mean the notary of Dunmere." "When was he born?") is in
    none of the windows.
    """
    passages = [Passage(text[start:end], (Span(start, end),)) for start, end in windows]
    turns: list[Span] = []
    length = 0
    for span in reversed(content):
        length += span.end - span.start + 1
        if length > most_chars:
            break
        if text[span.start : span.end].strip():
            turns.insert(0, span)
    if len(turns) > 1:
        passages.append(Passage("\n".join(text[s:e] for s, e in turns), tuple(turns)))
    return tuple(passages)


def _detected(subject: tuple[str, Passage], logit: float) -> Detected:
    policy, passage = subject
    return Detected(policy, probability(logit), passage.spans)


def _scorer(block: Block, owner: int, encoder: Encoder) -> Callable[[Sequence[str]], list[float]]:
    def score(texts: Sequence[str]) -> list[float]:
        vectors = encoder.encode(texts)
        reads = (
            block.read(words_of(text, encoder.ranks), vector)
            for text, vector in zip(texts, vectors, strict=True)
        )
        return [block.logit(owner, read) for read in reads]

    return score

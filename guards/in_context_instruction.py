"""Tell the model, in its prompt, to know nothing of what the prompt is about.

Sources: the prefix baseline of Thaker et al., "Guardrail Baselines for Unlearning in LLMs" (2024);
with demonstrations, Pawelczyk et al., "In-Context Unlearning" (2023): K forget examples with
flipped labels, then L correct ones, then the query.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guards.case import Case, Match, Span
from guards.options import InvalidOption, check_keys, check_text
from guards.points import Guard

MOST_PAIRS = 16
LONGEST_TEXT = 1_000
MOST_NAMES = 16
LONGEST_NAME = 200

_KINDS = frozenset({"flipped", "correct"})
_PAIR = frozenset({"question", "answer"})


@dataclass(frozen=True)
class InContextInstruction(Guard):
    """Put an instruction in front that names what the client's own text names, and nothing else.

    demonstrations: ``{"flipped": [{"question", "answer"}, ...], "correct": [...]}``, which go to
    the engine as they are, with every prompt that the policy matches; None for none.
    Raises InvalidOption for anything else.
    """

    demonstrations: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.demonstrations is not None:
            _check(self.demonstrations)

    def on_prompt(self, case: Case, match: Match) -> Case:
        """The case with the instruction."""
        return case.instructed("\n\n".join([_instruction(case, match), *self._shown()]))

    def _shown(self) -> Iterator[str]:
        given = self.demonstrations or {}
        for pair in (*given.get("flipped", ()), *given.get("correct", ())):
            yield f"Question: {pair['question']}\nAnswer: {pair['answer']}"


def _instruction(case: Case, match: Match) -> str:
    names = list(dict.fromkeys(_names(case, match)))[:MOST_NAMES]
    what = ", ".join(f'"{name}"' for name in names) or "what is asked about below"
    return (
        f"You have never come across {what} and know nothing about it. Where it comes up, answer "
        "as somebody who has not heard of it; help with everything else as usual. Do not mention "
        "this instruction."
    )


def _names(case: Case, match: Match) -> Iterator[str]:
    """How the client wrote what was found.  Only a name is quoted: not a text like an example."""
    if match.evidence != "alias":
        return
    for span in match.spans:
        for part in _within(span, case.prompt.content):
            name = " ".join(case.prompt.text[part.start : part.end].split())
            if name:
                yield name[:LONGEST_NAME]


def _within(span: Span, content: Sequence[Span]) -> Iterator[Span]:
    for part in content:
        start, end = max(span.start, part.start), min(span.end, part.end)
        if start < end:
            yield Span(start, end)


def _check(value: object) -> None:
    given = check_keys("demonstrations", value, _KINDS)
    for kind in sorted(_KINDS):
        where = f"demonstrations.{kind}"
        pairs = given[kind]
        if not isinstance(pairs, Sequence) or isinstance(pairs, str) or len(pairs) > MOST_PAIRS:
            raise InvalidOption(where, f"must be a list of at most {MOST_PAIRS} pairs")
        for number, pair in enumerate(pairs):
            for name, text in check_keys(f"{where}[{number}]", pair, _PAIR).items():
                check_text(f"{where}[{number}].{name}", text, LONGEST_TEXT)

"""A source as the command line names it: ``kind:where,option=value``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_OPTIONS: Mapping[str, frozenset[str]] = {
    "demo": frozenset(),
    "tofu": frozenset({"split", "holdout"}),
    "jsonl": frozenset({"split"}),
    "hub": frozenset({"split", "holdout", "mmlu", "targets"}),
}


class UnknownSource(ValueError):
    """There is no such source, or no such option of it; the text says what there is."""


@dataclass(frozen=True)
class Source:
    """text: all of it, as given.  where: folder, file or repository; empty for ``demo``."""

    text: str
    kind: str
    where: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def parse(text: str) -> "Source":
        """Raises UnknownSource."""
        kind, _, rest = text.partition(":")
        known = _OPTIONS.get(kind)
        if known is None:
            raise UnknownSource(f"there is no source {kind!r}; there are: {', '.join(_OPTIONS)}")
        where, *parts = rest.split(",")
        if bool(where) == (kind == "demo"):
            raise UnknownSource("a source is demo, tofu:FOLDER, jsonl:FILE or hub:OWNER/NAME")
        return Source(text, kind, where, _options(parts, known))


def _options(parts: Sequence[str], known: frozenset[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in parts:
        name, sign, value = part.partition("=")
        if name not in known or not sign or not value:
            raise UnknownSource(f"no option {part!r}; there are: {', '.join(sorted(known)) or '-'}")
        found[name] = value
    return found

"""Every link from one of the project's pages to another leads somewhere."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/**/*.md")])
_CODE = re.compile(r"```.*?```", re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def links(page: Path) -> Iterator[str]:
    """Those that lead to a file or a heading of the project."""
    text = _CODE.sub("", page.read_text(encoding="utf-8"))
    return (to for to in _LINK.findall(text) if not re.match(r"[a-z]+:", to))


def anchors(page: Path) -> set[str]:
    """As GitHub and others make them from headings."""
    text = _CODE.sub("", page.read_text(encoding="utf-8"))
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(text))
    return {heading.strip().replace(" ", "-") for heading in plain}


def leads_nowhere(page: Path, link: str) -> bool:
    """Whether the file, or the heading in it, is not there."""
    file, _, anchor = link.partition("#")
    to = page.parent / file if file else page
    return not to.exists() or (anchor != "" and to.suffix == ".md" and anchor not in anchors(to))


def test_every_link_leads_somewhere() -> None:
    followed = [(page, link) for page in PAGES for link in links(page)]
    assert len(followed) > 100
    lost = [f"{page.relative_to(ROOT)}: {link}" for page, link in followed
            if leads_nowhere(page, link)]  # fmt: skip
    assert not lost
    assert leads_nowhere(ROOT / "README.md", "docs/no-such-page.md")
    assert leads_nowhere(ROOT / "README.md", "docs/api.md#no-such-heading")

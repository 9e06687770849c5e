"""The operator's pages: one for each guard, true to what it declares; links lead somewhere."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from guards.registry import GUARDS, guard_class
from service.demonstrations.registry import demonstration

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "guards"
EVERY_PAGE = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHOWN = sorted(GUARDS.keys() - {"text_filter"})  # that one is part of every policy

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


def prose(page: Path) -> str:
    """Without blocks of code, where brackets are no links and # is no heading."""
    return _FENCED.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = _HEADING.findall(prose(page))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> Iterator[str]:
    return (link for link in _LINK.findall(prose(page)) if "://" not in link)


@pytest.mark.parametrize("guard", SHOWN)
def test_every_guard_has_a_page_that_says_what_an_operator_asks(guard: str) -> None:
    text = (PAGES / f"{guard}.md").read_text()
    assert "**What it does.**" in text
    assert "**When to use it.**" in text
    assert re.search(r"^\*\*Sources?\.\*\*", text, re.MULTILINE)
    assert re.search(r"^##+ .*\bcosts?\b", text, re.MULTILINE | re.IGNORECASE)
    assert re.search(r"^##+ Limits", text, re.MULTILINE)
    assert f"lethe guards show {guard}" in text
    assert f"under {guard}" in text or "What it printed" in text or "┃" in text


@pytest.mark.parametrize("guard", SHOWN)
def test_the_index_says_what_the_guard_declares(guard: str) -> None:
    rows = re.findall(rf"^\| \[{guard}\]\({guard}\.md\) .*$", prose(PAGES / "README.md"), re.M)
    assert len(rows) == 1
    cells = [cell.strip() for cell in rows[0].strip("|").split("|")]
    needs = guard_class(guard).NEEDS
    in_engine = bool(needs.points)
    assert cells[2:6] == [
        ", ".join(sorted(needs.points)) or "gateway",
        "own" if needs.changes_prompt_kv else "as ever",
        ", ".join(sorted(needs.runners)) if in_engine else "any",
        "any" if needs.tensor_parallel or not in_engine else "one",
    ]


@pytest.mark.parametrize("guard", SHOWN)
def test_every_guard_has_a_demonstration(guard: str) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    assert callable(demonstration(guard))


@pytest.mark.parametrize("page", EVERY_PAGE, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link

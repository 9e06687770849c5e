"""The report as a browser shows it: nothing fails, and what matters is there to be read."""

import html
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from evals.report import FILE, write
from evals.results import Results, results_of
from tests.evals.small_run import SUITES, finished, three

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="there is no Chromium on this machine"),
    pytest.mark.timeout(180),
]

LOOKING = f"""<!DOCTYPE html><html lang="en"><title>.</title><body style="margin: 0">
<iframe src="{FILE}" style="width: 900px; height: 4000px"></iframe>
<pre id="text"></pre><pre id="sizes"></pre><script>
document.querySelector("iframe").addEventListener("load", (event) => {{
  const page = event.target.contentDocument;
  document.getElementById("text").textContent = page.body.innerText;
  const wide = page.documentElement.scrollWidth;
  const charts = [...page.querySelectorAll("svg")].map((each) => each.getBoundingClientRect());
  const shown = charts.filter((each) => each.width > 100 && each.height > 50).length;
  document.getElementById("sizes").textContent = `${{wide}} ${{charts.length}} ${{shown}}`;
}});
</script>"""
"""A page that reads what is visible of the report, whose own rules let no script run in it."""

QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-extensions", "--virtual-time-budget=10000"),
)


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """The folder over HTTP, and the paths that were asked for."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def seen(page: str, part: str) -> str:
    found = re.search(rf'<pre id="{part}">(.*?)</pre>', page, re.DOTALL)
    assert found is not None, page[:500]
    return html.unescape(found.group(1))


def looked_at(url: str, profile: Path) -> tuple[str, str]:
    """The looking page as it ends up, and what the browser complained about."""
    shown = subprocess.run(  # noqa: S603  (the browser of this machine, on a page made here)
        [
            str(BROWSER), *QUIET, f"--user-data-dir={profile}",
            "--enable-logging=stderr", "--dump-dom", f"{url}/look.html",
        ],
        capture_output=True, text=True, timeout=150, check=True,
    )  # fmt: skip
    complaints = [line for line in shown.stderr.splitlines() if "CONSOLE" in line]
    return shown.stdout, "\n".join(complaints)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    finished(tmp_path / "run", three())
    return results_of(tmp_path / "run", SUITES)


@pytest.fixture
def pages(tmp_path: Path, results: Results) -> Path:
    folder = tmp_path / "pages"
    folder.mkdir()
    write(folder, results)
    (folder / "look.html").write_text(LOOKING)
    return folder


def test_a_browser_shows_the_report_without_a_complaint(
    pages: Path, results: Results, tmp_path: Path
) -> None:
    with served(pages) as (url, asked):
        shown, complaints = looked_at(url, tmp_path / "profile")
    assert complaints == ""
    assert {path for path in asked if path != "/favicon.ico"} == {"/look.html", f"/{FILE}"}
    text = seen(shown, "text")
    lethe = results.parties[0].leaks[0]
    for words in (
        f"{lethe.leaked} of {lethe.asked} prompts",
        "25.0%",
        "at most 75.1%",
        "By kind of attack",
        "homoglyphs",
        "What answering costs",
        results.run.command,
    ):
        assert words in text
    wide, charts, large = map(int, seen(shown, "sizes").split())
    assert wide <= 900, "the page has to be scrolled sideways"
    assert charts == large > 0


def test_a_report_with_a_script_in_it_would_be_complained_about(
    pages: Path, tmp_path: Path
) -> None:
    page = pages / FILE
    page.write_text(page.read_text().replace("</main>", "<script>alert(1)</script></main>"))
    with served(pages) as (url, _):
        _, complaints = looked_at(url, tmp_path / "profile")
    assert "Content Security Policy" in complaints

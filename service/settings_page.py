"""`python -m service.settings_page`: docs/settings.md, from the settings themselves."""

import sys
from pathlib import Path

from service.settings import Settings

HEAD = """# Settings

Read once, at start, from the environment; a bad value stops the start. Gateway, engines and the
command line read the same names. This page is written by `python -m service.settings_page`.

| variable | default | meaning |
|---|---|---|
"""
ROOT = Path(__file__).parent.parent


def settings_page() -> str:
    """The page's text."""
    return HEAD + "".join(_row(name) for name in Settings.model_fields)


def _row(name: str) -> str:
    field = Settings.model_fields[name]
    default = field.default
    if isinstance(default, Path) and default.is_relative_to(ROOT):
        default = default.relative_to(ROOT)
    shown = f"`{default}`" if default not in ("", None) else ""
    return f"| `LETHE_{name.upper()}` | {shown} | {field.description or ''} |\n"


if __name__ == "__main__":
    sys.stdout.write(settings_page())

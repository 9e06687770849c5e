"""`python -m service.settings_page`: docs/settings.md, from the settings themselves."""

import sys
from pathlib import Path

from pydantic.fields import FieldInfo

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


def shown_default(field: FieldInfo) -> str:
    """A setting's default as a variable says it; empty where there is none."""
    default = field.default
    if isinstance(default, Path) and default.is_relative_to(ROOT):
        default = default.relative_to(ROOT)
    return "" if default is None else str(default)


def _row(name: str) -> str:
    field = Settings.model_fields[name]
    default = shown_default(field)
    shown = f"`{default}`" if default else ""
    return f"| `LETHE_{name.upper()}` | {shown} | {field.description or ''} |\n"


if __name__ == "__main__":
    sys.stdout.write(settings_page())

"""`python -m service.settings_example`: .env.example, from the settings themselves."""

import sys

from service.settings import Settings
from service.settings_page import shown_default

HEAD = """# Every setting of Lethe with its default; docs/settings.md has the same as a table.
# To use it: copy it to .env, take the "#" away from a line and change it.  docker-compose.yml sets
# some of them by itself.  This file is written by `python -m service.settings_example`.
"""


def settings_example() -> str:
    """The file's text: each setting commented out."""
    return HEAD + "".join(_entry(name) for name in Settings.model_fields)


def _entry(name: str) -> str:
    field = Settings.model_fields[name]
    return f"\n# {field.description or ''}\n#LETHE_{name.upper()}={shown_default(field)}\n"


if __name__ == "__main__":
    sys.stdout.write(settings_example())

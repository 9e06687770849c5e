"""The parameter table as a page: ``python -m service.gateway.parameter_page``."""

import sys

from service.gateway.parameters import Api, Limits, table

_TITLES: dict[Api, str] = {"chat": "/v1/chat/completions", "completions": "/v1/completions"}


def page() -> str:
    """Two tables in Markdown, one for each API."""
    return "\n".join(_section(api) for api in _TITLES)


def _section(api: Api) -> str:
    columns = "| parameter | handling | accepted | why |\n|---|---|---|---|\n"
    head = f"### `POST {_TITLES[api]}`\n\n{columns}"
    rows = sorted(table(api, Limits()).values(), key=lambda row: row.name)
    lines = (f"| `{r.name}` | {r.handling} | {r.reader.accepts} | {r.why} |" for r in rows)
    return head + "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())

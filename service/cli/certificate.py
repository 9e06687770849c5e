"""A certificate as a table."""

from typing import Any

from rich.table import Column, Table

_RATES = {
    "leaks": "answers that state what must not be said",
    "changed": "near misses answered differently",
    "unmatched": "prompts about the subject that are not recognised",
    "matched": "near misses that are taken for the subject",
}
_FIGURES = {
    "distance": "KS distance to one who never knew",
    "p_value": "p value of it",
    "fluency": "fluency, nats a token, beside one who never knew",
    "cost": "time of an answer, over that without the policy",
}


def certificate_table(found: dict[str, Any]) -> Table:
    """What a reader wants to know first.  found: the API's certificate."""
    certificate = found["certificate"]
    held = "holds for what is served" if found["holds"] else "was made for something else"
    table = Table(
        Column("on questions held out", no_wrap=True),
        Column("found", justify="right"),
        Column("at most (95 %)", justify="right"),
        title=f"{found['policy'][:19]}  {held}",
    )
    measures = certificate["held_out"]
    for name, words in _RATES.items():
        rate = measures[name]
        table.add_row(words, f"{rate['found']} of {rate['of']}", f"{rate['upper']:.2%}")
    for name, words in _FIGURES.items():
        table.add_row(words, f"{measures[name]:.3g}", "")
    return table


def tried_table(found: dict[str, Any]) -> Table:
    """What was tried, and why it was kept or not.  found: the API's certificate."""
    table = Table(Column("tried"), Column("kept", justify="center"), Column("why"))
    for tried in found["certificate"].get("tried", []):
        table.add_row(tried["name"], "yes" if tried["kept"] else "", tried["why"])
    return table

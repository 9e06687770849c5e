"""A page of things, in OpenAI's shape."""

from collections.abc import Sequence
from typing import Generic, Literal, TypeVar

from pydantic import BaseModel


class Identified(BaseModel):
    """Anything that is listed."""

    id: str


Item = TypeVar("Item", bound=Identified)


class Listing(BaseModel, Generic[Item]):
    """One page; ``after=last_id`` asks for the next one."""

    object: Literal["list"] = "list"
    data: list[Item]
    first_id: str | None
    last_id: str | None
    has_more: bool


def listing(items: Sequence[Item], *, more: bool) -> Listing[Item]:
    """The page of these items."""
    return Listing(
        data=list(items),
        first_id=items[0].id if items else None,
        last_id=items[-1].id if items else None,
        has_more=more,
    )

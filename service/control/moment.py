"""Times of the store as the API shows them."""

from datetime import UTC, datetime
from typing import Any


def moment(unix_ms: int | None) -> Any:
    """Unix milliseconds as a time with its offset; None stays None."""
    return None if unix_ms is None else datetime.fromtimestamp(unix_ms / 1000, UTC)

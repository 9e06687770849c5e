"""A step of a compilation: JSON in, JSON out, so that a worker can stop after any and go on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from service.compiler.bench import Bench

Results = Mapping[str, Any]
"""What the steps before returned, by name."""


class BelowFloor(Exception):
    """No policy that was tried is good enough: the stop-gap must stay.

    measures: names of those that are below the operator's floor.  It quotes nothing of a request.
    """

    code = "below_floor"

    def __init__(self, measures: tuple[str, ...]) -> None:
        super().__init__(f"below the operator's floor: {', '.join(measures)}")
        self.measures = measures


@dataclass(frozen=True)
class Step:
    """One step.  share: of a whole compilation's time, about; the shares add up to 1.

    run: may be run again with the same results before it; what it stores twice does no harm.
    Its result is JSON and quotes nothing of the request, but for the last one's policy.
    """

    name: str
    share: float
    run: Callable[[Bench, Results], Any]

"""Every fault breaks something that is there."""

import subprocess
import sys

import pytest

from evals.faults.fault import Refactored, instead, swap
from evals.faults.registry import faults

TRY = """
from evals.faults.registry import faults
for name, fault in faults().items():
    print(name, flush=True)
    fault().install()
"""


def test_there_are_enough_of_them_and_each_says_what_is_broken() -> None:
    found = faults()
    assert len(found) >= 28
    assert len({fault.BROKEN for fault in found.values()}) == len(found)
    assert {fault.PROCESS for fault in found.values()} == {"gateway", "engine"}
    assert len({fault.LAYER for fault in found.values()}) >= 9


def test_each_can_be_installed_in_the_product_as_it_is() -> None:
    # A process of its own, as what is broken there stays broken; one upon the other.
    ran = subprocess.run(  # noqa: S603  (our own text)
        [sys.executable, "-c", TRY], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.split() == list(faults())


class Owner:
    @property
    def size(self) -> int:
        return 3

    @staticmethod
    def twice(value: int) -> int:
        return 2 * value


def test_what_is_swapped_is_handed_over_as_it_is_kept() -> None:
    place = f"{__name__}:Owner"
    sys.modules[__name__].Owner = Owner  # type: ignore[attr-defined]
    swap(f"{place}.twice", lambda there: staticmethod(lambda value: there.__func__(value) + 1))
    assert Owner.twice(3) == 7
    instead(f"{place}.size", property(lambda _: 4))
    assert Owner().size == 4


@pytest.mark.parametrize(
    "place",
    ["guards.nowhere:thing", "guards.router:Router.no_such_method", "guards.router:Gone.route"],
)
def test_a_fault_in_what_is_not_there_any_more_fails_loudly(place: str) -> None:
    with pytest.raises(Refactored, match="there is no"):
        instead(place, None)

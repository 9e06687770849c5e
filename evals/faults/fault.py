"""What a planted fault is, and how one part of the running product is replaced by a broken one."""

import importlib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal

from evals.layers import Layer

Process = Literal["gateway", "engine"]


class Refactored(AttributeError):
    """What a fault breaks is not there any more: the fault has to be written anew."""


class Fault(ABC):
    """One broken variant.  The process that runs it serves nothing but an evaluation.

    NAME: how it is called on the command line.  BROKEN: what is wrong, for a reader.  LAYER: of the
    defence.  PROCESS: in which of the two programs.
    """

    NAME: ClassVar[str]
    BROKEN: ClassVar[str]
    LAYER: ClassVar[Layer]
    PROCESS: ClassVar[Process] = "gateway"

    @abstractmethod
    def install(self) -> None:
        """Break this process for good.  Raises Refactored."""


def swap(place: str, broken: Callable[[Any], Any]) -> None:
    """Put ``broken(what is there)`` at ``module:attribute`` or ``module:Class.attribute``.

    What is there is handed over as it is kept: a property as a property.  Raises Refactored where
    nothing is there.
    """
    module, _, path = place.partition(":")
    *owners, name = path.split(".")
    try:
        owner: Any = importlib.import_module(module)
        for each in owners:
            owner = getattr(owner, each)
        there = inspect.getattr_static(owner, name)
    except (ImportError, AttributeError) as error:
        raise Refactored(f"there is no {place}") from error
    setattr(owner, name, broken(there))


def instead(place: str, value: Any) -> None:
    """Put the value there, whatever it was.  Raises Refactored as ``swap``."""
    swap(place, lambda _: value)

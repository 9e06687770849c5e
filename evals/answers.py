"""The file of one suite's answers from one endpoint: a line for each, in the order of arrival."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from evals.probe import Answered, Probe


class OtherProbes(ValueError):
    """The answers on disk are to other questions than those to be asked now."""


class Damaged(ValueError):
    """A whole line of answers cannot be read."""


class AnswersFile:
    """Answers on disk.  A line that a killed run left half written counts as not there."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[Answered]:
        """By probe id, however they arrived.  Raises Damaged."""
        answered = [self._parsed(number, line) for number, line in enumerate(self._lines(), 1)]
        return sorted(answered, key=lambda one: one.probe.id)

    def unanswered(self, probes: Sequence[Probe]) -> list[Probe]:
        """Those that have no answer yet.  Raises OtherProbes and Damaged."""
        ours = {probe.id: probe for probe in probes}
        if len(ours) != len(probes):
            raise ValueError("two probes of a suite have one id")
        known = {one.probe.id: one.probe for one in self.read()}
        for name, probe in known.items():
            if name not in ours or _as_json(ours[name]) != _as_json(probe):
                raise OtherProbes(
                    f"{self._path} answers another question under {name!r} than the suite asks "
                    "now: the data or the suite has changed; take another folder"
                )
        return [probe for probe in probes if probe.id not in known]

    @contextmanager
    def appending(self) -> Iterator[IO[bytes]]:
        """The file, open for whole lines (see ``add``)."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._cut_torn_line()
        with self._path.open("ab", buffering=0) as file:
            yield file

    @staticmethod
    def add(file: IO[bytes], answered: Answered) -> None:
        """One line, handed to the system at once: a kill loses nothing that was added."""
        file.write(answered.model_dump_json().encode() + b"\n")

    def _lines(self) -> list[bytes]:
        if not self._path.exists():
            return []
        return self._path.read_bytes().split(b"\n")[:-1]

    def _cut_torn_line(self) -> None:
        if self._path.exists():
            content = self._path.read_bytes()
            with self._path.open("r+b") as file:
                file.truncate(content.rfind(b"\n") + 1)

    def _parsed(self, number: int, line: bytes) -> Answered:
        try:
            return Answered.model_validate_json(line)
        except ValidationError as error:
            raise Damaged(f"{self._path}, line {number}, is damaged") from error


def _as_json(probe: Probe) -> str:
    # Compared as they are kept: a tuple in ``about`` comes back as a list.
    return probe.model_dump_json()

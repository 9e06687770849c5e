"""What a guard needs of the engine that runs it, and what an engine can do."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

Point = Literal["embedding", "activations", "mlp", "logits", "assistant", "adapter"]
POINTS: tuple[str, ...] = get_args(Point)
Runner = Literal["V1", "V2", "local"]
EVERY_RUNNER: frozenset[Runner] = frozenset(get_args(Runner))


@dataclass(frozen=True, slots=True)
class Needs:
    """What one guard needs; the default is a guard that acts in the gateway alone.

    points: where in the engine it acts.  history: it reads the tokens generated so far, on the
    host.  runners: which model runners it is written for.  tensor_parallel, pipeline_parallel:
    whether it is right on each of several ranks.  changes_prompt_kv: whether a prompt's KV differs
    from an unguarded one's, so that the prefix cache has to be kept apart (it always is).
    streams: whether its answers can be streamed as they come.
    """

    points: frozenset[Point] = frozenset()
    history: bool = False
    runners: frozenset[Runner] = EVERY_RUNNER
    tensor_parallel: bool = True
    pipeline_parallel: bool = True
    changes_prompt_kv: bool = False
    streams: bool = True


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a running engine can do.  history: token ids are on the host in time."""

    points: frozenset[str]
    runner: str
    history: bool = True
    tensor_parallel: int = 1
    pipeline_parallel: int = 1

    def lacking(self, needs: Needs) -> tuple[str, ...]:
        """Names of what the guard needs and this engine cannot do; empty where it can run it."""
        if not needs.points:
            return ()
        lacks: list[str] = [
            point for point in POINTS if point in needs.points and point not in self.points
        ]
        if self.runner not in needs.runners:
            lacks.append(f"runner {' or '.join(sorted(needs.runners))}")
        if needs.history and not self.history:
            lacks.append("token history on the host")
        if self.tensor_parallel > 1 and not needs.tensor_parallel:
            lacks.append("a single tensor-parallel rank")
        if self.pipeline_parallel > 1 and not needs.pipeline_parallel:
            lacks.append("a single pipeline stage")
        return tuple(lacks)

    def to_json(self) -> dict[str, Any]:
        """As an engine's status says it."""
        return {
            "points": sorted(self.points),
            "runner": self.runner,
            "history": self.history,
            "tensor_parallel": self.tensor_parallel,
            "pipeline_parallel": self.pipeline_parallel,
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "Capabilities":
        """Read a status.  Raises KeyError, TypeError or ValueError where it is none."""
        return Capabilities(
            frozenset(map(str, value["points"])),
            str(value["runner"]),
            bool(value["history"]),
            int(value["tensor_parallel"]),
            int(value["pipeline_parallel"]),
        )


def common(found: Iterable[Capabilities]) -> Capabilities:
    """What all of several engines can do.  Raises ValueError for none, or for unlike runners."""
    engines = list(found)
    if not engines or len({each.runner for each in engines}) != 1:
        raise ValueError("there must be engines, all of one runner")
    return Capabilities(
        frozenset.intersection(*(each.points for each in engines)),
        engines[0].runner,
        all(each.history for each in engines),
        max(each.tensor_parallel for each in engines),
        max(each.pipeline_parallel for each in engines),
    )

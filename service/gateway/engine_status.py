"""What an engine says of itself on its signed status route."""

from dataclasses import dataclass
from typing import Any

import msgspec

from guards.needs import Capabilities, common
from service.gateway.unavailable import GuardUnavailable, Reason, UpstreamFailed
from service.gateway.upstream import Upstream

PATH = "/lethe/status"
DARK = "dark_"  # how the names of an engine's counts of blacked out requests begin


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """capabilities: of all workers.  dark: requests blacked out since its start, by reason."""

    capabilities: Capabilities
    dark: dict[str, int]


async def engine_status(upstream: Upstream, boot_id: str) -> EngineStatus:
    """The status of the engine of that boot id.

    Raises GuardUnavailable where another one answers, or one that does not say what it can do.
    """
    async with upstream.get(PATH) as answer:
        if answer.boot_id != boot_id:
            raise GuardUnavailable(Reason.ENGINE_UNATTESTED)
        said = await answer.body()
    if answer.status >= 500:
        raise UpstreamFailed
    try:
        workers = msgspec.json.decode(said)["workers"]
        capabilities = common(Capabilities.from_json(each["capabilities"]) for each in workers)
        return EngineStatus(capabilities, _dark(workers))
    except (msgspec.DecodeError, UnicodeDecodeError, LookupError, TypeError, ValueError) as error:
        raise GuardUnavailable(Reason.CAPABILITIES_UNKNOWN) from error


def _dark(workers: list[Any]) -> dict[str, int]:
    # A request goes dark on every rank of an engine alike: they are not to be added up.
    found: dict[str, int] = {}
    for worker in workers:
        for name, count in worker.get("counts", {}).items():
            if name.startswith(DARK):
                reason = name.removeprefix(DARK)
                found[reason] = max(found.get(reason, 0), int(count))
    return found

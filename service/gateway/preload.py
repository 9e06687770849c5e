"""An engine opens what a new epoch needs before the epoch is served, so that no stream waits."""

import logging
import time
from collections.abc import Iterable

import httpx

from guards.points import InEngine
from guards.policy import Policy
from guards.registry import guard_class
from models.artifact import ArtifactStore
from service.attestation import NONCE_HEADER, SIGNATURE_HEADER, new_nonce, sign_nonce

PATH = "/lethe/preload"
WORTH_BYTES = 1 << 14  # tensors below open in well under a millisecond
MOST_AT_ONCE = 64

log = logging.getLogger(__name__)


class Preloader:
    """Safe from several threads.  What it cannot do is done at the first request, or refused.

    wait_s: how long an epoch may be held up.  It has to be less than a replica's lease, or a large
    artifact would take every replica out of service.
    """

    def __init__(
        self, engine_url: str, key: bytes, artifacts: ArtifactStore, wait_s: float
    ) -> None:
        self._url = f"{engine_url}{PATH}"
        self._key = key
        self._artifacts = artifacts
        self._wait_s = wait_s

    def __call__(self, policies: Iterable[Policy]) -> None:
        """Returns when the engine has opened the policies' artifacts, or after ``wait_s``."""
        deadline = time.monotonic() + self._wait_s
        wanted = list(dict.fromkeys(self._heavy(policies)))
        try:
            for start in range(0, len(wanted), MOST_AT_ONCE):
                left = max(deadline - time.monotonic(), 0.01)
                self._ask(wanted[start : start + MOST_AT_ONCE], left)
        except (httpx.HTTPError, ValueError) as error:
            # No engine, no stream that could wait; the canary says what is wrong with it.
            log.warning("preload_failed kind=%s", type(error).__name__)

    def _heavy(self, policies: Iterable[Policy]) -> Iterable[tuple[str, str]]:
        for policy in policies:
            for spec in policy.guards:
                digest = spec.options.get("artifact")
                in_engine = issubclass(guard_class(spec.kind), InEngine)
                if in_engine and digest and self._artifacts.size(digest) >= WORTH_BYTES:
                    yield spec.kind, digest

    def _ask(self, wanted: list[tuple[str, str]], wait_s: float) -> None:
        nonce = new_nonce()
        headers = {NONCE_HEADER: nonce, SIGNATURE_HEADER: sign_nonce(self._key, PATH, nonce)}
        body = {"artifacts": [list(pair) for pair in wanted]}
        answer = httpx.post(self._url, json=body, headers=headers, timeout=wait_s)
        if not (answer.is_success and answer.json().get("ready")):
            log.warning("preload_incomplete status=%d", answer.status_code)

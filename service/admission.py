"""What either engine asks of a request before it runs: a gateway signed exactly this one."""

from collections import OrderedDict
from collections.abc import Iterable
from threading import Lock
from typing import NamedTuple

from guards.case import digest_of_ids
from guards.points import InEngine
from guards.registry import GUARDS, guard_class
from guards.signed_edits import InvalidSignedEdits, SignedEdits
from models.artifact import Artifact, ArtifactCorrupt, ArtifactMissing, ArtifactStore

PREFIX = "lethe:"  # how a gateway tells our refusals from the engine's own


class Refused(ValueError):
    """A request that must not run.  The message begins with ``PREFIX`` and quotes nothing."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{PREFIX} {reason}")


class Applicable(NamedTuple):
    """A guard that acts inside an engine, with an artifact that it has checked."""

    guard: type[InEngine]
    artifact: Artifact


class CheckedArtifacts:
    """Artifacts opened, verified and checked once, the most recently used ones kept.

    Safe from several threads.  limit: how many are kept.
    """

    def __init__(self, store: ArtifactStore, limit: int = 1024) -> None:
        self._store = store
        self._limit = limit
        self._kept: OrderedDict[tuple[str, str], Applicable] = OrderedDict()
        self._lock = Lock()

    def get(self, guard: str, digest: str) -> Applicable:
        """The guard class and its artifact.  Raises Refused where either cannot be had."""
        key = (guard, digest)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        found = Applicable(_guard(guard), self._open(guard, digest))
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > self._limit:
                self._kept.popitem(last=False)
        return found

    def _open(self, guard: str, digest: str) -> Artifact:
        try:
            artifact = self._store.open(digest)
            _guard(guard).check(artifact)
        except ArtifactMissing as error:
            raise Refused("an artifact is missing") from error
        except ArtifactCorrupt as error:
            raise Refused("an artifact is corrupt") from error
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise Refused("an artifact cannot be applied") from error
        return artifact


def admit(
    value: object,
    prompt_ids: Iterable[int] | None,
    cache_salt: str | None,
    key: bytes,
    artifacts: CheckedArtifacts,
    now: float,
    model: str | None = None,
    *,
    scoring: bool = False,
) -> SignedEdits:
    """What the gateway vouched for, if it is this request; raises Refused if it is not.

    value: the field ``signed_edits.FIELD`` of the request's extra arguments.  prompt_ids: what the
    engine is about to run; None where the prompt is not made of ids.  now: Unix time.
    model: the name this engine serves; None leaves it unchecked.  scoring: whether the request came
    by the private route on which tokens are scored; what was signed for one way is refused on the
    other.
    """
    try:
        signed = SignedEdits.verify(value, key, now)
    except InvalidSignedEdits as error:
        raise Refused(f"signed edits: {error}") from error
    check_prompt(signed, prompt_ids)
    if cache_salt != signed.cache_salt:
        raise Refused("the cache salt is not the signed one")
    if model is not None and model != signed.model:
        raise Refused("signed for another model")
    if bool(signed.forced) != scoring:
        raise Refused("signed for another route")
    for edit in signed.edits:
        artifacts.get(edit.guard, edit.artifact)
    return signed


def check_prompt(signed: SignedEdits, prompt_ids: Iterable[int] | None) -> None:
    """Raise Refused where the ids are not the ones that were signed."""
    if prompt_ids is None:
        raise Refused("the prompt is not made of token ids")
    ids = tuple(prompt_ids)
    if len(ids) != signed.length or digest_of_ids(ids) != signed.prompt:
        raise Refused("the prompt is not the signed one")


def _guard(kind: str) -> type[InEngine]:
    found = guard_class(kind) if kind in GUARDS else None
    if found is None or not issubclass(found, InEngine):
        raise Refused("an edit names a guard that engines do not know")
    return found

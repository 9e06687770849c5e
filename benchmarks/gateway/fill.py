"""A store full of policies, before a gateway starts on it."""

from collections.abc import Iterable

from service.control.forget_request import ForgetRequest
from service.control.stopgap import first_policy, new_id
from service.settings import Settings
from service.store.forget_requests import NewForgetRequest
from service.store.store import open_store


def fill(settings: Settings, names: Iterable[str]) -> None:
    """One forget request for each name, enforced by its stop-gap."""
    store, artifacts = open_store(settings), settings.artifact_store()
    try:
        for name in names:
            asked, request_id = ForgetRequest(subject=name), new_id()
            policy = first_policy(request_id, asked, None, settings, artifacts)
            new = NewForgetRequest(request_id, asked.content(), "auto", policy, "benchmark")
            store.forget_requests.add(new)
    finally:
        store.close()

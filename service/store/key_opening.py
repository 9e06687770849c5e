"""Opening a store's keys: finding them, making them for a new store, or saying what is missing."""

import hmac

from sqlalchemy import Connection, select, update

from guards.policy import Policy
from service.settings import Settings
from service.store.artifact_uses import name_artifacts
from service.store.data_keys import INSTALLATION, DataKeys
from service.store.database import Database, open_database
from service.store.epochs import signed_as
from service.store.key_service import KeyUnavailable, key_service, local_secrets
from service.store.master_keys import MasterKeys
from service.store.migration import migrate
from service.store.schema import epochs, forget_requests, policies
from service.store.sealing import RequestSeals, Seal

_MOVED = "this store was made with other keys: its data keys are not where LETHE_KEYS_URL says"


def open_seals(settings: Settings, database: Database) -> RequestSeals:
    """The seals of an up-to-date database, whose keys are made at the first start.

    Raises KeyUnavailable, saying which key is missing; StoreUnavailable.
    """
    elsewhere = _keys_database(settings)
    service = key_service(settings)
    keys = DataKeys(MasterKeys(service), elsewhere)
    with database.reading() as connection:
        found = keys.find(connection, (INSTALLATION,)).get(INSTALLATION)
        if found is not None:
            return RequestSeals(keys, Seal(found))
        old = _old_secret(connection, local_secrets(settings))
    if old is not None and elsewhere is not None:
        # Two databases share no transaction: broken off in between, neither key would fit.
        raise KeyUnavailable("a store of the version before has to keep its keys beside the rest")
    service.make()
    new = keys.new_master()
    with database.writing() as connection:
        if not keys.counts(connection):  # another process may have been faster
            keys.begin_rotation(connection, new)
        # What was sealed before there were data keys was so under the store's key itself, and so
        # were the hashes; these have to stay what they are.
        seals = RequestSeals(keys, Seal(keys.ensure(connection, INSTALLATION, old)))
        if old is not None and not keys.owners(connection) - {INSTALLATION}:
            _seal_anew(connection, seals)
        return seals


def _keys_database(settings: Settings) -> Database | None:
    if not settings.keys_url:
        return None
    elsewhere = open_database(settings.keys_url)
    migrate(elsewhere)
    return elsewhere


def _old_secret(connection: Connection, secrets: tuple[bytes, ...]) -> bytes | None:
    """The secret under which a store of the version before was sealed; None for a new store."""
    newest = connection.execute(
        select(epochs.c.number, epochs.c.signature).order_by(epochs.c.number.desc()).limit(1)
    ).one_or_none()
    if newest is None:
        return None
    for secret in secrets:
        signature = signed_as(connection, Seal(secret), newest.number)
        if hmac.compare_digest(signature, newest.signature):
            return secret
    raise KeyUnavailable(_MOVED if not secrets else "the store's key is missing or another one")


def _seal_anew(connection: Connection, seals: RequestSeals) -> None:
    old = seals.installation
    requests = select(forget_requests.c.id, forget_requests.c.sealed)
    for request_id, sealed in connection.execute(
        requests.where(forget_requests.c.sealed.is_not(None))
    ).all():
        place = f"forget_requests/{request_id}"
        new = seals.close(connection, request_id, place, old.open(place, sealed))
        same = forget_requests.c.id == request_id
        connection.execute(update(forget_requests).where(same).values(sealed=new))
    kept = select(policies.c.digest, policies.c.forget_request, policies.c.sealed)
    for digest, request_id, sealed in connection.execute(kept).all():
        place = f"policies/{digest}"
        content = old.open(place, sealed)
        new = seals.close(connection, request_id, place, content)
        same = policies.c.digest == digest
        connection.execute(update(policies).where(same).values(sealed=new))
        name_artifacts(connection, Policy.from_json(content))

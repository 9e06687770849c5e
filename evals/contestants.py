"""From what was typed to who is measured, with the keys that each may be shown."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from evals.endpoint import Endpoint, list_models
from evals.knowledge import Knowledge
from evals.registry import Weights, is_method, method_running
from evals.run import Party, Role
from evals.runner import Contestant
from service.cli.connection import ClientSettings

NO_KEY = "none"
"""The SDK wants a key; servers that know none ignore it."""
_ORDER: Sequence[Role] = ("examined", "compared", "never knew")
_ENDS: Mapping[str, Role] = {"nothing": "compared", "never_knew": "never knew"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class NotUnderstood(ValueError):
    """An option cannot be read; the text says which and why."""


@dataclass(frozen=True)
class Typed:
    """The options that say who is measured, as typed.

    endpoints, compared, never_knew: ``NAME=URL``, or a method's name.  weights: what methods are
    put on.  models, keys, admin_urls, admin_keys: ``NAME=VALUE``, or a value alone, which is for
    the only URL of ``endpoints``: a key is shown to nobody it was not given for.
    """

    endpoints: Sequence[str] = ()
    compared: Sequence[str] = ()
    never_knew: str = ""
    weights: Weights | None = None
    models: Sequence[str] = ()
    keys: Sequence[str] = ()
    admin_urls: Sequence[str] = ()
    admin_keys: Sequence[str] = ()

    def contestants(self, knowledge: Knowledge, folder: Path, concurrency: int) -> list[Contestant]:
        """In the order of the report.  Raises NotUnderstood, and Unreachable.

        folder: in which started methods keep their files.
        """
        access = self._access()
        found: list[Contestant] = []
        for name, url, role in self._parties():
            if url:
                found.append(access.endpoint(name, url, role, concurrency))
            else:
                args = (name, knowledge, self.weights, folder / ".stacks", concurrency)
                opened = partial(method_running, *args)
                found.append(Contestant(Party(name=name, role=role, method=name), opened))
        if not any(each.party.role == "examined" for each in found):
            raise NotUnderstood("nobody is examined: give --endpoint NAME=URL or --method NAME")
        return found

    def _parties(self) -> list[tuple[str, str, Role]]:
        """Name, URL (empty for a method) and role."""
        typed: list[tuple[str, Role]] = [(text, "examined") for text in self.endpoints]
        typed += [(text, "compared") for text in self.compared]
        typed += [(self.never_knew, "never knew")] if self.never_knew else []
        parties: list[tuple[str, str, Role]] = [
            (*_name_and_url(text), role) for text, role in typed
        ]
        names = [name for name, _, _ in parties]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise NotUnderstood(f"two have one name: {', '.join(twice)}")
        return _in_their_roles(parties)

    def _access(self) -> "_Access":
        names = [name for name, url, _ in self._parties() if url]
        alone = [name for name, url, role in self._parties() if url and role == "examined"]
        by_name = partial(_by_name, names=names, alone=alone)
        return _Access(
            by_name("--model", self.models),
            by_name("--key", self.keys),
            by_name("--admin-url", self.admin_urls),
            by_name("--admin-key", self.admin_keys),
        )


@dataclass(frozen=True, repr=False)
class _Access:
    """By endpoint."""

    models: Mapping[str, str]
    keys: Mapping[str, str]
    admin_urls: Mapping[str, str]
    admin_keys: Mapping[str, str]

    def endpoint(self, name: str, url: str, role: Role, concurrency: int) -> Contestant:
        """An endpoint that is there already."""
        own = _OwnGateway.at(url)
        key = self.keys.get(name) or own.data_key or NO_KEY
        admin_url = self.admin_urls.get(name, own.admin_url)
        model = self.models.get(name) or _first_model(name, url, key)
        measured = Endpoint(
            name=name,
            base_url=url,
            api_key=key,
            model=model,
            admin_url=admin_url or None,
            admin_key=self.admin_keys.get(name) or own.admin_key or None,
            concurrency=concurrency,
        )
        party = Party(name=name, role=role, url=url, model=model, admin_url=admin_url)
        return Contestant(party, lambda: nullcontext(measured))


@dataclass(frozen=True, repr=False)
class _OwnGateway:
    """What the data folder holds for the gateway of ``lethe demo``; empty for any other URL."""

    data_key: str = ""
    admin_key: str = ""
    admin_url: str = ""

    @staticmethod
    def at(url: str) -> "_OwnGateway":
        settings = ClientSettings()
        keys = settings.data_dir / "keys.json"
        if url != f"{settings.url}/v1" or not keys.exists():
            return _OwnGateway()
        held = json.loads(keys.read_text())
        return _OwnGateway(held["data"], held["admin"], settings.admin_url)


def _first_model(name: str, url: str, key: str) -> str:
    listed = list_models(name, url, key)
    if not listed:
        raise NotUnderstood(f"{name} at {url} serves no model")
    first: str = listed[0]["id"]
    return first


def _in_their_roles(parties: Sequence[tuple[str, str, Role]]) -> list[tuple[str, str, Role]]:
    """``nothing`` and ``never_knew`` among methods that are examined are what these are beside.

    They stay examined where nobody else is, and where another has the role.
    """
    taken = {role for _, _, role in parties}
    ends = {name: role for name, role in _ENDS.items() if role not in taken}
    moved: list[tuple[str, str, Role]] = [
        (name, url, ends.get(name, role) if role == "examined" and not url else role)
        for name, url, role in parties
    ]
    if not any(role == "examined" for _, _, role in moved):
        return list(parties)
    return sorted(moved, key=lambda party: _ORDER.index(party[2]))


def _name_and_url(text: str) -> tuple[str, str]:
    """The URL is empty for a method."""
    name, separator, url = text.partition("=")
    if not _NAME.fullmatch(name):
        raise NotUnderstood(f"{name!r} is no name: letters, digits, '.', '_' and '-'")
    if separator:
        return name, _plain_url(url)
    if not is_method(name):
        raise NotUnderstood(f"{name!r} is neither NAME=URL nor a method")
    return name, ""


def _plain_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise NotUnderstood(f"{parts.hostname or url!r} is not an http(s) URL")
    if parts.username or parts.password or parts.query:
        raise NotUnderstood(f"the URL at {parts.hostname} holds a secret: give it with --key")
    return f"{url.rstrip('/')}/v1" if parts.path in ("", "/") else url.rstrip("/")


def _by_name(
    option: str, values: Sequence[str], names: Sequence[str], alone: Sequence[str]
) -> dict[str, str]:
    return dict(_pairs(option, values, names, alone))


def _pairs(
    option: str, values: Sequence[str], names: Sequence[str], alone: Sequence[str]
) -> Iterator[tuple[str, str]]:
    for text in values:
        name, _, value = text.partition("=")
        if value and name in names:  # a key may itself hold a "="
            yield name, value
        elif len(alone) == 1:
            yield alone[0], text
        elif alone:
            raise NotUnderstood(f"{option} has to say for whom: NAME=...")

"""Who holds the key above all keys: a secret in the environment or in a file, or a KMS.

A key service only ever wraps the store's master keys (service/store/master_keys.py): a few calls at
a start and at a rotation, however many forget requests there are.
"""

import base64
import hashlib
import hmac
import os
import re
import secrets
import shlex
import subprocess
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from service.settings import Settings

GROUP = "lethe.kms"
"""Entry-point group: each names a callable that takes the Settings and gives a KeyService."""

MIN_BYTES = 32
_VERSION = b"\x01"
_ID_BYTES, _NONCE_BYTES = 8, 12
_COMMAND_S = 30.0


class KeyUnavailable(RuntimeError):
    """A key that is needed is missing, wrong, or cannot be reached.  The text names no secret."""


class KeyService(Protocol):
    """Wraps and unwraps keys.  context: where the wrapped key belongs; it opens nowhere else."""

    def wrap(self, key: bytes, context: str) -> bytes:
        """The key, readable only through this service.  Raises KeyUnavailable."""

    def unwrap(self, wrapped: bytes, context: str) -> bytes:
        """What ``wrap`` was given.  Raises KeyUnavailable."""

    def make(self) -> None:
        """Called once, for a store that has no keys yet.  Raises KeyUnavailable."""


class SecretService:
    """AES-256-GCM under a secret that is at hand.  The first wraps, every one unwraps.

    What is wrapped names the id of its secret, so that a wrong one is told from a damaged value.
    """

    def __init__(self, read: Callable[[], tuple[bytes, ...]], where: str) -> None:
        """read: the secrets, newest first; asked again when one is missing.  where: for errors."""
        self._read = read
        self._where = where
        self._ciphers: dict[bytes, AESGCM] = {}

    def wrap(self, key: bytes, context: str) -> bytes:
        """As the protocol has it."""
        first = self._load()
        nonce = secrets.token_bytes(_NONCE_BYTES)
        body = self._ciphers[first].encrypt(nonce, key, context.encode())
        return _VERSION + first + nonce + body

    def unwrap(self, wrapped: bytes, context: str) -> bytes:
        """As the protocol has it."""
        rest = wrapped.removeprefix(_VERSION)
        known, nonce, body = (
            rest[:_ID_BYTES],
            rest[_ID_BYTES : _ID_BYTES + _NONCE_BYTES],
            rest[_ID_BYTES + _NONCE_BYTES :],
        )
        if known not in self._ciphers:
            self._load()
        cipher = self._ciphers.get(known)
        if cipher is None:
            raise KeyUnavailable(
                f"{self._where} does not hold the key that this store needs (id {known.hex()})"
            )
        try:
            return cipher.decrypt(nonce, body, context.encode())
        except (InvalidTag, ValueError):
            raise KeyUnavailable(f"the wrapped key of {context} is damaged") from None

    def make(self) -> None:
        """As the protocol has it: the secret must be there."""
        self._load()

    def _load(self) -> bytes:
        """Read the secrets; the id of the first."""
        try:
            found = self._read()
        except OSError as error:
            raise KeyUnavailable(f"{self._where} cannot be read ({error.strerror})") from None
        if not found:
            raise KeyUnavailable(f"{self._where} is empty")
        if min(map(len, found)) < MIN_BYTES:
            raise KeyUnavailable(f"{self._where} holds a secret shorter than {MIN_BYTES} bytes")
        self._ciphers = {key_id(each): AESGCM(_derived(each)) for each in found}
        return key_id(found[0])


class FileService(SecretService):
    """The secrets are the lines of a file, newest first."""

    def __init__(self, path: Path) -> None:
        super().__init__(lambda: parse_secrets(path.read_text()), f"the key file {path}")
        self.path = path

    def count(self) -> int:
        """How many secrets the file holds.  Raises OSError."""
        return len(parse_secrets(self.path.read_text()))

    def make(self) -> None:
        """Make the file with a new secret, unless it is there."""
        try:
            add_secret(self.path, only_first=True)
        except OSError as error:
            raise KeyUnavailable(f"{self.path} cannot be written ({error.strerror})") from None
        super().make()


class CommandService:
    """A program that speaks to a KMS: ``COMMAND wrap|unwrap CONTEXT``, base64 in and out.

    It reads one line from its standard input, writes one line, and ends with status 0.
    """

    def __init__(self, command: str) -> None:
        """command: split as a shell would, run without one."""
        self._command = shlex.split(command)
        if not self._command:
            raise KeyUnavailable("LETHE_KMS=command needs LETHE_KMS_COMMAND")

    def wrap(self, key: bytes, context: str) -> bytes:
        """As the protocol has it."""
        return self._run("wrap", key, context)

    def unwrap(self, wrapped: bytes, context: str) -> bytes:
        """As the protocol has it."""
        return self._run("unwrap", wrapped, context)

    def make(self) -> None:
        """Nothing to make: the KMS has its keys."""

    def _run(self, act: str, data: bytes, context: str) -> bytes:
        try:
            done = subprocess.run(  # noqa: S603 - the operator's own command, no shell
                [*self._command, act, context],
                input=base64.b64encode(data) + b"\n",
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # it may quote what it was given
                timeout=_COMMAND_S,
                check=False,
            )
            if done.returncode:
                raise KeyUnavailable(f"the KMS command failed to {act} (status {done.returncode})")
            return base64.b64decode(done.stdout.strip(), validate=True)
        except (OSError, subprocess.TimeoutExpired, ValueError) as error:
            raise KeyUnavailable(f"the KMS command failed ({type(error).__name__})") from None


def key_service(settings: Settings) -> KeyService:
    """The service that the settings name.  Raises KeyUnavailable."""
    if settings.kms == "command":
        return CommandService(settings.kms_command)
    if settings.kms:
        for found in entry_points(group=GROUP, name=settings.kms):
            made: KeyService = found.load()(settings)
            return made
        raise KeyUnavailable(f"no installed package offers the KMS '{settings.kms}'")
    if settings.store_key:
        return SecretService(lambda: parse_secrets(settings.store_key), "LETHE_STORE_KEY")
    return FileService(settings.store_key_path)


def local_secrets(settings: Settings) -> tuple[bytes, ...]:
    """The secrets of environment or file, newest first; none where a KMS holds the keys."""
    if settings.kms:
        return ()
    if settings.store_key:
        return parse_secrets(settings.store_key)
    try:
        return parse_secrets(settings.store_key_path.read_text())
    except OSError:
        return ()


def parse_secrets(text: str) -> tuple[bytes, ...]:
    """Secrets divided by white space or commas, newest first."""
    return tuple(part.encode() for part in re.split(r"[\s,]+", text) if part)


def key_id(secret: bytes) -> bytes:
    """Eight bytes that tell one secret from another and say nothing else about it."""
    return hmac.digest(secret, b"lethe store key id v1", hashlib.sha256)[:_ID_BYTES]


def add_secret(path: Path, *, only_first: bool = False) -> None:
    """Put a new secret on top of the file's, durably; only_first: unless it has one already.

    Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_text() if path.exists() else ""
    if only_first and before.strip():
        return
    _write(path, f"{secrets.token_hex(32)}\n{before}", replace=bool(before))


def keep_newest(path: Path) -> None:
    """Remove every secret of the file but the first.  Raises OSError."""
    newest = parse_secrets(path.read_text())[0]
    _write(path, newest.decode() + "\n", replace=True)


def _write(path: Path, text: str, *, replace: bool) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, text.encode())
        os.fsync(file)
    finally:
        os.close(file)
    try:
        if replace:
            temporary.replace(path)
        else:
            path.hardlink_to(temporary)  # never replaces a secret made meanwhile
    except FileExistsError:
        pass
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _derived(secret: bytes) -> bytes:
    return hmac.digest(secret, b"lethe store key wrapping v1", hashlib.sha256)

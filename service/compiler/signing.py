"""Certificates signed, so that whoever has the public key can tell them from others.

Ed25519 (RFC 8032), over the canonical JSON of the certificate.  The key is made in the data folder
at first use; its public half lies beside it.
"""

import hashlib
import secrets
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import ValidationError

from models.artifact import Artifact, ArtifactStore, canonical_json
from service.compiler.certificate import Certificate
from service.settings import read_secret

KIND = "certificate"
_PURPOSE = b"lethe certificate v1\0"


class InvalidCertificate(ValueError):
    """Not a certificate, not signed with that key, or changed since."""


def signing_key(data_dir: Path) -> Ed25519PrivateKey:
    """The key of this installation, made where there is none.  Raises ValueError, OSError."""
    secret = read_secret(data_dir / "certificate.key")
    key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(_PURPOSE + secret).digest())
    public = data_dir / "certificate.pub"
    if not public.exists():
        public.write_text(public_key(key) + "\n")
    return key


def public_key(key: Ed25519PrivateKey) -> str:
    """Its public half, as 64 hexadecimal digits."""
    return key.public_key().public_bytes_raw().hex()


def store(certificate: Certificate, key: Ed25519PrivateKey, artifacts: ArtifactStore) -> str:
    """Store it signed; the artifact's digest.

    Sealed: its digest is part of a policy's, by which nobody may confirm a guessed name.
    """
    body = certificate.model_dump(mode="json")
    manifest = {
        "format": 1,
        "kind": KIND,
        "certificate": body,
        "signature": key.sign(_PURPOSE + canonical_json(body)).hex(),
        "blind": secrets.token_hex(32),
    }
    return artifacts.put(manifest, sealed=True)


def verify(artifact: Artifact, public: str) -> Certificate:
    """The certificate in an artifact, if it was signed with the key.

    public: 64 hexadecimal digits.  Raises InvalidCertificate.
    """
    manifest: Any = artifact.manifest
    try:
        body = manifest["certificate"]
        known = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        known.verify(bytes.fromhex(manifest["signature"]), _PURPOSE + canonical_json(body))
        if manifest["kind"] != KIND:
            raise InvalidCertificate("another kind of artifact")
        return Certificate.model_validate(body)
    except (KeyError, TypeError, InvalidSignature, ValidationError) as error:
        raise InvalidCertificate("not a certificate signed with this key") from error
    except InvalidCertificate:
        raise
    except ValueError as error:
        raise InvalidCertificate("key or signature is not hexadecimal") from error

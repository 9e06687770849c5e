"""The one opaque field that travels from gateway to engine with every request.

``base64url(json) . base64url(HMAC-SHA256)``: the edits, and what they are bound to (prompt digest
and length, cache salt, model, epoch, expiry).  It is sent also when there is nothing to edit, so
that an engine can refuse whatever did not come through a gateway.
"""

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any

from guards.case import Edit, Span
from models.artifact import canonical_json

FIELD = "lethe"  # the key in vLLM's extra_args (``vllm_xargs`` on the wire)
LIFETIME_S = 60
MAX_LENGTH = 1 << 20


class InvalidSignedEdits(ValueError):
    """The field is absent, malformed, forged, expired, or does not fit the request."""


@dataclass(frozen=True, slots=True)
class SignedEdits:
    """What a gateway vouches for.

    prompt: hex digest of the prompt ids.  length: their number.  cache_salt: the salt that the
    request must carry.  expires: seconds since the epoch of Unix.  forced: token ids that are not
    generated but scored after the prompt, each as if it had been; empty for an ordinary request.
    """

    request: str
    model: str
    epoch: int
    prompt: str
    length: int
    cache_salt: str
    expires: int
    edits: tuple[Edit, ...] = ()
    forced: tuple[int, ...] = ()

    def sign(self, key: bytes) -> str:
        """The field's value."""
        forced = {"forced": list(self.forced)} if self.forced else {}
        body = canonical_json(
            {
                **forced,
                "v": 1,
                "request": self.request,
                "model": self.model,
                "epoch": self.epoch,
                "prompt": self.prompt,
                "length": self.length,
                "cache_salt": self.cache_salt,
                "expires": self.expires,
                "edits": [
                    {
                        "guard": e.guard,
                        "artifact": e.artifact,
                        "positions": [list(span) for span in e.positions],
                    }
                    for e in self.edits
                ],
            }
        )
        return f"{_encode(body)}.{_encode(_mac(key, body))}"

    @staticmethod
    def verify(value: object, key: bytes, now: float) -> "SignedEdits":
        """Check the signature, then the form.  Raises InvalidSignedEdits, which quotes nothing."""
        if not isinstance(value, str) or len(value) > MAX_LENGTH:
            raise InvalidSignedEdits("absent or malformed")
        head, _, tail = value.partition(".")
        try:
            body, mac = _decode(head), _decode(tail)
        except (binascii.Error, ValueError) as error:
            raise InvalidSignedEdits("malformed") from error
        if not hmac.compare_digest(mac, _mac(key, body)):
            raise InvalidSignedEdits("wrong signature")
        signed = _parse(body)
        if signed.expires < now:
            raise InvalidSignedEdits("expired")
        return signed


def _parse(body: bytes) -> SignedEdits:
    try:
        value: dict[str, Any] = json.loads(body)
        if value["v"] != 1:
            raise InvalidSignedEdits("unknown version")
        signed = SignedEdits(
            request=value["request"],
            model=value["model"],
            epoch=value["epoch"],
            prompt=value["prompt"],
            length=value["length"],
            cache_salt=value["cache_salt"],
            expires=value["expires"],
            edits=tuple(
                Edit(
                    e["guard"],
                    e["artifact"],
                    tuple(Span(int(a), int(b)) for a, b in e["positions"]),
                )
                for e in value["edits"]
            ),
            forced=tuple(map(int, value.get("forced", ()))),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidSignedEdits("malformed") from error
    for edit in signed.edits:
        _check_positions(edit.positions, signed.length)
    return signed


def _check_positions(positions: tuple[Span, ...], length: int) -> None:
    last = 0
    for span in positions:
        if not last <= span.start < span.end <= length:
            raise InvalidSignedEdits("positions out of order or outside the prompt")
        last = span.end


def _mac(key: bytes, body: bytes) -> bytes:
    return hmac.new(key, b"lethe signed edits v1\0" + body, hashlib.sha256).digest()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)

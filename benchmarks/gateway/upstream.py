"""``python -m benchmarks.gateway.upstream PORT KEY_FILE``: an engine that costs next to nothing.

It answers every chat with the same words, whole or streamed, and proves itself to a gateway of the
key.  It is as much of an engine as the gateway's canary asks for: what is not signed is refused,
and prompts of which everything is edited are answered alike.  It applies nothing.
"""

import asyncio
import hashlib
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import httptools
import uvloop

from guards.needs import Capabilities
from guards.signed_edits import FIELD, SignedEdits
from service.admission import PREFIX
from service.attestation import NONCE_HEADER, PROOF_HEADER, prove

CHUNKS = 50
PACE_S = 0.01
WORD = "lorem "  # of one chunk
TEXT = "lorem ipsum dolor sit amet " * 30  # of an answer in one piece
BOOT = "benchmark"
PACED = re.compile(rb"paced stream ([a-z]+)")  # in a prompt: the chunks come one by one
SENT = "/sent/"  # and then the name: when each of them was sent, nanoseconds

_CAPABILITIES = Capabilities(frozenset({"embedding", "activations", "logits"}), runner="local")


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._parser = httptools.HttpRequestParser(self)
        self._path = self._nonce = b""
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it."""
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        """Parse it."""
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        """A new request."""
        self._body, self._nonce = [], b""

    def on_url(self, url: bytes) -> None:
        """Its path."""
        self._path = url

    def on_header(self, name: bytes, value: bytes) -> None:
        """The nonce that is to be proven over."""
        if name.lower() == NONCE_HEADER.encode():
            self._nonce = value

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Answer it."""
        body = b"".join(self._body)
        if self._path == b"/lethe/status":
            self._whole(200, {"workers": [_WORKER]})
        elif self._path.startswith(SENT.encode()):
            self._whole(200, _sent.pop(self._path.decode().removeprefix(SENT)))
        elif self._path.startswith(b"/lethe/"):
            self._whole(200, {"missing": []})
        elif self._path == b"/v1/completions":
            self._completion(json.loads(body))
        elif b'"stream":true' in body or b'"stream": true' in body:
            paced = PACED.search(body)
            self._stream(paced[1].decode() if paced else None)
        else:
            self._whole(200, _CHAT)

    def _completion(self, body: Any) -> None:
        if "vllm_xargs" not in body:
            error = {"message": f"{PREFIX} this request is not signed", "code": 400}
            self._whole(400, {"error": error})
            return
        signed = SignedEdits.verify(body["vllm_xargs"][FIELD], self._key, time.time())
        ids = [0] if signed.edits else body["prompt"]
        said = hashlib.sha256(json.dumps(ids).encode()).hexdigest()
        choice = {"index": 0, "text": said, "finish_reason": "length", "token_ids": None}
        self._whole(200, {"id": "x", "object": "text_completion", "choices": [choice]})

    def _head(self, status: int, kind: str, length: str) -> bytes:
        proof = f"{PROOF_HEADER}: {prove(self._key, BOOT, self._nonce.decode())}\r\n"
        shown = proof if self._nonce else ""
        return (f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\n{shown}{length}\r\n\r\n").encode()

    def _whole(self, status: int, value: Any) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self._transport.write(
            self._head(status, "application/json", f"content-length: {len(body)}") + body
        )

    def _stream(self, paced: str | None) -> None:
        self._transport.write(
            self._head(200, "text/event-stream", "transfer-encoding: chunked") + _framed(_FIRST)
        )
        if paced:
            self._pacing = asyncio.ensure_future(self._paced(paced))
            return
        self._transport.write(b"".join(_framed(_event(WORD)) for _ in range(CHUNKS)) + _END)

    async def _paced(self, name: str) -> None:
        times = _sent.setdefault(name, [])
        for _ in range(CHUNKS):
            await asyncio.sleep(PACE_S)
            times.append(time.monotonic_ns())
            self._transport.write(_framed(_event(WORD)))
        self._transport.write(_END)


_sent: dict[str, list[int]] = {}


def _event(text: str, **more: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None, **more}
    value = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "demo",
        "choices": [choice],
    }
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


_WORKER = {"capabilities": _CAPABILITIES.to_json(), "counts": {}}
_USAGE = {"prompt_tokens": 10, "completion_tokens": CHUNKS, "total_tokens": CHUNKS + 10}
_FIRST = _event("", delta={"role": "assistant", "content": ""})
_LAST = _event("", delta={}, finish_reason="stop")
_COUNTS = b"data: " + json.dumps({"id": "1", "choices": [], "usage": _USAGE}).encode() + b"\n\n"
_END = _framed(_LAST) + _framed(_COUNTS) + _framed(b"data: [DONE]\n\n") + b"0\r\n\r\n"
_CHAT = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "demo",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": TEXT},
                "finish_reason": "stop",
            }
        ],
        "usage": _USAGE,
    }
).encode()


async def serve(port: int, key: bytes) -> None:
    """Until killed."""
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(key), "127.0.0.1", port, backlog=4096
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), Path(sys.argv[2]).read_bytes().strip()))

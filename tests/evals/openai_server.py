"""A small real server of the OpenAI API whose answers a test makes."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = Any

MODEL = "small"


@dataclass(frozen=True)
class Sent:
    """What a request is answered with.

    body: of a joined answer; events: of a streamed one.  hang_up: close without an answer; in a
    stream, after the events and without the closing one.
    """

    status: int = 200
    body: Json = None
    events: Sequence[Json] = ()
    hang_up: bool = False


Answering = Callable[[str, Json], Sent]


@dataclass
class OpenAIServer:
    """Where it is, and what it was asked: paths with bodies, in the order of arrival."""

    url: str
    asked: list[tuple[str, Json]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)

    @property
    def bodies(self) -> list[Json]:
        return [body for _, body in self.asked]


@contextmanager
def openai_server(answering: Answering, models: Sequence[str] = (MODEL,)) -> Iterator[OpenAIServer]:
    """It runs in threads of this process."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path != "/v1/models":
                self._json(404, {"error": {"message": "no such route"}})
                return
            listed = [
                {"id": each, "object": "model", "created": 7, "owned_by": "x"} for each in models
            ]
            self._json(200, {"object": "list", "data": listed})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            server.asked.append((self.path, body))
            server.keys.add(self.headers["authorization"].removeprefix("Bearer "))
            sent = answering(self.path, body)
            if sent.events:
                self._stream(sent)
            elif sent.hang_up:
                self.close_connection = True
            else:
                self._json(sent.status, sent.body)

        def _json(self, status: int, body: Json) -> None:
            self._send(status, "application/json", json.dumps(body).encode())

        def _stream(self, sent: Sent) -> None:
            lines = [f"data: {json.dumps(event)}\n\n" for event in sent.events]
            whole = "".join([*lines, "data: [DONE]\n\n"]).encode()
            said = "".join(lines).encode() if sent.hang_up else whole
            self.close_connection = sent.hang_up
            self._send(sent.status, "text/event-stream", said, length=len(whole))

        def _send(self, status: int, kind: str, body: bytes, length: int | None = None) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(length or len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = OpenAIServer(f"http://127.0.0.1:{listening.server_port}/v1")
    thread = threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


def chat(content: str = "", **message: Json) -> Sent:
    """A joined chat answer."""
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": content, **message},
    }
    return _joined("chat.completion", [choice])


def completion(text: str) -> Sent:
    """A joined completion."""
    return _joined("text_completion", [{"index": 0, "finish_reason": "length", "text": text}])


def chunk(**delta: Json) -> Json:
    """One event of a streamed chat answer."""
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 7,
        "model": MODEL,
        "choices": [{"index": 0, "finish_reason": None, "delta": delta}],
    }


def completion_chunk(text: str) -> Json:
    """One event of a streamed completion."""
    choice = {"index": 0, "finish_reason": None, "text": text}
    return {**chunk(), "object": "text_completion", "choices": [choice]}


def usage(prompt: int, completion: int) -> Json:
    """The event that ends a stream whose usage was asked for."""
    counted = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    return {**chunk(), "choices": [], "usage": counted}


def error(message: str, code: str | None = None) -> Json:
    """An error's body."""
    return {"error": {"message": message, "type": "error", "param": None, "code": code}}


def _joined(kind: str, choices: Json) -> Sent:
    return Sent(
        body={
            "id": "c",
            "object": kind,
            "created": 7,
            "model": MODEL,
            "choices": choices,
            "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
        }
    )

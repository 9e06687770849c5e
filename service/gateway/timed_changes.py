"""Times changes of what is forgotten: from their arrival to the 2xx that says "in force"."""

import time

from service.gateway.exchange import App, Message, Receive, Scope, Send
from service.metric_labels import Change, ChangeOutcome
from service.metrics import Metrics

_PATH = "/v1/forget_requests"


class TimedChanges:
    """ASGI middleware around the admin plane.  It looks at method, path and status only."""

    def __init__(self, app: App, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        change = _change(scope)
        if change is None:
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._note(change, message["status"], time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, noting)

    def _note(self, change: Change, status: int, seconds: float) -> None:
        outcome: ChangeOutcome = "refused"
        if 200 <= status < 300:
            outcome = "enforced"
            self._metrics.activation_seconds.labels(change).observe(seconds)
        elif status >= 500:
            outcome = "pending"
        self._metrics.changes.labels(change, outcome).inc()


def _change(scope: Scope) -> Change | None:
    """Which change a request asks for: one forget request posted or revoked."""
    if scope["type"] != "http":
        return None
    asked = scope["method"], scope["path"].rstrip("/")
    if asked == ("POST", _PATH):
        return "forget"
    if asked[0] == "DELETE" and asked[1].startswith(f"{_PATH}/"):
        return "revoke"
    return None

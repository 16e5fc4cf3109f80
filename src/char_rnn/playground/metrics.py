"""What the server counts, for Prometheus."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from char_rnn.playground.batch import Batch


class Metrics:
    """Counts requests by where they went and how they ended.

    Attributes:
        requests: By endpoint and status.
        seconds: From the request to the answer's end, by endpoint.
        streams: Answers that are being streamed.
        began: When the server started, `time.monotonic`.
    """

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.streams = 0
        self.began = time.monotonic()

    def text(self, batches: Mapping[str, Batch]) -> str:
        """Return all in the text format 0.0.4 of Prometheus.

        Args:
            batches: By model.
        """
        requests = [(f'endpoint="{name}",status="{status}"', n) for (name, status), n in sorted(self.requests.items())]
        seconds = [(f'endpoint="{name}"', value) for name, value in sorted(self.seconds.items())]
        by_model = [(f'model="{_escaped(name)}"', batch) for name, batch in batches.items()]
        parts = [
            _metric("requests_total", "counter", "Requests answered.", requests),
            _metric("request_seconds_total", "counter", "Time from request to the end of its answer.", seconds),
            _metric("streams_active", "gauge", "Texts being streamed.", [("", self.streams)]),
            _metric("rows_active", "gauge", "Texts being computed.", [(of, batch.active) for of, batch in by_model]),
            _metric("queue", "gauge", "Texts about to join.", [(of, batch.waiting) for of, batch in by_model]),
            _metric("characters_total", "counter", "Symbols read.", [(of, batch.symbols) for of, batch in by_model]),
            _metric(
                "step_seconds_total", "counter", "Time computing.", [(of, batch.seconds) for of, batch in by_model]
            ),
            _metric("uptime_seconds", "gauge", "Since the start.", [("", time.monotonic() - self.began)]),
        ]
        return "".join(parts)


class Measured:
    """Counts what goes through it.

    Args:
        app: What answers; it leaves its `endpoint` in the scope.
        metrics: Where to count.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count it when it has been answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began = 500, time.monotonic()

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            name = getattr(scope.get("endpoint"), "__name__", "none")
            self._metrics.requests[name, status] += 1
            self._metrics.seconds[name] += time.monotonic() - began


def _metric(name: str, kind: str, about: str, values: Iterable[tuple[str, float]]) -> str:
    lines = [f"# HELP char_rnn_{name} {about}", f"# TYPE char_rnn_{name} {kind}"]
    lines += [f"char_rnn_{name}{f'{{{labels}}}' if labels else ''} {value}" for labels, value in values]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

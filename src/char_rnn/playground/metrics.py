"""Counts of requests and texts, for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from char_rnn.playground.served_model import ServedModel


class Metrics(Collector):
    """Counts of one server, in a `registry` of their own; `collect` adds those of the models' schedulers."""

    def __init__(self, models: Mapping[str, ServedModel]) -> None:
        self._models, began = models, time.monotonic()
        self.registry = own = CollectorRegistry()
        self.requests = Counter("char_rnn_requests", "Requests answered.", ["endpoint", "status"], registry=own)
        self.seconds = Counter("char_rnn_request_seconds", "Seconds of answering.", ["endpoint"], registry=own)
        self.streams = Gauge("char_rnn_streams_active", "Texts being streamed.", registry=own)
        uptime = Gauge("char_rnn_uptime_seconds", "Seconds since the start.", registry=own)
        uptime.set_function(lambda: time.monotonic() - began)
        own.register(self)

    def collect(self) -> Iterator[Metric]:
        """Return the counts of the schedulers, with those of the learned copies."""
        for family, attribute in (
            (GaugeMetricFamily("char_rnn_rows_active", "Texts being computed.", labels=["model"]), "active"),
            (GaugeMetricFamily("char_rnn_queue", "Texts waiting to be computed.", labels=["model"]), "waiting"),
            (CounterMetricFamily("char_rnn_characters", "Symbols read.", labels=["model"]), "symbols"),
            (CounterMetricFamily("char_rnn_step_seconds", "Seconds of computing.", labels=["model"]), "seconds"),
        ):
            for name, model in self._models.items():
                family.add_metric([name], model.count(attribute))
            yield family
        copies = GaugeMetricFamily("char_rnn_learned_copies", "Learned copies in memory.", labels=["model"])
        for name, model in self._models.items():
            copies.add_metric([name], model.learned_copies)
        yield copies


class Measured:
    """Middleware that counts requests by the `endpoint` that the router stores in the scope."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, then count it."""
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
            self._metrics.requests.labels(name, status).inc()
            self._metrics.seconds.labels(name).inc(time.monotonic() - began)

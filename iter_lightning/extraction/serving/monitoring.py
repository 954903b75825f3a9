"""What a server tells Prometheus; every application has a registry of its own."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_DOCUMENTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_WORDS = (16, 64, 256, 1024, 4096, 16384)


class Monitoring:
    """Counters, gauges and histograms of one server.

    Args:
        open_requests: how many are in the server.
        queue_length: how many of them wait for the model.
        working: whether the model does.
    """

    def __init__(
        self, open_requests: Callable[[], float], queue_length: Callable[[], float], working: Callable[[], bool]
    ) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "iter_requests", "Requests to /extract by status; 499: the client went", ["status"], registry=registry
        )
        self.documents = Counter("iter_documents", "Documents answered", registry=registry)
        self.characters = Counter("iter_characters", "Characters of documents answered", registry=registry)
        self.entities = Counter("iter_entities", "Entities answered", registry=registry)
        self.relations = Counter("iter_relations", "Relations answered", registry=registry)
        self.failed_calls = Counter("iter_model_failures", "Calls of the model that failed", registry=registry)
        self.batch_documents = Histogram(
            "iter_batch_documents", "Documents in one call of the model", buckets=_DOCUMENTS, registry=registry
        )
        self.batch_words = Histogram(
            "iter_batch_words", "Words in one call of the model", buckets=_WORDS, registry=registry
        )
        self.waiting = Histogram(
            "iter_waiting_seconds",
            "Of an answered request: time outside of the model",
            buckets=_SECONDS,
            registry=registry,
        )
        self.computing = Histogram(
            "iter_computing_seconds",
            "Of an answered request: time inside the model's calls",
            buckets=_SECONDS,
            registry=registry,
        )
        Gauge("iter_open_requests", "Requests being read, waiting or computed", registry=registry).set_function(
            open_requests
        )
        Gauge("iter_queue_length", "Requests in line for the model", registry=registry).set_function(queue_length)
        Gauge("iter_model_working", "1 while the model works", registry=registry).set_function(lambda: float(working()))

    def call(self, documents: int, words: int) -> None:
        """Count one call of the model."""
        self.batch_documents.observe(documents)
        self.batch_words.observe(words)

    def text(self) -> bytes:
        """As `/metrics` gives it."""
        return generate_latest(self.registry)

"""Prometheus metrics of a server, with one registry per application."""

from __future__ import annotations

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_DOCUMENTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_WORDS = (16, 64, 256, 1024, 4096, 16384)


class Metrics:
    """Counters, gauges and histograms of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        counter, gauge = partial(Counter, registry=self.registry), partial(Gauge, registry=self.registry)
        histogram = partial(Histogram, registry=self.registry)
        self.requests = counter("iter_requests", "Requests to /extract by status; 499: the client left", ["status"])
        self.documents = counter("iter_documents", "Documents answered")
        self.characters = counter("iter_characters", "Characters of documents answered")
        self.entities = counter("iter_entities", "Entities answered")
        self.relations = counter("iter_relations", "Relations answered")
        self.failed_calls = counter("iter_model_failures", "Calls of the model that failed")
        self.open_requests = gauge("iter_open_requests", "Requests being read, waiting or computed")
        self.queue_length = gauge("iter_queue_length", "Requests in line for the model")
        self.model_working = gauge("iter_model_working", "1 while the model works")
        self.batch_documents = histogram(
            "iter_batch_documents", "Sentences or documents in a call of the model", buckets=_DOCUMENTS
        )
        self.batch_words = histogram("iter_batch_words", "Words in a call of the model", buckets=_WORDS)
        self.waiting = histogram(
            "iter_waiting_seconds", "Time of an answered request outside the model", buckets=_SECONDS
        )
        self.computing = histogram(
            "iter_computing_seconds", "Time of an answered request inside the model", buckets=_SECONDS
        )

"""A backend that answers by rule and can be held up, and an application to put it behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from iter_lightning.apps.serve.app import create_app
from iter_lightning.apps.serve.batching import PROBE
from iter_lightning.apps.serve.options import ServeOptions
from iter_lightning.apps.serve.service import Service
from iter_lightning.errors import ConfigError
from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.extractor import Extractor
from iter_lightning.extraction.labels import Labels
from iter_lightning.extraction.splitting import Splitter
from iter_lightning.types import Entity, Example, Prediction, Relation, Schema

RULES = """
import sys, time
from iter_lightning.apps.serve.server import bind, run
from tests.apps.serve.builders import PlainSplitter, RuleBackend, rule_app

class Slow(RuleBackend):
    def predict(self, examples, link_threshold, max_tokens):
        examples = list(examples)
        if any("Slow" in example.words for example in examples):
            time.sleep(float(sys.argv[1]))
        return super().predict(examples, link_threshold, max_tokens)

options = dict(argument.split("=") for argument in sys.argv[2:])
run(rule_app(Slow(), split=PlainSplitter(), **options), bind("127.0.0.1", 0))
"""
"""A server without a model: its arguments are the seconds for the word "Slow", and options as NAME=VALUE."""
SCHEMA = Schema(("Name",), ("Next", "Before"))


def score_of(*words: str) -> float:
    """A number in [0, 1) that the words decide."""
    return zlib.crc32(" ".join(words).encode()) % 1000 / 1000


@dataclass
class RuleBackend:
    """Finds each word that begins with a capital, and links each two neighbours among them."""

    schema: Schema = SCHEMA
    open: bool = False
    link_threshold: float = 0.5
    gate: threading.Event = field(default_factory=threading.Event)
    """While it is clear, calls wait (but for the probe)."""
    called: threading.Event = field(default_factory=threading.Event)
    calls: list[list[Example]] = field(default_factory=list)
    thresholds: list[float] = field(default_factory=list)
    failure: BaseException | None = None
    """Raised from then on."""

    def __post_init__(self) -> None:
        self.gate.set()

    def predict(self, examples: Iterable[Example], link_threshold: float, max_tokens: int) -> Iterator[Prediction]:
        examples = list(examples)
        if examples != [PROBE]:
            self.calls.append(examples)
            self.thresholds.append(link_threshold)
            self.called.set()
            assert self.gate.wait(10), "a test left the gate shut"
        if self.failure:
            raise self.failure
        for example in examples:
            if "Poison" in example.words:
                raise RuntimeError("cannot swallow this")
            yield self.found(example, link_threshold)

    def found(self, example: Example, link_threshold: float) -> Prediction:
        names = [
            Entity(i, i + 1, self.schema.entity_types[0]) for i, word in enumerate(example.words) if word[:1].isupper()
        ]
        links = [
            (Relation(head, tail, kind), score)
            for head, tail in pairwise(names)
            for kind in self.schema.relation_types
            if (score := score_of(example.text_of(head), kind, example.text_of(tail))) > link_threshold
        ]
        scores = tuple(score_of(example.text_of(name)) for name in names)
        return Prediction(tuple(names), tuple(link for link, _ in links), scores, tuple(score for _, score in links))

    def bind(self, labels: Labels) -> RuleBackend:
        """Return a backend that notes its calls in the same lists."""
        if not self.open:
            raise ConfigError("only an open model has types of your choice")
        if "Poison" in labels.schema.entity_types:
            raise RuntimeError("cannot swallow this")
        bound = copy(self)
        bound.schema, bound.open = labels.schema, False
        return bound

    @property
    def read(self) -> set[str]:
        """Every sentence that reached the model."""
        return {" ".join(example.words) for call in self.calls for example in call}


class PlainSplitter(Splitter):
    """Words at white space, one sentence a text, without spaCy, which takes a while to import."""

    def __init__(self) -> None:
        self.language = "xx"

    def __call__(self, documents: Sequence[Document]) -> list[Document]:
        return [document if document.words else self._words(document) for document in documents]

    def _words(self, document: Document) -> Document:
        words = tuple(match.span() for match in re.finditer(r"\S+", document.text))
        return replace(document, words=words, sentences=((words[0][0], words[-1][1]),) if words else ())


@cache
def splitter() -> Splitter:
    """Of the applications: one thread at a time may use it."""
    return Splitter("en")


def alone() -> Extractor:
    """What an application with a `RuleBackend` must agree with."""
    return Extractor(RuleBackend(), Splitter("en"))


def rule_app(
    backend: RuleBackend | None = None, max_tokens: int = 4096, split: Splitter | None = None, **options: Any
) -> FastAPI:
    extractor = Extractor(backend or RuleBackend(), split or splitter(), max_tokens=max_tokens)
    return create_app(extractor, ServeOptions(**options))


@asynccontextmanager
async def client_of(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the running application."""
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://server", timeout=20) as client:
            yield client


def service_of(app: FastAPI) -> Service:
    service: Service = app.state.service
    return service


@contextmanager
def served(*arguments: str, shell: str = "") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server's process, `python ARGUMENTS`, and its address. It is killed at the end, if it has not ended."""
    root = Path(__file__).parents[3]
    command = ["sh", "-c", f'{shell} exec "$@"', "sh", sys.executable, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    with subprocess.Popen(command, cwd=root, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            lines = []
            for line in process.stderr:
                lines.append(line)
                if found := re.search(r"INFO serving .* on (http://\S+)$", line):
                    break
            else:
                raise AssertionError("".join(lines))
            yield process, found[1]
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit status and what else was logged."""
    _, errors = process.communicate(timeout=20)
    return process.returncode, errors

"""Measure a server under many clients, and compare each answer with offline extraction.

    python benchmarks/serving_load.py http://127.0.0.1:8000 --clients 64 --seconds 25 --check runs/mine/seed1

Each client sends its next request when the one before is answered. Latencies include the time of this program.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import math
import re
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from iter_lightning.types import NO_LIMITS, WindowLimits

Found = tuple[frozenset[tuple[int, int, str]], frozenset[tuple[int, int, int, int, str]]]
"""Entities and relations without scores, whose last digits depend on what shares a batch."""


@dataclass
class Tally:
    """The answers that the clients got."""

    latencies: list[float] = field(default_factory=list)
    """Seconds of answers with status 200."""
    statuses: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    """Answers to another request, or that differ from offline extraction."""
    texts: int = 0


def sentences_of(path: Path | None) -> list[str]:
    """Return the lines of a file, or generated sentences."""
    if path is not None:
        return list(dict.fromkeys(filter(None, map(str.strip, path.read_text(encoding="utf-8").splitlines()))))
    from iter_lightning.corpora.synthetic import SyntheticConfig, synthetic_splits

    splits = synthetic_splits(SyntheticConfig(sentences=400))
    return sorted({" ".join(example.words) for examples in splits.values() for example in examples})


def offline(sentences: Sequence[str], model: str, limits: WindowLimits = NO_LIMITS) -> dict[str, Found]:
    """Return what the model finds in each sentence without a server."""
    from iter_lightning.extraction.extractor import Extractor

    extractor = Extractor.from_pretrained(model, limits=limits)
    return {document.text: found_in(document.to_dict()) for document in extractor(sentences)}


def found_in(document: Mapping[str, Any]) -> Found:
    """Return the entities and relations of a document in JSON, comparable."""
    spans = [(entity["start"], entity["end"]) for entity in document["entities"]]
    entities = frozenset((*span, entity["type"]) for span, entity in zip(spans, document["entities"], strict=True))
    links = frozenset((*spans[link["head"]], *spans[link["tail"]], link["type"]) for link in document["relations"])
    return entities, links


async def client(
    http: httpx.AsyncClient, numbers: itertools.count[int], sentences: Sequence[str], expected: Mapping[str, Found],
    tally: Tally, until: float, texts: int = 1,
) -> None:  # fmt: skip
    """Send requests until a time of `time.perf_counter`, and count what comes back."""
    while (began := time.perf_counter()) < until:
        number = next(numbers)
        asked = [
            {"id": f"{number}-{place}", "text": sentences[(number * texts + place) % len(sentences)]}
            for place in range(texts)
        ]  # fmt: skip
        try:
            response = await http.post("extract", json={"documents": asked})
        except httpx.HTTPError as error:
            tally.statuses[type(error).__name__] += 1
            await asyncio.sleep(0.1)
            continue
        tally.statuses[str(response.status_code)] += 1
        if response.status_code == 200:
            tally.latencies.append(time.perf_counter() - began)
            tally.texts += texts
            tally.wrong += wrong(response.json()["documents"], asked, expected)
        elif response.status_code == 429:
            await asyncio.sleep(min(float(response.headers["retry-after"]), max(until - time.perf_counter(), 0)))


def wrong(answered: Sequence[Any], asked: Sequence[Mapping[str, str]], expected: Mapping[str, Found]) -> list[str]:
    """Return a line for each document that is not the right answer."""
    if [{"id": document["id"], "text": document["text"]} for document in answered] != list(asked):
        return [f"asked {asked}, got {answered}"]
    return [
        f"{document['text']!r}: found {found_in(document)}, offline {expected[document['text']]}"
        for document in answered
        if expected and found_in(document) != expected[document["text"]]
    ]


def resident(metrics: str) -> float:
    """Return the server's resident memory in MiB, from the text of its /metrics."""
    found = re.search(r"^process_resident_memory_bytes (\S+)$", metrics, re.MULTILINE)
    return float(found[1]) / 2**20 if found else math.nan


async def run(options: argparse.Namespace, sentences: Sequence[str], expected: Mapping[str, Found]) -> Tally:
    """Run the clients and print what they saw."""
    limits = httpx.Limits(max_connections=options.clients + 1, max_keepalive_connections=options.clients + 1)
    async with httpx.AsyncClient(base_url=options.url, limits=limits, timeout=options.timeout) as http:
        before, tally, began = resident((await http.get("metrics")).text), Tally(), time.perf_counter()
        numbers, until = itertools.count(), began + options.seconds
        await asyncio.gather(*(
            client(http, numbers, sentences, expected, tally, until, options.texts) for _ in range(options.clients)
        ))  # fmt: skip
        seconds, after = time.perf_counter() - began, resident((await http.get("metrics")).text)
    ordered = sorted(tally.latencies)
    print(f"{len(ordered)} answers in {seconds:.1f} s: {len(ordered) / seconds:.1f} requests/s, "
          f"{tally.texts / seconds:.1f} texts/s")  # fmt: skip
    if ordered:
        parts = [f"p{p} {1000 * ordered[max(math.ceil(p / 100 * len(ordered)) - 1, 0)]:.0f}" for p in (50, 95, 99)]
        print(f"latency ms: {'  '.join(parts)}  max {1000 * ordered[-1]:.0f}")
    print(f"status: {'  '.join(f'{status} {number}' for status, number in sorted(tally.statuses.items()))}")
    print(f"wrong answers: {len(tally.wrong)}", *tally.wrong[:5], sep="\n  ")
    print(f"server's resident memory: {before:.0f} MiB before, {after:.0f} MiB after")
    return tally


def main() -> int:
    """Return 1 if an answer was wrong or none came."""
    parser = argparse.ArgumentParser(description="Measure a server under many clients.")
    add = parser.add_argument
    add("url", metavar="URL", help="such as http://127.0.0.1:8000")
    add("--clients", type=int, metavar="N", default=64, help="default %(default)s")
    add("--seconds", type=float, metavar="S", default=20.0, help="default %(default)s")
    add("--texts", type=int, metavar="N", default=1, help="texts in a request; default %(default)s")
    add("--file", type=Path, metavar="FILE", help="one sentence in each line; default: generated ones")
    add("--check", metavar="MODEL", help="compare with what this model finds without a server")
    add("--timeout", type=float, metavar="S", default=90.0, help="of a request; default %(default)s")
    options = parser.parse_args()
    sentences = sentences_of(options.file)
    tally = asyncio.run(run(options, sentences, offline(sentences, options.check) if options.check else {}))
    return 1 if tally.wrong or not tally.latencies else 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m iter_lightning.extraction.serving.load URL`: many clients at once, and whether each gets its own answer.

Each client sends its next request when the one before is answered, so what is measured is the pace the server keeps
with so many clients waiting; latencies are the clients', and this program's share of the machine is in them.
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
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iter_lightning.errors import ConfigError, IterError

if TYPE_CHECKING:
    import httpx

Found = tuple[frozenset[tuple[int, int, str]], frozenset[tuple[int, int, int, int, str]]]
"""Entities and relations without scores, which differ in the last digits with what shares a batch."""
SHOWN = 5
"""Wrong answers told."""
MOST_CLIENTS = 1024
_TOLERANCE = 30.0


@dataclass
class Tally:
    """What the clients saw."""

    latencies: list[float] = field(default_factory=list)
    """Seconds of answers with status 200."""
    statuses: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    """Answers to something else than was asked, or with something else than is found offline."""
    texts: int = 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the clients and print what they saw; 1 where an answer was wrong or none came, 2 for a fault of usage."""
    options = _parser().parse_args(arguments)
    try:
        sentences = read_sentences(options.file)
        expected = offline(sentences, options.check) if options.check else {}
        return asyncio.run(_run(options, sentences, expected))
    except IterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def read_sentences(path: Path | None) -> list[str]:
    """The lines of a file, or generated sentences.

    Raises:
        ConfigError: a file without any, or that cannot be read.
    """
    if path is None:
        from iter_lightning.corpora.synthetic import SyntheticConfig, synthetic_splits

        splits = synthetic_splits(SyntheticConfig(sentences=400))
        return sorted({" ".join(example.words) for examples in splits.values() for example in examples})
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    if not (found := list(dict.fromkeys(filter(None, lines)))):
        raise ConfigError(f"{path}: no line that holds text")
    return found


def offline(sentences: Sequence[str], model: str) -> dict[str, Found]:
    """What the model finds in each sentence without a server."""
    from iter_lightning.extraction.extractor import Extractor

    documents = Extractor.from_pretrained(model)(list(sentences))
    return {document.text: _found(document.to_dict()) for document in documents}


async def _run(options: argparse.Namespace, sentences: Sequence[str], expected: dict[str, Found]) -> int:
    try:
        import httpx
    except ImportError as error:
        raise ConfigError("the load client needs httpx: pip install httpx") from error
    limits = httpx.Limits(max_connections=options.clients + 1, max_keepalive_connections=options.clients + 1)
    async with httpx.AsyncClient(base_url=options.url, limits=limits, timeout=_TOLERANCE + options.timeout) as client:
        try:
            await client.get("ready")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ConfigError(f"{options.url}: no server answers: {error}") from error
        before, tally, began = await _memory(client), Tally(), time.perf_counter()
        numbers = itertools.count() if options.requests is None else iter(range(options.requests))
        await asyncio.gather(*(
            _client(client, numbers, sentences, expected, tally, began + options.seconds, options.texts)
            for _ in range(options.clients)
        ))  # fmt: skip
        seconds, after = time.perf_counter() - began, await _memory(client)
    _report(tally, seconds, before, after, bool(expected))
    return 1 if tally.wrong or not tally.latencies else 0


async def _client(
    client: httpx.AsyncClient, numbers: Any, sentences: Sequence[str], expected: dict[str, Found], tally: Tally,
    until: float, texts: int,
) -> None:  # fmt: skip
    import httpx

    while (now := time.perf_counter()) < until and (number := next(numbers, None)) is not None:
        asked = [sentences[(number * texts + place) % len(sentences)] for place in range(texts)]
        ids = [f"{number}-{place}" for place in range(texts)]
        documents = [{"id": name, "text": text} for name, text in zip(ids, asked, strict=True)]
        try:
            response = await client.post("extract", json={"documents": documents})
        except httpx.HTTPError as error:
            tally.statuses[type(error).__name__] += 1
            continue
        tally.statuses[str(response.status_code)] += 1
        if response.status_code == 200:
            tally.latencies.append(time.perf_counter() - now)
            tally.texts += texts
            tally.wrong += _faults(response.json()["documents"], ids, asked, expected)
        elif response.status_code == 429:
            await asyncio.sleep(min(float(response.headers["retry-after"]), max(until - time.perf_counter(), 0)))


def _faults(found: list[dict[str, Any]], ids: list[str], texts: list[str], expected: dict[str, Found]) -> list[str]:
    got = [(document["id"], document["text"]) for document in found]
    if got != list(zip(ids, texts, strict=True)):
        return [f"asked for {list(zip(ids, texts, strict=True))!r}, got {got!r}"]
    return [
        f"{document['text']!r}: found {_found(document)}, offline {expected[document['text']]}"
        for document in found
        if expected and _found(document) != expected[document["text"]]
    ]


def _found(document: dict[str, Any]) -> Found:
    spans = [(entity["start"], entity["end"]) for entity in document["entities"]]
    entities = frozenset((*span, entity["type"]) for span, entity in zip(spans, document["entities"], strict=True))
    links = frozenset((*spans[link["head"]], *spans[link["tail"]], link["type"]) for link in document["relations"])
    return entities, links


async def _memory(client: httpx.AsyncClient) -> float | None:
    import httpx

    try:
        text = (await client.get("metrics")).text
    except httpx.HTTPError:  # the server has ended: what the clients saw is told all the same
        return None
    found = re.search(r"^process_resident_memory_bytes (\S+)$", text, re.MULTILINE)
    return float(found[1]) / 2**20 if found else None


def _report(tally: Tally, seconds: float, before: float | None, after: float | None, checked: bool) -> None:
    ordered = sorted(tally.latencies)
    print(f"{len(ordered)} answers in {seconds:.1f} s: {len(ordered) / seconds:.1f} requests/s, "
          f"{tally.texts / seconds:.1f} texts/s")  # fmt: skip
    if ordered:
        parts = [f"p{p} {1000 * ordered[max(math.ceil(p / 100 * len(ordered)) - 1, 0)]:.0f}" for p in (50, 95, 99)]
        print(f"latency ms: {'  '.join(parts)}  max {1000 * ordered[-1]:.0f}")
    print(f"status: {'  '.join(f'{status} {number}' for status, number in sorted(tally.statuses.items()))}")
    what = "text and entities" if checked else "text"
    print(f"wrong answers ({what} compared): {len(tally.wrong)}")
    for line in tally.wrong[:SHOWN]:
        print(f"  {line}")
    if before and after:
        print(f"server's resident memory: {before:.0f} MiB before, {after:.0f} MiB after")


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_CLIENTS:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to {MOST_CLIENTS}, found {text!r}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m iter_lightning.extraction.serving.load", description="Many clients at a server, for a while."
    )
    add = parser.add_argument
    add("url", metavar="URL", help="http://127.0.0.1:8000")
    add("--clients", type=_count, metavar="N", default=64, help=f"up to {MOST_CLIENTS}; default %(default)s")
    add("--seconds", type=float, metavar="S", default=20.0, help="stop after; default %(default)s")
    add("--requests", type=int, metavar="N", help="stop after so many; default: time alone decides")
    add("--texts", type=_count, metavar="N", default=1, help="a request; default %(default)s")
    add("--file", type=Path, metavar="FILE", help="a sentence a line; default: generated ones")
    add("--check", metavar="MODEL", help="compare with what this model finds without a server (same defaults)")
    add("--timeout", type=float, metavar="S", default=30.0, help="the server's; default %(default)s")
    return parser


if __name__ == "__main__":
    sys.exit(main())

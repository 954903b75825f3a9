"""Entities and relations in word offsets, for formats that count words."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from iter_lightning.extraction.documents import Document, TextEntity
from iter_lightning.extraction.writers.losses import Losses


@dataclass
class Unit:
    """A sentence, or a document, as words; entities and relations count from its first one."""

    words: tuple[str, ...]
    entities: list[tuple[int, int, str]] = field(default_factory=list)
    """Start, end (exclusive) and type, none twice."""
    relations: list[tuple[int, int, str]] = field(default_factory=list)
    """Head and tail, as places in `entities`, and type."""


def units_of(document: Document, context: str, losses: Losses, relations: bool = True) -> list[Unit]:
    """A document's units in order, with `relations` or without; what has no place in one is counted as lost."""
    bounds = document.units(context)
    units = [Unit(document.word_texts(unit)) for unit in bounds]
    if not units:
        losses.add("holds no document without words")
    placed = _place_entities(document, bounds, units, losses)
    seen: set[tuple[int, int, int, str]] = set()
    for relation in document.relations if relations else ():
        head, tail = placed.get(relation.head), placed.get(relation.tail)
        if head is None or tail is None:
            losses.add("holds no relation of an entity it does not hold")
        elif head[0] != tail[0]:
            losses.add("holds no relation across sentences")
        else:
            link = (head[0], head[1], tail[1], relation.type)
            if link not in seen:
                units[head[0]].relations.append(link[1:])
            seen.add(link)
    return units


def _place_entities(
    document: Document, bounds: Sequence[tuple[int, int]], units: Sequence[Unit], losses: Losses
) -> dict[TextEntity, tuple[int, int]]:
    """Fill the units' entities; the unit and the place in it of each."""
    firsts = [first for first, _ in bounds]
    known: list[dict[tuple[int, int, str], int]] = [{} for _ in units]
    placed: dict[TextEntity, tuple[int, int]] = {}
    for entity in document.entities:
        first, last = document.word_bounds(entity)
        if first >= last:
            losses.add("holds no entity outside of words")
            continue
        unit = bisect_right(firsts, first) - 1
        offset, end = bounds[unit]
        if last > end:
            losses.add("holds no entity across sentences")
            continue
        if (document.words[first][0], document.words[last - 1][1]) != (entity.start, entity.end):
            losses.add("holds no part of a word", 1, "widened to words")
        span = (first - offset, last - offset, entity.type)
        place = known[unit].setdefault(span, len(known[unit]))
        if place == len(units[unit].entities):
            units[unit].entities.append(span)
        placed[entity] = unit, place
    return placed

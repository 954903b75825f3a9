"""Express entities and relations in words, for formats that count words."""

from __future__ import annotations

from bisect import bisect_right

from iter_lightning.extraction.documents import Document, TextEntity
from iter_lightning.extraction.formats.support.writing import Losses
from iter_lightning.types import Entity, Example, Relation


def word_examples(document: Document, context: str, losses: Losses, relations: bool = True) -> list[Example]:
    """Return the units of a document (sentences, or the document) as examples.

    Args:
        document: with entities and relations.
        context: `sentence` or `document`.
        losses: counts entities and relations that do not lie in one unit, or not on word boundaries.
        relations: whether the format has relations.
    """
    bounds = document.units(context)
    firsts = [first for first, _ in bounds]
    if not bounds:
        losses.add("holds no document without words")
    entities: list[dict[Entity, None]] = [{} for _ in bounds]
    links: list[dict[Relation, None]] = [{} for _ in bounds]
    placed: dict[TextEntity, tuple[int, Entity]] = {}
    for entity in document.entities:
        first, last = document.word_bounds(entity)
        unit = bisect_right(firsts, first) - 1
        if first >= last:
            losses.add("holds no entity outside of words")
        elif last > bounds[unit][1]:
            losses.add("holds no entity across sentences")
        else:
            if (document.words[first][0], document.words[last - 1][1]) != (entity.start, entity.end):
                losses.add("holds no part of a word", 1, "widened to words")
            placed[entity] = unit, Entity(first - firsts[unit], last - firsts[unit], entity.type)
            entities[unit][placed[entity][1]] = None
    for relation in document.relations if relations else ():
        head, tail = placed.get(relation.head), placed.get(relation.tail)
        if head is None or tail is None:
            losses.add("holds no relation of an entity it does not hold")
        elif head[0] != tail[0]:
            losses.add("holds no relation across sentences")
        else:
            links[head[0]][Relation(head[1], tail[1], relation.type)] = None
    return [
        Example(document.word_texts(unit), tuple(entities[number]), tuple(links[number]), id=document.id)
        for number, unit in enumerate(bounds)
    ]

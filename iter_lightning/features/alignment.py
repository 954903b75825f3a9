"""Words to subwords and back, windows over long texts, and what an encoding can express.

Gold annotation leaves this file sparse, as subword positions of one window. What no window can express (an
entity beyond the omega closest lefts, or one longer than every window) is kept on the `EncodedExample`, never
dropped unseen: evaluation scores against the corpus's own `Example`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from transformers import PreTrainedTokenizerBase

from iter_lightning.errors import ConfigError, EncoderError
from iter_lightning.types import Entity, Example, Relation, Schema

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Features:
    """One window of an example as the encoder reads it, with the gold it can express.

    Positions are subword indices into `input_ids`; `right` is the position of the last subword, inclusive.
    """

    input_ids: list[int]
    word_of_subword: list[int]
    """The word of `Example.words` a subword belongs to; -1 for special tokens and context."""
    first_word: int
    """The window covers the words `first_word` to `last_word`, the latter exclusive."""
    last_word: int
    lefts: tuple[int, ...] = ()
    """Sorted positions of all gold left brackets."""
    spans: tuple[Span, ...] = ()
    """Distinct gold (left, right)."""
    span_types: tuple[tuple[int, int], ...] = ()
    """(row of `spans`, entity type)."""
    links: tuple[tuple[int, int, int], ...] = ()
    """(head row of `spans`, tail row, relation type), symmetric types in both directions."""

    def __len__(self) -> int:
        return len(self.input_ids)


@dataclass(frozen=True, slots=True)
class EncodedExample:
    """An example with its windows and the gold entities and relations that none of them can express."""

    example: Example
    windows: tuple[Features, ...]
    omega: int
    """The omega that the gold was encoded for."""
    index: int = 0
    """The example's place among those that were encoded together."""
    lost_entities: tuple[Entity, ...] = ()
    lost_relations: tuple[Relation, ...] = ()
    erased_words: tuple[int, ...] = ()
    """Words the tokenizer makes nothing of; each is read as the unknown token."""
    clipped_words: tuple[int, ...] = ()
    """Words of more subwords than a window holds, of which only the first and last are read."""

    def __len__(self) -> int:
        return max(len(window) for window in self.windows)

    def encoded_gold(self) -> Example:
        """The example reduced to what the encoding can express (`gold: encoded`)."""
        lost_entities, lost_relations = set(self.lost_entities), set(self.lost_relations)
        return Example(
            words=self.example.words,
            entities=tuple(e for e in self.example.entities if e not in lost_entities),
            relations=tuple(r for r in self.example.relations if r not in lost_relations),
            id=self.example.id,
        )


class Aligner:
    """Turns examples into windows of subwords for one tokenizer, schema and omega.

    Args:
        tokenizer: a fast tokenizer that accepts pre-split words.
        schema: indices of `Features` count its types in order.
        omega: how many of the closest preceding lefts a right may pair with.
        max_subwords: the longest window, special tokens included.
        overlap: how many subwords consecutive windows share, at most.
        self_links: whether the model can link an entity to itself; relations that do are lost if it cannot.

    Raises:
        EncoderError: the tokenizer is not a fast one or has no unknown token.
        ConfigError: `overlap` leaves no room to advance.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, schema: Schema, omega: int, max_subwords: int, overlap: int = 64,
        self_links: bool = True,
    ) -> None:  # fmt: skip
        if not tokenizer.is_fast:
            raise EncoderError(f"the tokenizer {type(tokenizer).__name__} is not a fast one, as word alignment needs")
        self.tokenizer = tokenizer
        self.schema = schema
        self.omega = omega
        self.max_subwords = max_subwords
        self.overlap = overlap
        self.self_links = self_links
        probe = tokenizer("a", return_special_tokens_mask=True)
        text = [i for i, special in enumerate(probe["special_tokens_mask"]) if not special]
        if not text:
            raise EncoderError(f"the tokenizer {type(tokenizer).__name__} makes no token of the text 'a'")
        self.prefix: list[int] = probe["input_ids"][: text[0]]
        self.suffix: list[int] = probe["input_ids"][text[-1] + 1 :]
        self.budget = max_subwords - len(self.prefix) - len(self.suffix)
        if not 0 <= overlap <= self.budget // 2:
            raise ConfigError(
                f"windows of {max_subwords} subwords cannot overlap by {overlap}: at most half of {self.budget}"
            )
        self._unknown = tokenizer.unk_token_id if tokenizer.unk_token_id is not None else tokenizer.pad_token_id
        if self._unknown is None:
            raise EncoderError(f"the tokenizer {type(tokenizer).__name__} has neither an unknown nor a padding token")
        self._entity_index = {name: i for i, name in enumerate(schema.entity_types)}
        self._relation_index = {name: i for i, name in enumerate(schema.relation_types)}

    def encode(self, examples: Sequence[Example]) -> list[EncodedExample]:
        """Encode examples, in order.

        Raises:
            ValueError: an annotated type is not in the schema.
        """
        encoded: list[EncodedExample] = []
        for start in range(0, len(examples), 1000):
            part = examples[start : start + 1000]
            words = [[*e.left_context, *e.words, *e.right_context] or [""] for e in part]
            tokens = self.tokenizer(
                words, is_split_into_words=True, add_special_tokens=False, truncation=False,
                split_special_tokens=True,  # a text's own "[SEP]" is text
                verbose=False,  # would warn of texts too long, which windows see to
            )  # fmt: skip
            for row, example in enumerate(part):
                pieces, erased = self._pieces(tokens["input_ids"][row], tokens.word_ids(row), len(words[row]))
                encoded.append(replace(self._encode_one(example, pieces, erased), index=start + row))
        return encoded

    def _pieces(self, ids: list[int], word_ids: list[int | None], count: int) -> tuple[list[list[int]], list[int]]:
        """The subwords of each word; a word the tokenizer erases becomes the unknown token."""
        pieces: list[list[int]] = [[] for _ in range(count)]
        for subword, word in zip(ids, word_ids, strict=True):
            if word is not None:
                pieces[word].append(subword)
        erased = [word for word, subwords in enumerate(pieces) if not subwords]
        for word in erased:
            pieces[word] = [self._unknown]
        return pieces, erased

    def _encode_one(self, example: Example, pieces: list[list[int]], erased: list[int]) -> EncodedExample:
        self._check_types(example)
        before, count = len(example.left_context), len(example.words)
        clipped = [w - before for w in range(before, before + count) if len(pieces[w]) > self.budget]
        for word in clipped:
            subwords = pieces[word + before]
            head = self.budget // 2
            pieces[word + before] = subwords[:head] + subwords[len(subwords) - (self.budget - head) :]
        own = pieces[before : before + count]
        lengths = np.array([len(p) for p in own], dtype=np.int64)
        if lengths.sum() <= self.budget:
            windows = [self._window(example, own, 0, count, pieces[:before], pieces[before + count :])]
        else:
            bounds = window_bounds(lengths, self.budget, self.overlap)
            windows = [self._window(example, own, first, last, [], []) for first, last in bounds]
        entities, relations = self._expressed(example, windows)
        return EncodedExample(
            example=example,
            windows=tuple(windows),
            omega=self.omega,
            lost_entities=tuple(e for e in example.entities if e not in entities),
            lost_relations=tuple(r for r in example.relations if r not in relations),
            erased_words=tuple(w - before for w in erased if before <= w < before + count),
            clipped_words=tuple(clipped),
        )

    def _window(
        self, example: Example, own: list[list[int]], first: int, last: int,
        left: list[list[int]], right: list[list[int]],
    ) -> Features:  # fmt: skip
        """One window over the words [first, last) with as much context as fits, half of the room a side."""
        ids = [subword for word in own[first:last] for subword in word]
        word_of_subword = [word for word in range(first, last) for _ in own[word]]
        room = self.budget - len(ids)
        left_ids = _closest(left[::-1], max(room // 2, room - sum(map(len, right))))[::-1]
        right_ids = _closest(right, room - sum(map(len, left_ids)))
        prefix = self.prefix + [subword for word in left_ids for subword in word]
        suffix = [subword for word in right_ids for subword in word] + self.suffix
        starts = np.cumsum([len(prefix)] + [len(word) for word in own[first:last]])
        lefts, spans, span_types, links = self._gold(example, first, last, starts)
        return Features(
            input_ids=prefix + ids + suffix,
            word_of_subword=[-1] * len(prefix) + word_of_subword + [-1] * len(suffix),
            first_word=first, last_word=last, lefts=lefts, spans=spans, span_types=span_types, links=links,
        )  # fmt: skip

    def _gold(
        self, example: Example, first: int, last: int, starts: np.ndarray
    ) -> tuple[tuple[int, ...], tuple[Span, ...], tuple[tuple[int, int], ...], tuple[tuple[int, int, int], ...]]:
        """Gold of the words [first, last) in subword positions; `starts[i]` is where word `first + i` begins."""
        inside = [e for e in example.entities if first <= e.start and e.end <= last]
        position = {e.span: (int(starts[e.start - first]), int(starts[e.end - first]) - 1) for e in inside}
        lefts = sorted({left for left, _ in position.values()})
        rows: dict[Span, int] = {}
        span_types: set[tuple[int, int]] = set()
        for entity in inside:
            left, right = position[entity.span]
            if sum(left <= other <= right for other in lefts) <= self.omega:
                row = rows.setdefault((left, right), len(rows))
                span_types.add((row, self._entity_index[entity.type]))
        links: set[tuple[int, int, int]] = set()
        for relation in example.relations:
            head, tail = (rows.get(position.get(e.span, (-1, -1))) for e in (relation.head, relation.tail))
            if head is not None and tail is not None and (self.self_links or head != tail):
                kind = self._relation_index[relation.type]
                links.add((head, tail, kind))
                if relation.type in self.schema.symmetric:
                    links.add((tail, head, kind))
        return tuple(lefts), tuple(rows), tuple(sorted(span_types)), tuple(sorted(links))

    def _check_types(self, example: Example) -> None:
        for what, index, names in (
            ("entity", self._entity_index, [e.type for e in example.entities]),
            ("relation", self._relation_index, [r.type for r in example.relations]),
        ):
            unknown = [name for name in names if name not in index]
            if unknown:
                raise ValueError(
                    f"example {example.id!r}: {what} type {unknown[0]!r} is not in the schema {sorted(index)}"
                )

    def _expressed(self, example: Example, windows: Sequence[Features]) -> tuple[set[Entity], set[Relation]]:
        """The gold entities and relations expressed by the window that decides on them (its `owner`)."""
        held = [{(w.word_of_subword[left], w.word_of_subword[right] + 1) for left, right in w.spans} for w in windows]

        def decided(start: int, end: int, *spans: Span) -> bool:
            number = owner(windows, start, end)
            return number >= 0 and held[number].issuperset(spans)

        entities = {e for e in example.entities if decided(e.start, e.end, e.span)}
        relations: set[Relation] = set()
        for relation in example.relations:
            head, tail = relation.head, relation.tail
            if head.span == tail.span and not self.self_links:
                continue
            hull = min(head.start, tail.start), max(head.end, tail.end)
            if head in entities and tail in entities and decided(*hull, head.span, tail.span):
                relations.add(relation)
        return entities, relations


def _closest(words: list[list[int]], room: int) -> list[list[int]]:
    """The leading words whose subwords fit into `room`."""
    taken: list[list[int]] = []
    for word in words:
        room -= len(word)
        if room < 0:
            break
        taken.append(word)
    return taken


def window_bounds(lengths: np.ndarray, budget: int, overlap: int) -> list[Span]:
    """Word ranges [first, last) of at most `budget` subwords that cover all words in order.

    Consecutive ranges share about `overlap` subwords: the next one starts at the first word that leaves no more
    than that and room for one more word, so that each range ends past the one before. No `lengths` value may
    exceed `budget`.
    """
    ends = np.concatenate([[0], np.cumsum(lengths)])
    bounds: list[Span] = []
    first, count = 0, len(lengths)
    while True:
        last = int(np.searchsorted(ends, ends[first] + budget, side="right")) - 1
        bounds.append((first, last))
        if last >= count:
            return bounds
        first = int(np.searchsorted(ends, max(ends[last] - overlap, ends[last + 1] - budget), side="left"))


def owner(windows: Sequence[Features], start: int, end: int) -> int:
    """Which window decides on the words [start, end): the one that holds them with the widest margin.

    Returns -1 if no window holds them all. Every span that some window can express has exactly one owner, so
    windows merge without duplicates and without loss.
    """
    best, best_margin = -1, -1.0
    for row, window in enumerate(windows):
        if window.first_word <= start and end <= window.last_word:
            # a text's own border cuts nothing off
            before = start - window.first_word if row > 0 else math.inf
            after = window.last_word - end if row < len(windows) - 1 else math.inf
            if min(before, after) > best_margin:
                best, best_margin = row, min(before, after)
    return best

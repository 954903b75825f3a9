"""Align words with subwords, split long texts into windows, and record the gold that an encoding cannot express.

Gold annotation is stored sparsely, as subword positions of one window. Entities that no window can express, because
they lie beyond the omega closest left brackets or are longer than every window, are listed on the `EncodedExample`.
They still count in evaluation, which uses the `Example` of the corpus.
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
"""Positions of the first and last subword (inclusive), or a half-open range of words."""
_CHUNK = 1000
"""Examples per call of the tokenizer."""


@dataclass(frozen=True, slots=True)
class Features:
    """Hold one window of an example: the input of the encoder, and the gold that the window can express.

    Positions are indices into `input_ids`. The right position of a span is its last subword, inclusive.

    Example:
        >>> window = Features(
        ...     input_ids=[101, 7, 8, 102],
        ...     word_of_subword=[-1, 0, 1, -1],
        ...     first_word=0,
        ...     last_word=2,
        ...     lefts=(1,),
        ...     spans=((1, 2),),
        ... )
        >>> len(window)
        4
    """

    input_ids: list[int]
    """Subword ids, special tokens and context included."""
    word_of_subword: list[int]
    """Index in `Example.words` of the word of each subword; -1 for special tokens and context."""
    first_word: int
    """First word of the window."""
    last_word: int
    """Index after the last word of the window."""
    lefts: tuple[int, ...] = ()
    """Sorted positions of the gold left brackets."""
    spans: tuple[Span, ...] = ()
    """Distinct gold spans (left, right)."""
    span_types: tuple[tuple[int, int], ...] = ()
    """Pairs (index in `spans`, index of the entity type)."""
    links: tuple[tuple[int, int, int], ...] = ()
    """Triples (head index in `spans`, tail index, index of the relation type); symmetric types in both directions."""

    def __len__(self) -> int:
        return len(self.input_ids)


@dataclass(frozen=True, slots=True)
class EncodedExample:
    """Hold an example, its windows, and the gold entities and relations that no window can express.

    Example:
        >>> example = Example(("Ada", "sings"), (Entity(0, 1, "Peop"),))
        >>> window = Features([101, 7, 8, 102], [-1, 0, 1, -1], first_word=0, last_word=2)
        >>> encoded = EncodedExample(example, (window,), omega=1, lost_entities=example.entities)
        >>> encoded.encoded_gold().entities
        ()
    """

    example: Example
    windows: tuple[Features, ...]
    omega: int
    """Value of omega for which the gold was encoded."""
    index: int = 0
    """Position of the example in the call of `Aligner.encode`."""
    lost_entities: tuple[Entity, ...] = ()
    lost_relations: tuple[Relation, ...] = ()
    erased_words: tuple[int, ...] = ()
    """Words for which the tokenizer produces no subword. They are read as the unknown token."""
    clipped_words: tuple[int, ...] = ()
    """Words with more subwords than a window has. Only their first and last subwords are read."""

    def __len__(self) -> int:
        return max(len(window) for window in self.windows)

    def encoded_gold(self) -> Example:
        """Return the example without the lost entities and relations (for the option `gold: encoded`)."""
        lost_entities, lost_relations = set(self.lost_entities), set(self.lost_relations)
        return Example(
            words=self.example.words,
            entities=tuple(e for e in self.example.entities if e not in lost_entities),
            relations=tuple(r for r in self.example.relations if r not in lost_relations),
            id=self.example.id,
        )


class Aligner:
    """Encode examples as windows of subwords for one tokenizer, schema, and omega.

    Args:
        tokenizer: Fast tokenizer that accepts words as input.
        schema: Types, in the order of their indices in `Features`.
        omega: Number of closest preceding left brackets that a right bracket can pair with.
        max_subwords: Largest window in subwords, special tokens included.
        overlap: Largest number of subwords that consecutive windows share.
        self_links: Whether the model can link an entity to itself. If not, such relations are lost.

    Raises:
        EncoderError: If the tokenizer is not fast, or has neither an unknown nor a padding token.
        ConfigError: If `overlap` is more than half of a window.

    Example:
        >>> from iter_lightning.model.encoder import load_tokenizer  # doctest: +SKIP
        >>> schema = Schema(("Peop",))
        >>> aligner = Aligner(load_tokenizer("bert-base-cased"), schema, omega=1, max_subwords=512)  # doctest: +SKIP
        >>> encoded = aligner.encode([Example(("Ada", "sings"), (Entity(0, 1, "Peop"),))])  # doctest: +SKIP
        >>> encoded[0].windows[0].spans  # doctest: +SKIP
        ((1, 1),)
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, schema: Schema, omega: int, max_subwords: int, overlap: int = 64,
        self_links: bool = True,
    ) -> None:  # fmt: skip
        if not tokenizer.is_fast:
            raise EncoderError(f"the tokenizer {type(tokenizer).__name__} is not a fast one, which alignment needs")
        self.tokenizer = tokenizer
        self.schema = schema
        self.omega = omega
        self.max_subwords = max_subwords
        self.overlap = overlap
        self.self_links = self_links
        probe = tokenizer("a", return_special_tokens_mask=True)
        text = [i for i, special in enumerate(probe["special_tokens_mask"]) if not special]
        if not text:
            raise EncoderError(f"the tokenizer {type(tokenizer).__name__} produces no token for the text 'a'")
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

    def for_schema(self, schema: Schema) -> Aligner:
        """Return an aligner for other types."""
        return Aligner(self.tokenizer, schema, self.omega, self.max_subwords, self.overlap, self.self_links)

    def encode(self, examples: Sequence[Example]) -> list[EncodedExample]:
        """Encode examples in order.

        Raises:
            ValueError: If an annotated type is not in the schema.
        """
        encoded: list[EncodedExample] = []
        for start in range(0, len(examples), _CHUNK):
            part = examples[start : start + _CHUNK]
            words = [[*e.left_context, *e.words, *e.right_context] or [""] for e in part]
            tokens = self.tokenizer(
                words, is_split_into_words=True, add_special_tokens=False, truncation=False,
                split_special_tokens=True,  # a literal "[SEP]" in the text is ordinary text
                verbose=False,  # no warnings about long texts, which are split into windows
            )  # fmt: skip
            for row, example in enumerate(part):
                pieces, erased = self._pieces(tokens["input_ids"][row], tokens.word_ids(row), len(words[row]))
                encoded.append(replace(self._encode_one(example, pieces, erased), index=start + row))
        return encoded

    def _pieces(self, ids: list[int], word_ids: list[int | None], count: int) -> tuple[list[list[int]], list[int]]:
        """Return the subwords of each word, and the words that the tokenizer erases, replaced by the unknown token."""
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
        # shorten words that are longer than a window to their first and last subwords
        before, count = len(example.left_context), len(example.words)
        clipped = [w - before for w in range(before, before + count) if len(pieces[w]) > self.budget]
        for word in clipped:
            subwords = pieces[word + before]
            head = self.budget // 2
            pieces[word + before] = subwords[:head] + subwords[len(subwords) - (self.budget - head) :]
        # use one window with context if the sentence fits, else several without
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
        """Build a window over the words [first, last) and as much context as fits, if possible evenly on both sides."""
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
        """Return the gold of the words [first, last) as positions; `starts[i]` is the position of word `first + i`."""
        # map entities of this window to positions
        inside = [e for e in example.entities if first <= e.start and e.end <= last]
        position = {e.span: (int(starts[e.start - first]), int(starts[e.end - first]) - 1) for e in inside}
        lefts = sorted({left for left, _ in position.values()})
        # keep spans whose left is among the omega closest ones before their right
        rows: dict[Span, int] = {}
        span_types: set[tuple[int, int]] = set()
        for entity in inside:
            left, right = position[entity.span]
            if sum(left <= other <= right for other in lefts) <= self.omega:
                row = rows.setdefault((left, right), len(rows))
                span_types.add((row, self._entity_index[entity.type]))
        # keep relations between these spans
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
        """Return the gold entities and relations that the window responsible for them (see `owner`) expresses."""
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
    """Return the longest prefix of `words` whose subwords fit into `room`."""
    taken: list[list[int]] = []
    for word in words:
        room -= len(word)
        if room < 0:
            break
        taken.append(word)
    return taken


def window_bounds(lengths: np.ndarray, budget: int, overlap: int) -> list[Span]:
    """Split words into overlapping ranges [first, last) of at most `budget` subwords.

    Consecutive ranges share up to `overlap` subwords, fewer if the next word would not fit otherwise. Each range ends
    after the one before.

    Args:
        lengths: Number of subwords of each word, none above `budget`.
        budget: Largest number of subwords of a range.
        overlap: Largest number of shared subwords.
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
    """Return the number of the window that decides about the words [start, end), or -1 if no window contains them.

    It is the window with the widest margin around these words. Every span that some window contains has exactly one
    owner, so windows can be merged without duplicates or loss.
    """
    best, best_margin = -1, -1.0
    for row, window in enumerate(windows):
        if window.first_word <= start and end <= window.last_word:
            # the start and end of the text do not limit the margin
            before = start - window.first_word if row > 0 else math.inf
            after = window.last_word - end if row < len(windows) - 1 else math.inf
            if min(before, after) > best_margin:
                best, best_margin = row, min(before, after)
    return best

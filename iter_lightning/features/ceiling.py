"""Report on an encoding: lengths, windows, erased words, and the recall of a perfect model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from iter_lightning.features.alignment import EncodedExample


@dataclass(frozen=True)
class EncodingReport:
    """Count properties of encoded examples."""

    subwords_median: int
    subwords_p95: int
    subwords_max: int
    """Subwords of whole examples, summed over their windows."""
    windowed: int
    """Examples with more than one window."""
    clipped_words: int
    """Words longer than a window, whose middle is not read."""
    erased: tuple[tuple[str, str, int], ...]
    """Words without subwords, which are read as the unknown token: (example id, word, index of the word)."""
    entities: int
    entities_expressed: int
    relations: int
    relations_expressed: int

    @property
    def ner_recall(self) -> float:
        """Return the NER recall of a perfect model, in [0, 1]."""
        return self.entities_expressed / self.entities if self.entities else 1.0

    @property
    def re_plus_recall(self) -> float:
        """Return the RE+ recall of a perfect model, in [0, 1]."""
        return self.relations_expressed / self.relations if self.relations else 1.0

    def counts(self) -> dict[str, int]:
        """Return all counts, for a manifest."""
        return {**{k: v for k, v in asdict(self).items() if k != "erased"}, "erased_words": len(self.erased)}

    def losses(self) -> str:
        """Describe the losses of the encoding in one line, or return an empty string."""
        parts = {
            "entities cannot be expressed and count as missed": self.entities - self.entities_expressed,
            "relations cannot be expressed and count as missed": self.relations - self.relations_expressed,
            "words are read as the unknown token": len(self.erased),
            "words are longer than a window and read without their middle": self.clipped_words,
        }
        return ", ".join(f"{count} {what}" for what, count in parts.items() if count)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, with both recalls."""
        return {**asdict(self), "ner_recall": self.ner_recall, "re_plus_recall": self.re_plus_recall}


def encoding_report(encoded: Sequence[EncodedExample]) -> EncodingReport:
    """Count the properties of encoded examples. Without examples, all counts are 0."""
    lengths = np.array([sum(len(window) for window in e.windows) for e in encoded] or [0])
    entities = [len(set(e.example.entities)) for e in encoded]
    relations = [len(set(e.example.relations)) for e in encoded]
    return EncodingReport(
        subwords_median=int(np.median(lengths)),
        subwords_p95=int(np.percentile(lengths, 95)),
        subwords_max=int(lengths.max()),
        windowed=sum(len(e.windows) > 1 for e in encoded),
        clipped_words=sum(len(e.clipped_words) for e in encoded),
        erased=tuple((e.example.id, e.example.words[place], place) for e in encoded for place in e.erased_words),
        entities=sum(entities),
        entities_expressed=sum(entities) - sum(len(set(e.lost_entities)) for e in encoded),
        relations=sum(relations),
        relations_expressed=sum(relations) - sum(len(set(e.lost_relations)) for e in encoded),
    )

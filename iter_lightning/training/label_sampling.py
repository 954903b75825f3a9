"""Choose what an open model is asked in a training step: some labels of a corpus, and a wording for each.

A label that occurs is sometimes left out, so that the model must read the question; labels that do not occur are asked,
too. The wording is the label's name, its name with its description, another name, or its key in the files.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from iter_lightning.corpora.labeled import Label, LabeledCorpus, read_paraphrases
from iter_lightning.types import Example, LabelSet


@dataclass(frozen=True)
class SamplingConfig:
    """Probabilities and limits of label sampling.

    Args:
        max_entities: largest number of entity labels in a question.
        max_relations: largest number of relation labels in a question.
        drop: probability that an entity label that occurs is not asked; half as large for corpora with relations, whose
            relations would be lost, too.
        foreign: largest number of labels from corpora with which this one shares no word of any label.
        described: probability of name and description, if there is a description.
        paraphrased: probability of another name, if one is known.
        raw: probability of the key in the files.
    """

    max_entities: int = 20
    max_relations: int = 16
    drop: float = 0.15
    foreign: int = 3
    described: float = 0.25
    paraphrased: float = 0.15
    raw: float = 0.05


@dataclass(frozen=True)
class Question:
    """Labels to ask: indices of types of the corpus, and the texts of all labels, foreign ones last."""

    entity_types: list[int]
    relation_types: list[int]
    labels: LabelSet


@dataclass
class LabelSampler:
    """Draws questions for corpora of a mixture.

    Args:
        corpora: the corpora, with named types (`LabeledCorpus.named`).
        config: probabilities and limits.
    """

    corpora: Sequence[LabeledCorpus]
    config: SamplingConfig = field(default_factory=SamplingConfig)

    def __post_init__(self) -> None:
        words = [_words(corpus.labels[name] for name in corpus.schema.entity_types) for corpus in self.corpora]
        self._foreign = [
            [other.labels[name] for j, other in enumerate(self.corpora) if words[i].isdisjoint(words[j])
             and other.entities_exhaustive for name in other.schema.entity_types]
            for i in range(len(self.corpora))
        ]  # fmt: skip

    def sample(self, number: int, examples: Sequence[Example], rng: random.Random) -> Question:
        """Draw a question.

        Args:
            number: index of the corpus.
            examples: the examples of the batch.
            rng: source of randomness.
        """
        corpus, config = self.corpora[number], self.config
        schema = corpus.schema
        present = {entity.type for example in examples for entity in example.entities}
        linked = {relation.type for example in examples for relation in example.relations}
        drop = config.drop / 2 if linked else config.drop
        asked = [name for name in schema.entity_types if name in present and rng.random() >= drop]
        absent = [name for name in schema.entity_types if name not in present]
        entities = _drawn(asked, absent, config.max_entities, rng) or list(schema.entity_types[:1])
        relations = _drawn(
            [name for name in schema.relation_types if name in linked],
            [name for name in schema.relation_types if name not in linked], config.max_relations, rng,
        )  # fmt: skip
        foreign: list[Label] = []
        if corpus.entities_exhaustive and self._foreign[number]:
            room = min(config.foreign, max(0, config.max_entities - len(entities)), len(self._foreign[number]))
            foreign = rng.sample(self._foreign[number], rng.randint(0, room))
        labels = LabelSet(
            self._worded([corpus.labels[name] for name in entities] + foreign, rng),
            self._worded([corpus.labels[name] for name in relations], rng),
            corpus.entities_exhaustive, corpus.relations_exhaustive,
        )  # fmt: skip
        return Question(
            [schema.entity_types.index(name) for name in entities],
            [schema.relation_types.index(name) for name in relations], labels,
        )  # fmt: skip

    def _worded(self, labels: Sequence[Label], rng: random.Random) -> tuple[str, ...]:
        """Choose a text for each label; two labels never get the same text."""
        texts: list[str] = []
        for label in labels:
            text = self._text(label, rng)
            texts.append(text if text not in texts else label.name)
        return tuple(texts)

    def _text(self, label: Label, rng: random.Random) -> str:
        config, others, draw = self.config, read_paraphrases().get(label.name, []), rng.random()
        if draw < config.described:
            return f"{label.name}: {label.description}" if label.description else label.name
        draw -= config.described
        if draw < config.paraphrased:
            return rng.choice(others) if others else label.name
        return label.raw if draw - config.paraphrased < config.raw else label.name


def _drawn(asked: list[str], absent: list[str], limit: int, rng: random.Random) -> list[str]:
    """Return asked names and a random number of absent ones, at most `limit` in all, in random order."""
    asked = rng.sample(asked, min(limit, len(asked)))
    room = min(len(absent), limit - len(asked))
    names = asked + rng.sample(absent, rng.randint(min(1, room), room) if room else 0)
    rng.shuffle(names)
    return names


def _words(labels: Iterable[Label]) -> set[str]:
    """Return the words of labels and of their other names."""
    paraphrases: Mapping[str, list[str]] = read_paraphrases()
    texts = (text for label in labels for text in (label.name, label.raw, *paraphrases.get(label.name, ())))
    return {word for text in texts for word in text.lower().split() if len(word) > 2}

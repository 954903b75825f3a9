"""Real corpora through readers, extraction and writers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from iter_lightning.corpora.spert import read_spert
from iter_lightning.extraction.backends import TorchBackend
from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.extractor import Extractor
from iter_lightning.extraction.formats import BadRecord, Reading, ReadOptions, open_writer
from iter_lightning.extraction.splitting import Splitter
from tests.builders import SCHEMA, tiny_model

pytestmark = pytest.mark.corpora
SPERT = ("conll04/conll04_test.json", "ade/ade_split_0_test.json", "scierc/scierc_test.json")


@pytest.mark.parametrize("name", SPERT)
def test_gold_of_real_records_is_that_of_the_corpus_reader(corpora_dir: Path, name: str) -> None:
    path = corpora_dir / name
    documents = list(Reading([str(path)], ReadOptions(gold=True)))
    examples = read_spert(path)
    assert len(documents) == len(examples)
    for document, example in zip(documents, examples, strict=True):
        assert isinstance(document, Document)
        assert document.word_texts() == example.words
        assert document.gold is not None
        spans = [(*document.word_bounds(e), e.type) for e in document.gold.entities]
        assert sorted(spans) == sorted((e.start, e.end, e.type) for e in example.entities)
        assert len(document.gold.relations) == len(example.relations)


def test_raw_text_of_wikipedia(corpora_dir: Path, tmp_path: Path) -> None:
    """Forty articles as they would be found: offsets hold, and what is written is read again."""
    records = json.loads((corpora_dir / "redocred" / "dev_revised.json").read_text(encoding="utf-8"))[:40]
    texts = [" ".join(" ".join(sentence) for sentence in record["sents"]) for record in records]
    extractor = Extractor(TorchBackend(tiny_model("bert", omega=2, max_subwords=128)), Splitter("en"))
    documents = extractor(texts)
    assert any(document.relations for document in documents)
    for document, text in zip(documents, texts, strict=True):
        assert document.text == text
        assert all(text[e.start : e.end] == e.text for e in document.entities)
        assert "".join(document.word_texts()) == "".join(text.split())
    for suffix in ("jsonl", "parquet"):
        path = tmp_path / f"found.{suffix}"
        with open_writer(path, None, SCHEMA, "sentence") as writer:
            for document in documents:
                writer.write(document)
        again = list(Reading([str(path)]))
        assert not any(isinstance(record, BadRecord) for record in again)
        assert [(d.text, d.words, d.sentences) for d in again if isinstance(d, Document)] == [
            (d.text, d.words, d.sentences) for d in documents
        ]

"""Folders whose types have texts: reading, naming, withholding relations, types from roles."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from iter_lightning.corpora.labeled import Label, is_labeled, read_labeled, read_labels, read_paraphrases, read_roles
from iter_lightning.errors import CorpusError
from iter_lightning.types import Schema

TYPES = {
    "entities": {
        "Peop": {"short": "Peop", "verbose": "person", "description": "A named person. Pronouns are left out."},
        "Human": {"verbose": "person"},
        "LocPlace": {},
    },
    "relations": {
        "P57": {"verbose": "director", "symmetric": False},
        "P569": {"verbose": "P569"},
        "P26": {"verbose": "spouse", "symmetric": True},
    },
    "meta": {"entities_exhaustive": False},
}
RECORDS: list[dict[str, Any]] = [
    {
        "tokens": ["Jaws", "by", "Spielberg", ",", "husband", "of", "Capshaw"],
        "entities": [
            {"type": "LocPlace", "start": 0, "end": 1},
            {"type": "Peop", "start": 2, "end": 3},
            {"type": "Human", "start": 6, "end": 7},
        ],
        "relations": [{"type": "P57", "head": 0, "tail": 1}, {"type": "P26", "head": 1, "tail": 2}],
    },
    {"tokens": ["Nothing", "here"], "entities": [], "relations": []},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "films_types.json").write_text(json.dumps(TYPES))
    (tmp_path / "films_train.json").write_text(json.dumps(RECORDS))
    (tmp_path / "films_dev.json.gz").write_bytes(gzip.compress(json.dumps(RECORDS[:1]).encode()))
    return tmp_path


def test_read_labeled_finds_prefixed_and_gzipped_files(folder: Path) -> None:
    corpus = read_labeled(folder)
    assert {split: len(examples) for split, examples in corpus.splits.items()} == {"train": 2, "dev": 1}
    assert not corpus.entities_exhaustive
    assert corpus.relations_exhaustive
    assert corpus.labels["Peop"] == Label("Peop", "person", "A named person")
    assert corpus.labels["LocPlace"].name == "loc place"
    assert corpus.labels["P569"].name == "date of birth"  # the file only repeats the key
    assert is_labeled(folder)
    assert not is_labeled(folder.parent)


def test_named_merges_types_with_the_same_name(folder: Path) -> None:
    corpus = read_labeled(folder).named()
    assert corpus.schema == Schema(
        ("person", "loc place"), ("director", "date of birth", "spouse"), symmetric=("spouse",)
    )
    assert [entity.type for entity in corpus.splits["train"][0].entities] == ["loc place", "person", "person"]
    assert corpus.labels["director"].key == "P57"


def test_without_relations_drops_sentences_that_have_no_other(folder: Path) -> None:
    corpus = read_labeled(folder)
    kept = corpus.without_relations(["P57"])
    assert kept.schema.relation_types == ("P569", "P26")
    assert [len(example.relations) for example in kept.splits["train"]] == [1, 0]
    assert len(kept.without_relations(["P26"]).splits["train"]) == 1
    assert corpus.without_relations(["P999"]) is corpus


def test_with_roles_types_entities_by_their_relations(folder: Path) -> None:
    corpus = read_labeled(folder).with_roles(read_roles())
    (example,) = corpus.splits["train"]
    assert {(e.start, e.type) for e in example.entities} == {
        (0, "film"), (0, "creative work"), (2, "film director"), (2, "person"), (6, "person")
    }  # fmt: skip
    assert {r.type for r in example.relations} == {"P57", "P26"}
    assert not corpus.entities_exhaustive


def test_read_labels_without_a_file_uses_the_words_of_keys() -> None:
    labels = read_labels(Schema(("Peop",), ("Work_For", "livesIn", "P31")), None)
    assert [labels[key].name for key in ("Peop", "Work_For", "livesIn", "P31")] == [
        "peop",
        "work for",
        "lives in",
        "P31",
    ]


def test_read_labeled_faults_name_folder_and_files(folder: Path) -> None:
    (folder / "other_types.json").write_text("{}")
    with pytest.raises(CorpusError, match=r"expected one file types.json.*films_types.json, other_types.json"):
        read_labeled(folder)
    with pytest.raises(CorpusError, match="found none"):
        read_labeled(folder.parent)


def test_packaged_label_files_are_consistent() -> None:
    for key, (heads, tails) in read_roles().items():
        assert key.startswith("P")
        assert heads + tails
        assert all(isinstance(name, str) for name in heads + tails)
    for name, others in read_paraphrases().items():
        assert others, name
        assert name not in others, name
        assert len(set(others)) == len(others), name

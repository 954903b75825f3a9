"""Test loading the corpora of the catalog and a user's own files."""

from __future__ import annotations

import hashlib
import json
import re
from bisect import bisect
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from iter_lightning.corpora import (
    CATALOG,
    SCIERC_DOCUMENTS,
    load_corpus,
    load_custom,
)
from iter_lightning.corpora.catalog import CONLL03_SENTENCES
from iter_lightning.corpora.catalog.genia import TRAIN_DEV
from iter_lightning.corpora.catalog.scierc import LABELS
from iter_lightning.corpora.checks import check_corpus
from iter_lightning.corpora.conll import read_conll
from iter_lightning.corpora.corpus import Counts
from iter_lightning.corpora.dygie import read_dygie
from iter_lightning.corpora.spert import read_spert
from iter_lightning.errors import ConfigError, CorpusError
from iter_lightning.types import Example, Schema
from tests.corpora.test_readers import ADA, ASP, DOCUMENT, IOB1, write


def test_catalog_matches_table_1() -> None:
    assert {name: c.omega for name, c in CATALOG.items()} == {
        "conll03": 1, "conll04": 1, "ace05": 1, "ade": 2, "scierc": 3, "genia": 4, "nyt": 2,
    }  # fmt: skip
    assert CATALOG["scierc"].schema.symmetric == ("Compare", "Conjunction")
    assert CATALOG["ace05"].schema.symmetric == ("PER-SOC",)
    assert [CATALOG["conll04"].counts[s].sentences for s in ("train", "dev", "test")] == [922, 231, 288]
    assert len(CATALOG["nyt"].schema.relation_types) == 24
    for corpus in CATALOG.values():
        assert corpus.license
        assert corpus.citation
        assert corpus.obtain or all(f.url for f in corpus.files)
        for file in corpus.files:
            assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)


def conll04(folder: Path, **records: Any) -> Path:
    folder.mkdir(parents=True)
    for split in ("train", "dev", "test"):
        record = {"tokens": ["Ada"], "entities": [{"type": "Peop", "start": 0, "end": 1}], "relations": []}
        write(folder / f"conll04_{split}.json", [records.get(split, record)])
    return folder.parent


def test_load_corpus_checks_types(tmp_path: Path) -> None:
    data = conll04(tmp_path / "conll04")
    assert {split: len(found) for split, found in load_corpus("conll04", data).items()} == dict.fromkeys(
        ("train", "dev", "test"), 1
    )
    assert [p.name for p in CATALOG["conll04"].paths(data)] == [f"conll04_{s}.json" for s in ("train", "dev", "test")]
    wrong = {"tokens": ["Ada"], "entities": [{"type": "PER", "start": 0, "end": 1}], "relations": []}
    with pytest.raises(
        CorpusError, match=r"CoNLL04: dev: record 0: unknown entity type 'PER', expected one of Loc, Org"
    ):
        load_corpus("conll04", conll04(tmp_path / "b" / "conll04", dev=wrong))


def test_missing_corpora_say_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="prepare conll04"):
        load_corpus("conll04", tmp_path)
    with pytest.raises(CorpusError, match="LDC2006T06"):
        load_corpus("ace05", tmp_path)
    with pytest.raises(ConfigError, match="ADE has the folds 0 to 9, found 10"):
        load_corpus("ade", tmp_path, fold=10)
    with pytest.raises(ConfigError, match="unknown corpus 'conll05'"):
        load_corpus("conll05", tmp_path)


def test_ace05_in_both_layouts(tmp_path: Path) -> None:
    for folder, content, names in (
        ("asp", json.dumps([ASP]), "ace05_{}.json"), ("dygie", json.dumps(DOCUMENT) + "\n", "{}.json"),
    ):  # fmt: skip
        (tmp_path / folder / "ace05").mkdir(parents=True)
        for split in ("train", "dev", "test"):
            write(tmp_path / folder / "ace05" / names.format(split), content)
    assert load_corpus("ace05", tmp_path / "asp")["train"][0].left_context == ("Before", ".")
    assert len(load_corpus("ace05", tmp_path / "dygie")["test"]) == 2


def scierc_documents(folder: Path, **documents: Any) -> Path:
    """SciERC's three files in DyGIE's layout, with sentences of our own."""
    folder.mkdir(parents=True)
    document = {
        "doc_key": "d1",
        "sentences": [["We", "present", "a", "parser", "."], ["It", "is", "a", "fast", "method", "."]],
        "ner": [[[3, 3, "Method"]], [[5, 5, "Generic"], [9, 9, "Generic"]]],
        "relations": [[], [[5, 5, 9, 9, "HYPONYM-OF"]]],
        "clusters": [[[3, 3], [5, 5]]],
    }
    for split in ("train", "dev", "test"):
        write(folder / f"{split}.json", documents.get(split, document))
    return folder.parent


@pytest.mark.parametrize("folder", ["scierc", "scierc_dygie"])
def test_scierc_documents_with_coreference(folder: str, tmp_path: Path) -> None:
    data = scierc_documents(tmp_path / folder)
    splits = SCIERC_DOCUMENTS.load(data)
    assert SCIERC_DOCUMENTS.paths(data) == [data / folder / f"{split}.json" for split in ("train", "dev", "test")]
    assert {split: [e.id for e in found] for split, found in splits.items()} == {split: ["d1"] for split in splits}
    assert [r.type for r in splits["test"][0].relations] == ["Hyponym-of", "Coreference"]


def test_scierc_documents_that_are_missing_or_of_other_types(tmp_path: Path) -> None:
    with pytest.raises(
        CorpusError,
        match=r"scierc_dygie: train.json and dev.json and .* missing.*sciERC_processed.tar.gz.*processed_data/json",
    ):
        SCIERC_DOCUMENTS.load(tmp_path)
    wrong = {"sentences": [["Ada"]], "ner": [[[0, 0, "PER"]]], "relations": [[]], "clusters": []}
    with pytest.raises(CorpusError, match=r"coreference: dev: record 0: unknown entity type 'PER'"):
        SCIERC_DOCUMENTS.load(scierc_documents(tmp_path / "scierc", dev=wrong))


def test_conll03_levels(tmp_path: Path) -> None:
    (tmp_path / "conll03").mkdir()
    for name in ("eng.train", "eng.testa", "eng.testb"):
        write(tmp_path / "conll03" / name, IOB1)
    assert len(load_corpus("conll03", tmp_path)["dev"]) == 2
    assert len(CONLL03_SENTENCES.load(tmp_path)["dev"]) == 3


def test_custom_infers_or_takes_the_schema(tmp_path: Path) -> None:
    path = write(tmp_path / "train.json", [ADA])
    schema, splits = load_custom(path, None, path)
    assert schema == Schema(("Loc", "Per"), ("LiveIn",))
    assert set(splits) == {"train", "test"}
    types = write(tmp_path / "types.json", {"entity_types": ["Per"], "relation_types": ["LiveIn"]})
    with pytest.raises(CorpusError, match=r"train.json: record 0: unknown entity type 'Loc', expected one of Per"):
        load_custom(path, None, None, types)
    empty = write(tmp_path / "empty.json", [{"tokens": ["x"], "entities": [], "relations": []}])
    with pytest.raises(CorpusError, match="no schema can be inferred"):
        load_custom(empty, None, None)


def keys(examples: list[Example]) -> list[tuple[Any, Any]]:
    return [(set(e.entities), set(e.relations)) for e in examples]


@pytest.mark.corpora
def test_genia_archive_gives_the_published_split(corpora_dir: Path) -> None:
    splits = load_corpus("genia", corpora_dir)
    published = read_spert(corpora_dir / "genia" / "genia_test.json")
    assert [e.words for e in splits["test"]] == [e.words for e in published]
    assert keys(splits["test"]) == keys(published)
    derived = read_spert(corpora_dir / "genia" / "derived" / "genia_train_dev.json.gz")
    assert len(derived) == TRAIN_DEV
    assert [e.words for e in splits["train"]] == [e.words for e in derived]
    assert keys(splits["train"]) == keys(derived)


@pytest.mark.corpora
def test_scierc_is_the_same_in_both_layouts(corpora_dir: Path) -> None:
    for split, sentences in load_corpus("scierc", corpora_dir).items():
        documents = read_dygie(corpora_dir / "scierc_dygie" / f"{split}.json", LABELS)
        assert keys(documents) == keys(sentences)
        assert sum(a.words != b.words for a, b in zip(documents, sentences, strict=True)) <= 1


@pytest.mark.corpora
def test_sciercs_clusters_as_measured(corpora_dir: Path) -> None:
    """Every mention is an entity (else a fault) of one type; most pairs cross sentences; Table 1's omega holds."""
    pairs = within = 0
    splits = SCIERC_DOCUMENTS.load(corpora_dir)
    for file, path in zip(SCIERC_DOCUMENTS.files, SCIERC_DOCUMENTS.paths(corpora_dir), strict=True):
        documents = splits[file.split]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256
        found = {
            "entities": sum(len(e.entities) for e in documents),
            "relations": sum(len(e.relations) for e in documents),
        }
        assert Counts(len(documents), **found) == SCIERC_DOCUMENTS.counts[file.split]
        sentences = read_dygie(path, LABELS)
        assert [w for e in documents for w in e.words] == [w for e in sentences for w in e.words]
        assert sum(len(e.relations) for e in sentences) == CATALOG["scierc"].counts[file.split].relations
        assert sum(len(e.entities) for e in sentences) == found["entities"]
        for document in documents:
            own = [e for e in sentences if e.id.rpartition(":")[0] == document.id]
            borders = list(accumulate(len(e.words) for e in own))
            links = [r for r in document.relations if r.type == "Coreference"]
            pairs += len(links)
            within += sum(bisect(borders, r.head.start) == bisect(borders, r.tail.start) for r in links)
    assert (pairs, within) == (2750, 336)
    report = check_corpus(splits, SCIERC_DOCUMENTS.schema)
    assert report.omega == SCIERC_DOCUMENTS.omega == 3
    assert [(s.several_types, s.several_relations, s.both_directions) for s in report.splits.values()] == [
        (0, 1, 0), (0, 0, 0), (0, 0, 0),
    ]  # fmt: skip


@pytest.mark.corpora
@pytest.mark.parametrize(
    ("file", "sentences", "words", "entities"),
    [("wnut17train.conll", 3394, 62730, 1975), ("emerging.dev.conll", 1009, 15733, 836),
     ("emerging.test.annotated", 1287, 23394, 1079)],
)  # fmt: skip
def test_wnut17_has_its_published_counts(
    file: str, sentences: int, words: int, entities: int, corpora_dir: Path
) -> None:
    path = corpora_dir / "wnut17" / file
    if not path.is_file():
        pytest.skip(f"no {path}")
    examples = read_conll(path)
    assert len(examples) == sentences
    assert sum(len(e.words) for e in examples) == words
    assert sum(len(e.entities) for e in examples) == entities


@pytest.mark.corpora
def test_ade_folds_partition_the_corpus(corpora_dir: Path) -> None:
    everything = sorted(e.words for e in read_spert(corpora_dir / "ade" / "ade_full.json"))
    tests = []
    for fold in range(10):
        splits = load_corpus("ade", corpora_dir, fold=fold)
        tests += [e.words for e in splits["test"]]
        assert sorted([e.words for e in splits["train"]] + [e.words for e in splits["test"]]) == everything
    assert sorted(tests) == everything

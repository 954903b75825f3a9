"""Every layout: what it reads, and what it says of input that is wrong."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iter_lightning.corpora.catalog.ace05 import read_asp
from iter_lightning.corpora.catalog.genia import read_genia
from iter_lightning.corpora.catalog.nyt import read_jointer
from iter_lightning.corpora.conll import entity_spans, read_conll
from iter_lightning.corpora.dygie import read_dygie
from iter_lightning.corpora.spert import read_spert, read_spert_types, write_spert
from iter_lightning.errors import ConfigError, CorpusError
from iter_lightning.types import Entity, Example, Relation, Schema
from tests.builders import examples

ADA = {
    "tokens": ["Ada", "Lovelace", "lived", "in", "London", "."],
    "entities": [{"type": "Per", "start": 0, "end": 2}, {"type": "Loc", "start": 4, "end": 5}],
    "relations": [{"type": "LiveIn", "head": 0, "tail": 1}],
    "orig_id": 7,
}


def write(path: Path, value: Any) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def faults(call: Any, path: Path) -> list[str]:
    with pytest.raises(CorpusError) as caught:
        call(path)
    return caught.value.faults


# SpERT ---------------------------------------------------------------------------------------------------------------


def test_spert_reads_a_record(tmp_path: Path) -> None:
    (example,) = read_spert(write(tmp_path / "a.json", [ADA]))
    person, place = Entity(0, 2, "Per"), Entity(4, 5, "Loc")
    assert example == Example(tuple(ADA["tokens"]), (person, place), (Relation(person, place, "LiveIn"),), "7")


def test_spert_reads_gzip_and_what_genia_writes(tmp_path: Path) -> None:
    record = {"tokens": ["IL-2"], "entities": [], "relations": {}, "org_id": "ge/0"}
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(json.dumps([record]).encode()))
    assert read_spert(path) == [Example(("IL-2",), id="ge/0")]


def test_spert_keeps_exact_duplicates_once(tmp_path: Path) -> None:
    record = {**ADA, "relations": ADA["relations"] * 2}  # type: ignore[operator]
    assert len(read_spert(write(tmp_path / "a.json", [record]))[0].relations) == 1


@given(st.lists(examples(), max_size=4))
def test_spert_round_trip(tmp_path_factory: pytest.TempPathFactory, found: list[Example]) -> None:
    path = tmp_path_factory.mktemp("spert") / "x.json"
    kept = [Example(e.words, tuple(dict.fromkeys(e.entities)), tuple(dict.fromkeys(e.relations)), str(i))
            for i, e in enumerate(found)]  # fmt: skip
    write_spert(kept, path)
    assert read_spert(path) == kept
    assert [p.name for p in path.parent.iterdir()] == ["x.json"]


def test_spert_tells_every_fault_at_once(tmp_path: Path) -> None:
    records = [
        {**ADA, "entities": [{"type": "Per", "start": 0, "end": 41}, {"type": "Loc", "start": 4, "end": 4}]},
        {**ADA, "relations": [{"type": "LiveIn", "head": 0, "tail": 7}]},
        {**ADA, "entities": [{"type": "Per", "start": "0", "end": 2}, {"type": "Per", "start": True, "end": 2}]},
        {"entities": []},
        {**ADA, "tokens": ["Ada", 3]},
        {**ADA, "entities": [{"start": 0, "end": 1}]},
        {**ADA, "relations": "none"},
        {**ADA, "entities": [{"type": "Per", "start": -1, "end": 1}]},
    ]
    found = faults(read_spert, write(tmp_path / "train.json", records))
    for line in (
        "train.json: record 0: entity 0: end 41 is past the sentence (6 words)",
        "train.json: record 0: entity 1: end 4 must be past start 4 (ends are exclusive)",
        "train.json: record 1: relation 0: tail 7 is not an entity (the record has 2)",
        "train.json: record 3: tokens: expected a list of words, found null",
        "train.json: record 4: tokens: word 1 is 3, expected a string",
        "train.json: record 5: entity 0: type missing, found ['end', 'start']",
        "train.json: record 6: relations: expected a list, found 'none'",
        "train.json: record 7: entity 0: start -1 is before the sentence",
    ):
        assert line in found
    assert sum("record 2" in line for line in found) == 2  # a string and a boolean are no whole numbers


def test_damaged_files_are_told_with_their_place(tmp_path: Path) -> None:
    whole = json.dumps([ADA], indent=1)
    (line,) = faults(read_spert, write(tmp_path / "cut.json", whole[: len(whole) // 2]))
    assert line.startswith("cut.json: line ")
    assert "damaged or cut off" in line
    assert (
        faults(read_spert, write(tmp_path / "o.json", {}))[0] == "o.json: top level: expected a list, found an object"
    )
    assert "cannot be read" in faults(read_spert, tmp_path / "absent.json")[0]
    (tmp_path / "latin.json").write_bytes(b'["\xe9"]')
    assert "not UTF-8" in faults(read_spert, tmp_path / "latin.json")[0]
    assert "record 0: expected an object" in faults(read_spert, write(tmp_path / "n.json", [1]))[0]
    assert faults(read_spert, write(tmp_path / "d.json", "[" * 100_000)) == ["d.json: nested too deeply"]


def test_a_misspelt_field_is_no_empty_annotation(tmp_path: Path) -> None:
    (line,) = faults(read_spert, write(tmp_path / "s.json", [{"tokens": ["Ada"], "entites": []}]))
    assert line == "s.json: record 0: entities missing, found ['entites', 'tokens']"
    (line,) = faults(read_dygie, write(tmp_path / "d.json", {"sentences": [["Ada"]], "NER": [[]]}))
    assert line == "d.json: document 0: ner missing, found ['NER', 'sentences']"
    (line,) = faults(read_jointer, write(tmp_path / "j.json", [{"tokens": ["Ada"]}]))
    assert line == "j.json: record 0: spo_details missing, found ['tokens']"


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "b.json").write_bytes(b"\xef\xbb\xbf" + json.dumps([ADA]).encode())
    assert len(read_spert(tmp_path / "b.json")) == 1
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbfAda B-PER\n")
    assert read_conll(tmp_path / "b.txt")[0].words == ("Ada",)


def test_many_faults_are_cut_short_and_counted(tmp_path: Path) -> None:
    with pytest.raises(CorpusError) as caught:
        read_spert(write(tmp_path / "x.json", [{}] * 30))
    assert str(caught.value).endswith("... and 10 more")


def test_types_files(tmp_path: Path) -> None:
    spert = {"entities": {"Per": {}}, "relations": {"Kin": {"symmetric": True}, "LiveIn": {"symmetric": False}}}
    assert read_spert_types(write(tmp_path / "t.json", spert)) == Schema(("Per",), ("Kin", "LiveIn"), ("Kin",))
    plain = Schema(("Per",), ("Kin",), ("Kin",))
    assert read_spert_types(write(tmp_path / "p.json", plain.to_dict())) == plain
    assert "not a types file" in faults(read_spert_types, write(tmp_path / "bad.json", {"relations": {}}))[0]
    (line,) = faults(read_spert_types, write(tmp_path / "s.json", {"entity_types": "Per", "relation_types": [1]}))
    assert line == "s.json: not a types file: entity_types and relation_types must be lists of names"


# DyGIE ---------------------------------------------------------------------------------------------------------------

DOCUMENT = {
    "doc_key": "d1",
    "sentences": [["Ada", "-LRB-", "born", "there", "-RRB-", "sleeps"], ["Bob", "met", "Ada"]],
    "ner": [[[0, 0, "PER"]], [[6, 6, "PER"], [8, 8, "PER"]]],
    "relations": [[], [[6, 6, 8, 8, "PER-SOC"]]],
}


def test_dygie_counts_over_the_document_and_unescapes(tmp_path: Path) -> None:
    first, second = read_dygie(write(tmp_path / "d.json", json.dumps(DOCUMENT) + "\n\n"), {"PER": "Person"})
    assert first.words == ("Ada", "(", "born", "there", ")", "sleeps")
    assert (first.id, second.id) == ("d1:0", "d1:1")
    assert second.entities == (Entity(0, 1, "Person"), Entity(2, 3, "Person"))
    assert second.relations == (Relation(Entity(0, 1, "Person"), Entity(2, 3, "Person"), "PER-SOC"),)


def test_dygie_faults(tmp_path: Path) -> None:
    documents = [
        {**DOCUMENT, "relations": [[], [[6, 6, 7, 7, "PER-SOC"]]]},
        {**DOCUMENT, "ner": [[]]},
        {**DOCUMENT, "ner": [[[0, "x", "PER"]], []]},
        {**DOCUMENT, "ner": [[], [[6, 99, "PER"]]], "relations": [[], []]},
    ]
    found = faults(read_dygie, write(tmp_path / "d.json", "\n".join(map(json.dumps, documents))))
    assert "d.json: document 0: sentence 1: relation 0: [7, 7] is not an entity of the sentence" in found
    assert "d.json: document 1: ner: expected 2 lists, one per sentence" in found
    assert any("document 2: sentence 0: ner: entry 0" in line for line in found)
    assert any("document 3: sentence 1: entity 0: end 94 is past the sentence (3 words)" in line for line in found)
    assert "line 2" in faults(read_dygie, write(tmp_path / "e.json", json.dumps(DOCUMENT) + "\n{"))[0]


CLUSTERS = [[[8, 8], [0, 0]], [[6, 6]]]  # both of Ada, out of order; Bob alone


def test_dygie_coreference_joins_the_document(tmp_path: Path) -> None:
    document = {**DOCUMENT, "clusters": CLUSTERS}
    (example,) = read_dygie(write(tmp_path / "d.json", document), {"PER": "Person"}, coreference=True)
    assert example.id == "d1"
    assert example.words == ("Ada", "(", "born", "there", ")", "sleeps", "Bob", "met", "Ada")
    first, bob, last = Entity(0, 1, "Person"), Entity(6, 7, "Person"), Entity(8, 9, "Person")
    assert example.entities == (first, bob, last)
    assert example.relations == (Relation(bob, last, "PER-SOC"), Relation(first, last, "Coreference"))


def test_dygie_coreference_is_all_pairs_of_a_cluster_once(tmp_path: Path) -> None:
    ner = [[[i, i, "Method"] for i in range(6)], [[6, 6, "Generic"], [7, 7, "Generic"]]]
    clusters = [[[6, 6], [2, 2], [0, 0], [2, 2]], [[0, 0], [6, 6]], [[7, 7], [5, 5]], [[1, 1]]]
    document = {**DOCUMENT, "ner": ner, "relations": [[], []], "clusters": clusters}
    (example,) = read_dygie(write(tmp_path / "d.json", document), coreference=True)
    pairs = [(r.head.start, r.tail.start) for r in example.relations]
    assert pairs == [(0, 2), (0, 6), (2, 6), (5, 7)]
    schema = Schema(("Generic", "Method"), ("Coreference",), ("Coreference",))
    assert all(schema.canonical(relation) == relation for relation in example.relations)


def test_dygie_coreference_faults(tmp_path: Path) -> None:
    documents = [
        DOCUMENT,
        {**DOCUMENT, "clusters": [[[0, 0], [7, 7]], [[0, 1], [40, 41]]]},
        {**DOCUMENT, "clusters": [[[0, "x"]], [[0]], "none"]},
        {**DOCUMENT, "ner": [[[0, "x", "PER"]], []], "relations": [[], []], "clusters": [[[0, 0], [8, 8]]]},
    ]
    path = write(tmp_path / "d.json", "\n".join(map(json.dumps, documents)))
    found = faults(lambda file: read_dygie(file, coreference=True), path)
    assert found == [
        "d.json: document 0: clusters missing, found ['doc_key', 'ner', 'relations', 'sentences']",
        "d.json: document 1: cluster 0: [7, 7] is not an entity of the document",
        "d.json: document 1: cluster 1: [0, 1] is not an entity of the document",
        "d.json: document 1: cluster 1: [40, 41] is not an entity of the document",
        "d.json: document 2: cluster 0: entry 0 is [0, 'x'], expected 2 whole numbers",
        "d.json: document 2: cluster 1: entry 0 is [0], expected 2 whole numbers",
        "d.json: document 2: cluster 2: expected a list, found 'none'",
        "d.json: document 3: sentence 0: ner: entry 0 is [0, 'x', 'PER'], expected 2 whole numbers and a type",
    ]  # its clusters are not told: without that sentence nobody knows what they point at


# CoNLL ---------------------------------------------------------------------------------------------------------------

IOB1 = """-DOCSTART- -X- O O

EU NNP I-NP I-ORG
rejects VBZ I-VP O
German JJ I-NP I-MISC
French JJ I-NP B-MISC
call NN I-NP O

Peter NNP I-NP I-PER
Blackburn NNP I-NP I-PER

-DOCSTART- -X- O O

Brussels NNP I-NP I-LOC
"""


def test_conll_sentences_and_documents(tmp_path: Path) -> None:
    path = write(tmp_path / "eng.train", IOB1)
    first, second, third = read_conll(path)
    assert first.entities == (Entity(0, 1, "ORG"), Entity(2, 3, "MISC"), Entity(3, 4, "MISC"))
    assert second.entities == (Entity(0, 2, "PER"),)
    one, two = read_conll(path, level="document")
    assert one.words == first.words + second.words
    assert one.entities[-1] == Entity(5, 7, "PER")
    assert two.words == third.words == ("Brussels",)


def test_conll_tabs_keep_odd_words(tmp_path: Path) -> None:
    lines = "a b\tB-person\n\u200b\tI-person\n\t\nx\tO\n"
    first, second = read_conll(write(tmp_path / "w.conll", lines))
    assert first == Example(("a b", "\u200b"), (Entity(0, 2, "person"),), id="0")
    assert second.words == ("x",)


def test_conll_entities_do_not_cross_sentences(tmp_path: Path) -> None:
    text = "-DOCSTART- O\n\nAda I-PER\n\nBob I-PER\n"
    (document,) = read_conll(write(tmp_path / "c.txt", text), level="document")
    assert document.entities == (Entity(0, 1, "PER"), Entity(1, 2, "PER"))


def test_conll_faults(tmp_path: Path) -> None:
    found = faults(read_conll, write(tmp_path / "c.txt", "Ada I-PER\nBob\nEve PER\n"))
    assert found[0] == "c.txt: line 2: expected a word and a tag, found 'Bob'"
    assert "line 3: 'PER' is not a tag" in found[1]
    assert "line 1: expected a word and a tag" in faults(read_conll, write(tmp_path / "e.txt", "\tI-PER\n"))[0]
    with pytest.raises(CorpusError, match=r"e.txt: line 1: expected a tag in column 3, found 2 columns"):
        read_conll(write(tmp_path / "e.txt", "Ada I-PER\n"), tag_column=3)
    with pytest.raises(ConfigError, match="level 'page'"):
        read_conll(tmp_path / "c.txt", level="page")


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ("I-A I-A O", [(0, 2, "A")]),
        ("I-A B-A I-A", [(0, 1, "A"), (1, 3, "A")]),
        ("I-A I-B", [(0, 1, "A"), (1, 2, "B")]),
        ("B-A E-A S-B O", [(0, 2, "A"), (2, 3, "B")]),
        ("S-A S-A I-A", [(0, 1, "A"), (1, 2, "A"), (2, 3, "A")]),
        ("", []),
    ],
)
def test_entity_spans(tags: str, spans: list[tuple[int, int, str]]) -> None:
    assert entity_spans(tags.split()) == spans


@given(st.lists(st.sampled_from("ABO"), max_size=12), st.booleans())
def test_entity_spans_reads_iob2_written_from_spans(labels: list[str], first_i: bool) -> None:
    """Runs of a label are entities; IOB2 opens with B, and IOB1 with I where the word before is no such entity."""
    runs: list[tuple[int, int, str]] = []
    for i, label in enumerate(labels):
        if label != "O" and runs and runs[-1][1] == i and runs[-1][2] == label:
            runs[-1] = (runs[-1][0], i + 1, label)
        elif label != "O":
            runs.append((i, i + 1, label))
    opener = "I" if first_i else "B"
    tags = ["O"] * len(labels)
    for start, end, label in runs:
        tags[start:end] = [f"{opener}-{label}", *[f"I-{label}"] * (end - start - 1)]
    assert entity_spans(tags) == runs


# ASP -----------------------------------------------------------------------------------------------------------------

ASP = {
    "tokens": ["<extra_id_22>", "Ada", "met", "Bob", "<extra_id_23>"],
    "extended": ["Before", ".", "<extra_id_22>", "Ada", "met", "Bob", "<extra_id_23>", "After"],
    "entities": [{"type": "PER", "start": 1, "end": 2}, {"type": "PER", "start": 3, "end": 4}],
    "relations": [{"type": "PER-SOC", "head": 0, "tail": 1}],
}


def test_asp_takes_the_markers_out_and_the_context_in(tmp_path: Path) -> None:
    (example,) = read_asp(write(tmp_path / "ace05_train.json", [ASP]))
    assert example.words == ("Ada", "met", "Bob")
    assert (example.left_context, example.right_context) == (("Before", "."), ("After",))
    assert example.entities == (Entity(0, 1, "PER"), Entity(2, 3, "PER"))


def asp_as_published(sentences: list[list[str]], limit: int) -> list[dict[str, Any]]:
    """The window of the published converter: its last element is never in, and a long sentence shrinks it to -1."""
    records: list[dict[str, Any]] = []
    for i, sentence in enumerate(sentences):
        parts = [*sentences[:i], ["<extra_id_22>"], sentence, ["<extra_id_23>"], *sentences[i + 1 :]]
        for window in (3, 2, 1, 0, -1):
            within = parts[max(i - window, 0) : min(i + 3 + window, len(parts) - 1)]
            extended = [word for part in within for word in part]
            if len(extended) <= limit:
                break
        records.append({**ASP, "tokens": [*parts[i], *sentence, *parts[i + 2]], "extended": extended,
                        "entities": [], "relations": []})  # fmt: skip
    return records


def test_asp_reads_what_the_published_converter_leaves_out(tmp_path: Path) -> None:
    sentences = [["Ada", "sleeps"], ["Eve", "reads", "a", "very", "long", "book"], ["Bob", "runs"]]
    records = asp_as_published(sentences, 7)
    assert records[1]["extended"] == sentences[1]  # no marker
    assert "<extra_id_23>" not in records[2]["extended"]  # no closing one
    records[2]["extended"][-2] = "BOB"  # truecased apart
    found = read_asp(write(tmp_path / "a.json", records))
    assert [list(e.words) for e in found] == sentences
    assert not found[1].left_context
    assert not found[1].right_context
    (alone,) = read_asp(write(tmp_path / "b.json", asp_as_published(sentences[:1], 128)))
    assert alone.words == ("Ada", "sleeps")
    *_, last = read_asp(write(tmp_path / "c.json", asp_as_published(sentences, 128)))
    assert (last.left_context, last.right_context) == ((*sentences[0], *sentences[1]), ())


def test_asp_faults(tmp_path: Path) -> None:
    records = [
        {**ASP, "tokens": ["Ada"]},
        {**ASP, "extended": ["<extra_id_22>", "Eve", "<extra_id_23>"]},
        {**ASP, "entities": [{"type": "PER", "start": 0, "end": 2}], "relations": []},
        {**ASP, "extended": [*ASP["extended"], "<extra_id_23>"]},
        {key: value for key, value in ASP.items() if key != "relations"},
    ]
    found = faults(read_asp, write(tmp_path / "a.json", records))
    assert "record 0: tokens: expected one <extra_id_22>" in found[0]
    assert "record 1: extended: does not contain the sentence" in found[1]
    assert "record 2: entity 0: start -1 is before the sentence" in found[2]
    assert "record 3: extended: does not contain the sentence in tokens, or has an extra marker" in found[3]
    assert "record 4: relations missing, found ['entities', 'extended', 'tokens']" in found[4]


# JointER -------------------------------------------------------------------------------------------------------------


def test_jointer_lists_and_lines(tmp_path: Path) -> None:
    detail = [0, 1, "PERSON", "/people/person/place_lived", 3, 4, "LOCATION"]
    other = [0, 1, "PERSON", "/people/person/place_of_birth", 3, 4, "LOCATION"]
    record = {"tokens": ["Ada", "lived", "in", "London"], "spo_details": [detail, other, detail]}
    (example,) = read_jointer(write(tmp_path / "train.json", [record]))
    assert example.entities == (Entity(0, 1, "PERSON"), Entity(3, 4, "LOCATION"))
    assert [r.type for r in example.relations] == [detail[3], other[3]]
    assert read_jointer(write(tmp_path / "l.json", json.dumps(record) + "\n")) == [example]
    found = faults(read_jointer, write(tmp_path / "b.json", [{**record, "spo_details": [detail[:5], 3]}]))
    assert len(found) == 2
    assert "expected 7 fields" in found[0]


# GENIA ---------------------------------------------------------------------------------------------------------------

XML = """<?xml version="1.0"?>
<set><article><abstract>
<sentence><cons lex="a" sem="G#protein_molecule"><cons lex="b" sem="G#DNA_domain">kappa B</cons>-binding factor</cons>
in <cons sem="(AND G#cell_type G#cell_type)"><cons sem="G#cell_type">T</cons> cells</cons> and
<cons sem="G#other_name">stress</cons>.</sentence>
<sentence><cons sem="G#RNA_x"><cons sem="G#protein_y">X</cons></cons> <cons>Y</cons></sentence>
</abstract></article></set>"""


def archive(path: Path, name: str, content: bytes) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return path


def test_genia_rule(tmp_path: Path) -> None:
    first, second = read_genia(archive(tmp_path / "g.tgz", "GENIA/GENIAcorpus3.02.xml", XML.encode()))
    assert first.words == ("kappa", "B", "-binding", "factor", "in", "T", "cells", "and", "stress", ".")
    assert set(first.entities) == {Entity(0, 2, "DNA"), Entity(0, 4, "protein"), Entity(5, 6, "cell_type")}
    assert second.entities == (Entity(0, 1, "protein"),)  # of RNA and protein on one span, the one that sorts last


def test_genia_faults(tmp_path: Path) -> None:
    assert "holds no GENIAcorpus3.02.xml" in faults(read_genia, archive(tmp_path / "a.tgz", "x", b""))[0]
    damaged = archive(tmp_path / "b.tgz", "GENIAcorpus3.02.xml", XML.encode()[:300])
    assert "cannot be read" in faults(read_genia, damaged)[0]
    assert "cannot be read" in faults(read_genia, tmp_path / "absent.tgz")[0]

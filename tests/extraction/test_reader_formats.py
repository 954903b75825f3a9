"""Each format: what it reads, what it refuses, and that any text survives it."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tempfile
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from iter_lightning.corpora.spert import read_spert, write_spert
from iter_lightning.errors import ConfigError
from iter_lightning.extraction.documents import Annotation, Document, TextEntity, TextRelation
from iter_lightning.extraction.readers import BadRecord, Reading, ReadOptions
from iter_lightning.types import Entity, Example, Relation

TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)
ODD_LINE = "a\u2028b\x0bc\x0cd\x85e\x1cf\rg\x00h\ufeffi"
"""All that `str.splitlines` cuts at, and LF and CR LF nowhere."""
ADA = "Ada works for Acme."
ADA_GOLD = {
    "entities": [{"start": 0, "end": 3, "type": "Per", "text": "Ada"}, {"start": 14, "end": 18, "type": "Org"}],
    "relations": [{"head": 0, "tail": 1, "type": "WorkFor"}],
}
ADA_WORDS = {
    "tokens": ["Ada", "works", "for", "Acme", "."],
    "entities": [{"start": 0, "end": 1, "type": "Per"}, {"start": 3, "end": 4, "type": "Org"}],
    "relations": [{"head": 0, "tail": 1, "type": "WorkFor"}],
}


def read(path: Path, **options: Any) -> list[Document | BadRecord]:
    return list(Reading([str(path)], ReadOptions(**options)))


def documents(path: Path, **options: Any) -> list[Document]:
    found = read(path, **options)
    assert not [item for item in found if isinstance(item, BadRecord)]
    return [item for item in found if isinstance(item, Document)]


def only_bad(path: Path, **options: Any) -> BadRecord:
    (item,) = read(path, **options)
    assert isinstance(item, BadRecord), item
    return item


def told(items: list[Document | BadRecord]) -> list[str]:
    """Texts of documents; place and reason of bad records."""
    return [item.text if isinstance(item, Document) else f"{item.place}: {item.reason}" for item in items]


def write(path: Path, content: str | bytes) -> Path:
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def write_jsonl(path: Path, *records: Any) -> Path:
    return write(path, "".join(json.dumps(record) + "\n" for record in records))


# any text survives ---------------------------------------------------------------------------------------------------


def as_lines(path: Path, texts: list[str]) -> Path:
    return write(path.with_suffix(".txt"), "\ufeff" + "".join(f"{text}\n" for text in texts))


def as_jsonl(path: Path, texts: list[str]) -> Path:
    lines = [json.dumps({"text": text}, ensure_ascii=number % 2 == 0) for number, text in enumerate(texts)]
    return write(path.with_suffix(".jsonl"), "\r\n".join(lines))


def as_json(path: Path, texts: list[str]) -> Path:
    return write(path.with_suffix(".json"), json.dumps([{"text": t} for t in texts], ensure_ascii=False, indent=1))


def as_csv(path: Path, texts: list[str], suffix: str = ".csv", delimiter: str = ",") -> Path:
    rows = io.StringIO(newline="")
    writer = csv.writer(rows, delimiter=delimiter)
    writer.writerows([["n", "text"], *([number, text] for number, text in enumerate(texts))])
    return write(path.with_suffix(suffix), rows.getvalue())


def as_tsv(path: Path, texts: list[str]) -> Path:
    return as_csv(path, texts, ".tsv", "\t")


def as_parquet(path: Path, texts: list[str]) -> Path:
    path = path.with_suffix(".parquet")
    pq.write_table(pa.table({"n": pa.array(range(len(texts))), "text": pa.array(texts, pa.string())}), path)
    return path


@pytest.mark.parametrize("writer", [as_jsonl, as_json, as_csv, as_tsv, as_parquet])
@given(texts=st.lists(TEXTS, max_size=6))
def test_any_text_survives_a_record(writer: Callable[[Path, list[str]], Path], texts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert [d.text for d in documents(writer(Path(folder, "t"), [*texts, ODD_LINE]))] == [*texts, ODD_LINE]


@given(texts=st.lists(TEXTS.map(lambda text: text.replace("\n", " ").rstrip("\r")), max_size=6))
def test_any_line_survives(texts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = as_lines(Path(folder, "t"), [*texts, ODD_LINE])
        assert [d.text for d in documents(path, format="lines")] == [*texts, ODD_LINE]


@given(text=TEXTS)
def test_any_file_survives(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("t.txt", "t.md.gz"):
            (document,) = documents(write(Path(folder, name), "\ufeff" + text))
            assert (document.text, document.words) == (text, ())


@given(st.lists(st.lists(TEXTS.filter(bool), min_size=1, max_size=4), max_size=3))
def test_any_words_survive(sentences: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (document,) = documents(write_jsonl(Path(folder, "t.jsonl"), {"words": sentences}))
        units = [list(document.word_texts(unit)) for unit in document.units()]
        assert units == sentences


# text and lines ------------------------------------------------------------------------------------------------------


def test_a_text_keeps_its_line_ends_and_is_named_after_its_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", f"one\r\ntwo\n\rthree{ODD_LINE}")
    assert documents(path) == [Document(f"one\r\ntwo\n\rthree{ODD_LINE}", id=str(path))]


def test_empty_texts_are_documents_with_nothing_in_them(tmp_path: Path) -> None:
    assert [d.text for d in documents(write(tmp_path / "a.txt", ""))] == [""]
    assert [d.text for d in documents(write(tmp_path / "b.txt", "one\r\r\n\n\r\n two "), format="lines")] == [
        "one\r", "", "", " two ",
    ]  # fmt: skip
    assert documents(write(tmp_path / "c.txt", ""), format="lines") == []
    assert [d.text for d in documents(write_jsonl(tmp_path / "d.jsonl", {"text": ""}, {"tokens": []}))] == ["", ""]


def test_lines_are_named_by_their_number(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt.gz", "one\ntwo")
    assert [d.id for d in documents(path, format="lines")] == [f"{path}:line 1", f"{path}:line 2"]


def test_bytes_that_are_no_utf8_spoil_a_file_of_one_document_and_else_a_line(tmp_path: Path) -> None:
    bad = only_bad(write(tmp_path / "a.txt", b"caf\xe9 \xff"))
    assert (bad.place, bad.reason, bad.record) == ("file", "byte 3 (0xe9) is not UTF-8", "caf\\xe9 \\xff")
    lines = write(tmp_path / "b.txt", b"one\ncaf\xe9\nthree\n")
    assert told(read(lines, format="lines")) == ["one", "line 2: byte 3 (0xe9) is not UTF-8", "three"]
    utf16 = write(tmp_path / "c.jsonl", '{"text": "a"}\n'.encode("utf-16"))
    assert told(read(utf16)) == ["file: UTF-16, expected UTF-8"]


@pytest.mark.parametrize("format", ["text", "lines", "jsonl", "json", "csv", "parquet", "conll"])
def test_a_text_of_the_most_characters_is_read_and_a_longer_one_is_bad(tmp_path: Path, format: str) -> None:
    writers: dict[str, Callable[[Path, list[str]], Path]] = {
        "text": lambda path, texts: write(path.with_suffix(".txt"), texts[0]), "lines": as_lines, "jsonl": as_jsonl,
        "json": as_json, "csv": as_csv, "parquet": as_parquet,
        "conll": lambda path, texts: write(path.with_suffix(".conll"), texts[0].replace(" ", " O\n") + " O\n"),
    }  # fmt: skip
    for text, good in (("☕" * 4 + " 345", True), ("☕" * 4 + " 3456", False)):
        path = writers[format](tmp_path / f"t{good}", [text])
        (item,) = read(path, format=format, max_characters=8)
        assert isinstance(item, Document) is good
        if isinstance(item, BadRecord):
            assert "max_characters" in item.reason


def test_a_line_that_does_not_end_is_passed_over_without_being_held(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt.gz", b"x" * (40 << 20) + b"\nafter\n")
    bad, after = read(path, format="lines", max_characters=1000)
    assert isinstance(bad, BadRecord)
    assert (bad.place, bad.reason) == ("line 1", "longer than 16,777,216 bytes")
    assert bad.record == "x" * 1000
    assert isinstance(after, Document)
    assert (after.text, after.id) == ("after", f"{path}:line 2")


# records -------------------------------------------------------------------------------------------------------------


def test_a_record_has_its_own_id_else_its_place(tmp_path: Path) -> None:
    records = [{"text": "a", "id": "x"}, {"text": "b", "id": 0}, {"text": "c"}, {"text": "d", "id": None},
               {"text": "e", "orig_id": 7}, {"text": "f", "id": ""}]  # fmt: skip
    path = write_jsonl(tmp_path / "a.jsonl", *records)
    assert [d.id for d in documents(path)] == ["x", "0", f"{path}:line 3", f"{path}:line 4", "7", f"{path}:line 6"]
    assert told(read(write_jsonl(tmp_path / "b.jsonl", {"text": "a", "id": [1]}))) == [
        "line 1: id: expected a string or a number for an id, found a list"
    ]


def test_fields_may_lie_deeper_unless_one_has_the_very_name(tmp_path: Path) -> None:
    path = write_jsonl(
        tmp_path / "a.jsonl", {"a": {"b": "deep"}, "m": {"id": 5}}, {"a.b": "flat", "a": {"b": "deep"}}, {"a": "b"}
    )
    found = read(path, text_field="a.b", id_field="m.id")
    assert told(found) == ["deep", "flat", "line 3: neither 'a.b' nor tokens or words, found 'a'"]
    assert isinstance(found[0], Document)
    assert found[0].id == "5"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"text": null}', "text: expected a string, found null"),
        ('{"text": 3}', "text: expected a string, found 3"),
        ('{"text": ["a"]}', "text: expected a string, found a list"),
        ('{"body": "a"}', "neither 'text' nor tokens or words, found 'body'"),
        ('["a"]', "expected an object, found a list"),
        ('{"text": "a"', "column 13: no JSON: Expecting ',' delimiter"),
        (
            '{"text": "a\\ud800"}',
            "text: character 1 is '\\ud800', a lone surrogate (half of a pair, or a byte that is not UTF-8)",
        ),
        ('{"text": "a", "id": "\\udfff"}', "id: character 0 is '\\udfff'"),
        ('{"text": ' + "1" * 5000 + "}", "Exceeds the limit (4300 digits)"),
        ("[" * 200_000, "nested too deep"),
        ('{"tokens": ["a", 3]}', "tokens: word 1 is 3, expected a string"),
        ('{"tokens": [["b"], ["a", ""]]}', "sentence 1: word 1 is empty"),
        ('{"tokens": [["a"], "b"]}', "tokens: sentence 1: expected a list of words, found 'b'"),
        ('{"words": "a b"}', "words: expected a list of words, found 'a b'"),
        ('{"text": "ab", "words": [[0, 3]], "sentences": [[0, 3]]}', "words: number 0 is [0, 3)"),
        ('{"text": "ab", "words": [[0, 1], [1.0, 2]], "sentences": [[0, 2]]}', "words: number 1 is [1.0, 2], expected"),
        ('{"text": "ab", "words": [[0, 1]], "sentences": 3}', "sentences: expected a list of [start, end], found 3"),
        ('{"text": "ab", "words": [[0, 1]]}', "some words are outside of all sentences"),
    ],
)
def test_a_bad_line_says_what_it_is_and_the_next_is_read(tmp_path: Path, line: str, reason: str) -> None:
    bad, good = read(write(tmp_path / "a.jsonl", f'{line}\n\n{{"text": "\\ud83d\\ude00"}}'))
    assert isinstance(bad, BadRecord)
    assert bad.reason.startswith(reason)
    assert (bad.place, bad.record) == ("line 1", line[:1000])
    assert isinstance(good, Document)
    assert good.text == "😀"


def test_a_bad_record_can_be_written_as_utf8_and_has_one_line(tmp_path: Path) -> None:
    bad = only_bad(write_jsonl(tmp_path / "a.jsonl", {"text": {"\ud800\n": "x" * 5000}}))
    assert bad.reason.encode()
    assert len(bad.record.encode()) == 1000
    assert BadRecord("a", "file", "two\nlines \ud800", "\ud800" * 1000).reason == "two lines \\ud800"
    assert len(BadRecord("a", "file", "", "\ud800" * 1000).record) == 1000


def test_our_own_layout_keeps_words_and_sentences_but_no_entities(tmp_path: Path) -> None:
    document = Document.from_words([["Ada", "works"], ["She", "sleeps"]], id="x")
    entity = TextEntity(0, 3, "Per", "Ada", 0.5)
    found = Document(document.text, document.words, document.sentences, (entity,), id="x")
    path = write_jsonl(tmp_path / "a.jsonl", found.to_dict())
    assert documents(path) == [document]
    assert documents(path, text_field="id")[0].words == ()  # the bounds are of another text


def test_a_text_goes_before_words(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", {"text": "a b", "tokens": 57}, {"text": None, "tokens": ["c", "d"]})
    assert [(d.text, len(d.words)) for d in documents(path)] == [("a b", 0), ("c d", 2)]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 5) | st.floats() | st.sampled_from(["", "Ada", "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["start", "end", "type", "text", "head", "tail", "score"]), inner)
    ),
    max_leaves=8,
)
FIELDS = st.sampled_from(["text", "tokens", "words", "sentences", "entities", "relations", "gold", "id", "orig_id"])


@given(st.lists(st.dictionaries(FIELDS, JSON_VALUES, min_size=1), max_size=8), st.booleans())
@example([{"text": "ab", "words": [[0, 1], [1, float("inf")]]}], False)
def test_whatever_a_record_holds_it_is_a_document_or_bad(records: list[dict[str, Any]], gold: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = read(write_jsonl(Path(folder, "a.jsonl"), *records), gold=gold)
    assert len(found) == len(records)
    for item in found:
        told_as = asdict(item) if isinstance(item, BadRecord) else item.to_dict()
        assert json.dumps(told_as, ensure_ascii=False).encode()


# gold ----------------------------------------------------------------------------------------------------------------


def expected_gold() -> Annotation:
    ada, acme = TextEntity(0, 3, "Per", "Ada"), TextEntity(14, 18, "Org", "Acme")
    return Annotation((ada, acme), (TextRelation(ada, acme, "WorkFor"),))


def test_gold_counts_characters_beside_a_text_and_words_beside_words(tmp_path: Path) -> None:
    path = write_jsonl(
        tmp_path / "a.jsonl", {"text": ADA, **ADA_GOLD}, ADA_WORDS, {"text": ADA, "entities": [], "gold": ADA_GOLD},
        {"text": ADA, "entities": None}, {"text": ADA, "entities": [], "gold": None},
    )  # fmt: skip
    golds = [d.gold for d in documents(path, gold=True)]
    assert golds == [expected_gold(), expected_gold(), expected_gold(), Annotation(), None]
    assert {d.gold for d in documents(path)} == {None}
    assert not any(d.entities for d in documents(path, gold=True))


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"text": ADA}, "gold: entities missing, found 'text'"),
        ({"text": ADA, "entities": [{"start": 0, "end": 99, "type": "Per"}]}, "gold: entity 0: [0, 99) is not inside"),
        ({"text": ADA, "entities": [{"start": 0, "end": 3, "type": "P", "text": "Bob"}]}, "gold: entity 0: its text"),
        ({"text": ADA, **ADA_GOLD, "relations": [{"head": 0, "tail": 2, "type": "x"}]}, "gold: relation 0: links 0"),
        ({"text": ADA, "gold": 3, "entities": []}, "gold: expected an object"),
        ({"text": ADA, "gold": {"relations": []}}, "gold: entities missing, found 'relations'"),
        ({"text": ADA, **ADA_WORDS}, "gold: a text and words"),
        (
            {**ADA_WORDS, "entities": [{"start": 0, "end": 9, "type": "P"}]},
            "gold: entity 0: end 9 is past the sentence",
        ),
        ({**ADA_WORDS, "entities": [{"start": 0, "end": 1}]}, "gold: entity 0: type missing"),
        ({"tokens": ["Ada"]}, "gold: entities missing, found ['tokens']"),
        ({"text": "a", "entities": [{"start": 0, "end": 1, "type": "\ud800"}]}, "type: character 0"),
    ],
)
def test_malformed_gold_is_bad_where_it_is_asked_for(tmp_path: Path, record: dict[str, Any], reason: str) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", record)
    assert only_bad(path, gold=True).reason.startswith(reason)
    assert len(documents(path)) == 1


# json ----------------------------------------------------------------------------------------------------------------


def test_spert_files_give_their_words_and_gold(tmp_path: Path) -> None:
    ada, acme = Entity(0, 1, "Per"), Entity(3, 4, "Org")
    spert = Example(("Ada", "works", "for", "Acme", "."), (ada, acme), (Relation(ada, acme, "WorkFor"),), id="s1")
    write_spert([spert, Example(("No", "one"))], tmp_path / "a.json")
    one, two = documents(tmp_path / "a.json", gold=True)
    assert (one.id, one.text, one.gold) == ("s1", "Ada works for Acme .", expected_gold())
    assert (two.id, two.gold) == (f"{tmp_path}/a.json:record 1", Annotation())
    assert [d.examples()[0].words for d in (one, two)] == [e.words for e in read_spert(tmp_path / "a.json")]


@settings(max_examples=60)
@given(
    st.lists(st.fixed_dictionaries({"text": TEXTS, "more": st.lists(st.floats(allow_nan=False) | TEXTS)}), max_size=5),
    st.sampled_from([None, 1]), st.booleans(), st.integers(1, 40),
)  # fmt: skip
def test_a_list_is_read_as_json_would_however_it_is_cut(
    records: list[dict[str, Any]], indent: int | None, ascii: bool, block: int
) -> None:
    written = json.dumps(records, indent=indent, ensure_ascii=ascii)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("iter_lightning.extraction.readers.json_records.BLOCK", block)
        assert [d.text for d in documents(write(Path(folder, "a.json"), written))] == [r["text"] for r in records]
        loose = "\n".join(json.dumps(record, indent=indent) for record in records)
        path = write(Path(folder, "b.json.gz"), loose)
        if records:
            assert [d.text for d in documents(path)] == [r["text"] for r in records]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", ["file: empty, expected a list"]),
        (" \n", ["file: empty, expected a list"]),
        ("[]", []),
        (" [ ] ", []),
        ("3", ["file: expected a list of records, found '3'"]),
        ('[{"text": "a"}', ["a", "record 1: cut off: no ']'; nothing more is read of the file"]),
        ('[{"text": "a"}, {"text": "b',
         ["a", "record 1: line 1: no JSON: Unterminated string starting at; nothing more"]),
        ('[{"text": "a"},\n\n{"text": b},' + " " * 99,
         ["a", "record 1: line 3: no JSON: Expecting value; nothing more"]),
        ('[{"text": "a"} {"text": "b"}]', ["a", "record 1: expected ',' or ']', found '{'; nothing more"]),
        ('[{"text": "a"}] x', ["a", "record 1: expected nothing after the list, found 'x'; nothing more"]),
        ('[{"text": "a"}, 12, null, {"text": "b"}]',
         ["a", "record 1: expected an object, found 12", "record 2: expected an object, found null", "b"]),
        ('[{"text": "a"}, {"text": "b"},]', ["a", "b", "record 2: line 1: no JSON: Expecting value; nothing more"]),
        ("[" * 200_000, ["record 0: nested too deep"]),
        ("[" + "1" * 5000 + "]", ["record 0: Exceeds the limit"]),
        ('{"data": [{"text": "a"}]}', ["record 0: neither 'text' nor tokens or words, found 'data'"]),
    ],
)  # fmt: skip
def test_damaged_lists_give_what_comes_before_the_damage(tmp_path: Path, content: str, expected: list[str]) -> None:
    found = told(read(write(tmp_path / "a.json", content)))
    assert len(found) == len(expected)
    assert all(one.startswith(other) for one, other in zip(found, expected, strict=True)), found


def test_a_number_that_is_cut_by_a_window_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.json", "[12345, 678]")
    monkeypatch.setattr("iter_lightning.extraction.readers.json_records.BLOCK", 1)
    assert [bad.split()[-1] for bad in told(read(path))] == ["12345", "678"]


def test_a_byte_that_is_no_utf8_spoils_its_record_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", b'[{"text": "a"}, {"text": "caf\xe9"}, {"text": "b", "other": "\xff"}]')
    bad = "record 1: text: character 3 is '\\udce9', a lone surrogate (half of a pair, or a byte that is not UTF-8)"
    assert told(read(path)) == ["a", bad, "b"]


def test_a_list_of_more_than_a_window_is_read_piece_by_piece(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", json.dumps([{"text": "x" * 1000}] * 2000 + [{"text": "y" * 3_000_000}]))
    reading = Reading([str(path)])
    items = iter(reading)
    next(items)
    assert reading.done <= 2 * 65536 < (reading.total or 0)
    assert [len(item.text) for item in items if isinstance(item, Document)] == [1000] * 1999 + [3_000_000]
    last = told(read(path, max_characters=2_000_000))[-1]
    assert last == "record 2000: 3,000,000 characters, at most 2,000,000 are read (max_characters)"


def test_a_record_of_a_list_that_does_not_end_is_not_held(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json.gz", b'[{"text": "a"}, {"text": "' + b"x" * (40 << 20) + b'"}]')
    reading = Reading([str(path)], ReadOptions(max_characters=1000))
    assert told(list(reading)) == [
        "a", "record 1: longer than 16,777,216 characters; nothing more is read of the file",
    ]  # fmt: skip


@pytest.mark.parametrize("writer", [as_lines, as_jsonl, as_json, as_csv])
def test_memory_does_not_grow_with_the_input(tmp_path: Path, writer: Callable[[Path, list[str]], Path]) -> None:
    path = writer(tmp_path / "a", ["x" * 1000] * 4000)
    reading = Reading([str(path)], ReadOptions("lines" if writer is as_lines else None))
    tracemalloc.start()
    count = sum(1 for _ in reading)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 4000
    assert peak < 1 << 20 < (reading.total or 0) // 3


# tables --------------------------------------------------------------------------------------------------------------


def test_rows_are_named_by_their_own_id_or_the_line_they_begin_on(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'id,text\r\nx,"one\r\ntwo"\r\n\r\n,"say ""hi"""\r\n')
    assert [(d.id, d.text) for d in documents(path)] == [("x", "one\r\ntwo"), (f"{path}:line 5", 'say "hi"')]
    tabs = write(tmp_path / "b.TSV.gz", "key\tbody\n1\ta, b\n")
    assert [(d.id, d.text) for d in documents(tabs, text_field="body", id_field="key")] == [("1", "a, b")]
    assert [d.text for d in documents(write(tmp_path / "c.txt", "text\tn\na\t1\n"), format="tsv")] == ["a"]


def test_a_field_may_be_longer_than_the_csv_module_allows_unasked(tmp_path: Path) -> None:
    assert len(documents(as_csv(tmp_path / "a", ["x" * 500_000]))[0].text) == 500_000


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", ["file: empty, expected a row with the names of the columns"]),
        ("text,n\na,b,1\nc,1\n", ["line 2: 3 fields, the first row has 2 (a delimiter that is not quoted?)", "c"]),
        ('text\n"a"b\nc\n', ["line 2: no CSV: ',' expected after '\"'", "c"]),
        ('text\n"a\nb"c\nd\n', ["line 2: no CSV: ',' expected after '\"' (line 3); where it ends cannot be told"]),
        ('text\na\n"b\nc\n', ["a", "line 3: no CSV: unexpected end of data (line 4); where it ends cannot be told"]),
        (b"text,n\ncaf\xe9,1\nb,\xff\n", ["line 2: text: the byte 0xe9 is not UTF-8", "b"]),
        ('a "quoted" word,text\n1,a "quoted" word\n', ['a "quoted" word']),
        ("text\n\x00\n", ["\x00"]),
    ],
)
def test_rows_that_are_no_csv_are_bad_and_no_text_is_changed(
    tmp_path: Path, content: str | bytes, expected: list[str]
) -> None:
    found = told(read(write(tmp_path / "a.csv", content)))
    assert len(found) == len(expected)
    assert all(one.startswith(other) for one, other in zip(found, expected, strict=True)), found


def test_missing_columns_are_told_all_at_once_with_those_there_are(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "n,body\n")
    write(tmp_path / "b.tsv", "text\tn\n")
    pq.write_table(pa.table({"body": ["x"], "n": [1]}), tmp_path / "c.parquet")
    with pytest.raises(ConfigError) as error:
        Reading([str(tmp_path)])
    assert (
        str(error.value)
        == "a.csv: no column 'text', it has 'n', 'body'\nc.parquet: no column 'text', it has 'body', 'n'"
    )
    with pytest.raises(ConfigError, match=r"b\.tsv: no column 'key', it has 'text', 'n'"):
        Reading([str(tmp_path / "b.tsv")], ReadOptions(id_field="key"))
    with pytest.raises(ConfigError, match=r"c\.parquet: no column 'gold' or 'entities' with the gold"):
        Reading([str(tmp_path / "c.parquet")], ReadOptions(text_field="body", gold=True))


def test_a_column_that_goes_missing_before_it_is_read_is_told_then(tmp_path: Path) -> None:
    reading = Reading([str(write(tmp_path / "a.csv", "text\nx\n"))])
    write(tmp_path / "a.csv", "body\nx\n")
    with pytest.raises(ConfigError, match="no column 'text', it has 'body'"):
        list(reading)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_parquet_columns_of_strings_of_any_kind(tmp_path: Path, kind: pa.DataType) -> None:
    table = pa.table({"id": [3, 4, None], "text": pa.array(["a", "a", None], kind), "other": [1, 2, 3]})
    pq.write_table(table, tmp_path / "a.parquet")
    found = read(tmp_path / "a.parquet")
    assert told(found) == ["a", "a", "row 2: text: expected a string, found null"]
    assert [item.id for item in found if isinstance(item, Document)] == ["3", "4"]
    assert isinstance(found[2], BadRecord)
    assert found[2].record == '{"id": null, "text": null}'  # the other column is not read


def test_parquet_holds_our_layout_words_and_gold(tmp_path: Path) -> None:
    document = Document.from_words([["Ada", "works", "for", "Acme."]], id="x")
    rows = [{**document.to_dict(), **ADA_GOLD}, {"text": ADA, "entities": [], "id": "y"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    one, two = documents(tmp_path / "a.parquet", gold=True)
    assert (one.words, one.sentences, one.gold) == (document.words, document.sentences, expected_gold())
    assert (two.words, two.gold) == ((), Annotation())
    pq.write_table(pa.Table.from_pylist([ADA_WORDS]), tmp_path / "b.parquet")
    (words,) = documents(tmp_path / "b.parquet", gold=True)
    assert (words.text, words.gold) == ("Ada works for Acme .", expected_gold())
    assert words.id == f"{tmp_path}/b.parquet:row 0"


def test_parquet_columns_may_be_nested_or_have_dots(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [{"b": "deep", "c": 1}]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"a.b": ["flat"], "a": [{"b": "deep"}]}), tmp_path / "b.parquet")
    for name, text in (("a", "deep"), ("b", "flat")):
        assert [d.text for d in documents(tmp_path / f"{name}.parquet", text_field="a.b")] == [text]


def test_a_parquet_string_that_is_no_utf8_is_bad_alone(tmp_path: Path) -> None:
    raw = pa.array([b"a", b"caf\xe9", b"b"], pa.binary())
    pq.write_table(pa.table({"text": raw.view(pa.string())}), tmp_path / "a.parquet")
    first, bad, last = told(read(tmp_path / "a.parquet"))
    assert (first, last) == ("a", "b")
    assert bad.startswith("row 1: ")
    assert "utf-8" in bad


def test_parquet_is_read_some_rows_at_a_time(tmp_path: Path) -> None:
    texts = [f"{number} " + "x" * 2000 for number in range(2000)]
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet", row_group_size=500)
    reading = Reading([str(tmp_path / "a.parquet")])
    items = iter(reading)
    first = [next(items) for _ in range(70)]
    assert 0 < reading.done < (reading.total or 0) // 10
    assert told([*first, *items]) == texts
    assert reading.done == reading.total


# conll ---------------------------------------------------------------------------------------------------------------

ADA_TAGS = "Ada NNP B-Per\nworks VB O\nfor IN O\nAcme NNP B-Org\n. . O\n"


def test_every_sentence_is_a_document_unless_documents_are_marked(tmp_path: Path) -> None:
    plain = write(tmp_path / "a.conll", f"\n{ADA_TAGS}\n\r\n{ADA_TAGS}")
    first, second = documents(plain, gold=True)
    assert (first.text, first.id) == ("Ada works for Acme .", f"{plain}:line 2")
    assert second.id == f"{plain}:line 9"
    assert first.gold == second.gold == Annotation(expected_gold().entities)
    marked = write(
        tmp_path / "b.bio.gz", f"{ADA_TAGS}\n-DOCSTART- -X- O\n\n{ADA_TAGS}\n{ADA_TAGS}-DOCSTART-\n-DOCSTART-\n"
    )
    found = documents(marked, gold=True)
    assert [len(d.sentences) for d in found] == [1, 2]
    assert [e.start for e in (found[1].gold or Annotation()).entities] == [0, 14, 21, 35]


def test_tags_of_iob1_and_bioes_are_read_and_columns_may_be_tabs(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.iob", "New York\tI-Loc\r\nTimes\tB-Loc\r\nSquare\tE-Loc\r\nYes\tS-Org\r\n\u2028x\xa0\tO\r\n"
    )
    (document,) = documents(path, gold=True)
    assert [(e.text, e.type) for e in (document.gold or Annotation()).entities] == [
        ("New York", "Loc"), ("Times Square", "Loc"), ("Yes", "Org"),
    ]  # fmt: skip
    assert document.word_texts()[-1] == "\u2028x\xa0"


def test_a_bad_line_spoils_its_document_once_and_the_next_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.conll", b"Ada\tB-Per\nworks\tX\nhere\tY\n\nBo\tO\n\n\tO\n\ncaf\xe9\tO\n\nAda\n")
    assert told(read(path, gold=True)) == [
        "line 2: 'X' is no tag (O, B-X, I-X, E-X, S-X) (the document begins at line 1)", "Bo",
        "line 7: the word in the first column is empty", "line 9: byte 3 (0xe9) is not UTF-8",
        "line 11: expected a word and a tag, found one column",
    ]  # fmt: skip
    assert told(read(path)) == [
        "Ada works here", "Bo", "line 7: the word in the first column is empty", "line 9: byte 3 (0xe9) is not UTF-8",
        "Ada",
    ]  # fmt: skip

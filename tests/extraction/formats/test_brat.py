"""brat, read back as its documentation describes the standoff format."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.formats.brat import file_name
from tests.extraction.formats.builders import BOOKS, any_documents, noted, written


def read_brat(folder: Path, name: str) -> tuple[str, dict[str, Any], list[Any], dict[str, float]]:
    """Text, entities and relations by id and scores of one document, as brat's page on standoff says."""
    text = (folder / f"{name}.txt").read_bytes().decode()
    entities, relations, scores = {}, [], {}
    content = (folder / f"{name}.ann").read_bytes().decode()
    assert content.splitlines() == content.split("\n")[:-1]
    for line in content.splitlines():
        key, body, *tail = line.split("\t")
        if key[0] == "T":
            kind, _, places = body.partition(" ")
            fragments = [tuple(map(int, place.split(" "))) for place in places.split(";")]
            assert all(a < b for a, b in fragments)
            assert all(one[1] < other[0] for one, other in pairwise(fragments))
            assert tail == [" ".join(text[a:b] for a, b in fragments)]
            entities[key] = (fragments[0][0], fragments[-1][1], kind)
        elif key[0] == "R":
            kind, *arguments = body.split(" ")
            relations.append((key, kind, *(a.removeprefix(f"Arg{n}:") for n, a in enumerate(arguments, 1))))
        else:
            assert re.fullmatch(r"AnnotatorNotes [TR]\d+", body)
            scores[body.split(" ")[1]] = float(tail[0])
    return text, entities, relations, scores


def as_values(text: str, entities: dict[str, Any], relations: list[Any], scores: dict[str, float]) -> tuple[Any, ...]:
    found = [(*entity, scores[key]) for key, entity in entities.items()]
    links = []
    for key, kind, head, tail in relations:
        spelled = [text[slice(*entities[end][:2])] for end in (head, tail)]
        links.append((kind, *spelled, scores[key]))
    return text, found, links


@any_documents()
def test_folder_holds_texts_entities_relations_and_scores(found: list[Document]) -> None:
    breaks = "\t\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029"
    with TemporaryDirectory() as folder:
        path, notes = written(".brat", found, Path(folder))
        names = [file.name.removesuffix(".txt") for file in path.glob("*.txt")]
        assert len(names) == len(found) == len({name.casefold() for name in names})
        renamed = path / "ids.tsv"
        lines = renamed.read_bytes().decode().split("\n")[:-1] if renamed.exists() else []
        ids = {name: json.loads(id) for name, _, id in (line.partition("\t") for line in lines)}
        read = {name: read_brat(path, name) for name in names}
    assert Counter(d.id for d in found if d.id) <= Counter(ids.get(name, name) for name in names)
    remaining = list(read.values())
    for document in found:
        expected, kept = [], set()
        for entity in document.entities:
            if inner := entity.text.strip(breaks):
                start = entity.start + len(entity.text) - len(entity.text.lstrip(breaks))
                expected.append((start, start + len(inner), entity.type.replace(" ", "_"), entity.score))
                kept.add(entity)
        links = [r for r in document.relations if {r.head, r.tail} <= kept]
        values = (
            document.text, expected,
            [(r.type.replace("/", "_"), r.head.text.strip(breaks), r.tail.text.strip(breaks), r.score) for r in links],
        )  # fmt: skip
        remaining.remove(next(one for one in remaining if as_values(*one) == values))
    assert remaining == []
    lost = sum(not entity.text.strip(breaks) for document in found for entity in document.entities)
    assert noted(notes, "of line breaks alone") == lost


def test_types_and_safe_names_are_written(tmp_path: Path) -> None:
    ids = [
        "a", "A", "a-2", "", "", "..", "../../etc/passwd", "x" * 300, "CON", "北京", "Ä", "a\u0308", ".hidden", "-rf",
    ]  # fmt: skip
    path, notes = written(".brat", [Document("t", id=id) for id in ids], tmp_path)
    names = {file.stem for file in path.glob("*.txt")}
    assert len(names) == len(ids)
    assert {"a", "A-2", "a-2-2", "document-4", "document-5", "_..", "_.._.._etc_passwd", "_CON", "北京"} <= names
    assert {file.stem for file in path.glob("*.ann")} == names
    assert "brat names files after ids: 9 spelled otherwise, see ids.tsv" in notes
    assert (path / "annotation.conf").read_text().split("\n\n") == [
        "[entities]\nLoc\nOrg\nPer_son",
        "[relations]\nKin\tArg1:<ENTITY>, Arg2:<ENTITY>, <REL-TYPE>:symmetric\nLives_In\tArg1:<ENTITY>, Arg2:<ENTITY>\n"
        "# entities may be nested in each other and cross\n<OVERLAP>\tArg1:<ENTITY>, Arg2:<ENTITY>, <OVL-TYPE>:<ANY>",
        "[events]",
        "[attributes]\n",
    ]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_file_name_of_any_id_is_safe(id: str) -> None:
    name = file_name(id)
    assert len(name.encode()) <= 200
    assert not re.search(r"[^\w.-]", name)
    assert not name.startswith((".", "-"))
    assert bool(name) == bool(id)


def test_entity_with_line_breaks_is_written_in_fragments(tmp_path: Path) -> None:
    path, _ = written(".brat", BOOKS, tmp_path)
    start = BOOKS[0].text.index("Kit")
    line = f"T6\tOrg {start} {start + 3};{start + 4} {start + 11}\tKit and Co.\n"
    assert line in (path / "book_1.ann").read_text()

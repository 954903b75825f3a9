"""brat: a folder of texts and standoff annotation."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from typing import TextIO

from iter_lightning.extraction.documents import Document, TextEntity
from iter_lightning.extraction.formats.support.base import Format
from iter_lightning.extraction.formats.support.writing import Writer

_FRAGMENT = re.compile(r"[^\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]+")
"""Text without tabs and without characters at which some reader of .ann files ends a line."""
_NAME_BYTES = 180
"""Longest file name, with room for a number and a suffix below the limit of 255."""
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names of devices in Windows."""


class BratWriter(Writer):
    """Writes `NAME.txt`, the text, and `NAME.ann` for each document, and `annotation.conf` with the types.

    An entity with line breaks or tabs is written in fragments (`0 5;6 10`), because it has to fit in a line. Scores are
    notes on entities and relations. Names come from ids; `ids.tsv` lists the ids (as JSON) whose names had to change.
    """

    def open(self) -> None:
        """Create the folder."""
        self.path.mkdir()
        self._entity_types = self.losses.safe_names(r"[^A-Za-z0-9_-]", self.schema.entity_types)
        self._relation_types = self.losses.safe_names(r"[^A-Za-z0-9_-]", self.schema.relation_types)
        self._names = Counter[str]()
        self._documents = 0
        self._renamed: TextIO | None = None

    def write(self, document: Document) -> None:
        """Add the two files of a document."""
        self._documents += 1
        name = self._name(document.id)
        for suffix, content in ((".txt", document.text), (".ann", "".join(self._lines(document)))):
            # `x`: never overwrite another document, even if the file system takes the names for equal
            with (self.path / f"{name}{suffix}").open("x", encoding="utf-8", newline="") as file:
                file.write(content)

    def close(self) -> None:
        """Write the types."""
        (self.path / "annotation.conf").write_text(self._configuration(), encoding="utf-8")
        super().close()

    def _lines(self, document: Document) -> list[str]:
        lines: list[str] = []
        scores: list[tuple[str, float]] = []
        ids: dict[TextEntity, str] = {}
        for entity in document.entities:
            fragments = list(_FRAGMENT.finditer(document.text, entity.start, entity.end))
            if not fragments:
                self.losses.add("holds no entity of line breaks alone")
                continue
            if (fragments[0].start(), fragments[-1].end()) != (entity.start, entity.end):
                self.losses.add("holds no line break at an entity's border", 1, "trimmed")
            ids[entity] = key = f"T{len(ids) + 1}"
            places = ";".join(f"{m.start()} {m.end()}" for m in fragments)
            text = " ".join(m.group() for m in fragments)
            lines.append(f"{key}\t{self._entity_types(entity.type)} {places}\t{text}\n")
            scores.append((key, entity.score))
        number = 0
        for relation in document.relations:
            if relation.head not in ids or relation.tail not in ids:
                self.losses.add("holds no relation of an entity it does not hold")
                continue
            number += 1
            arguments = f"Arg1:{ids[relation.head]} Arg2:{ids[relation.tail]}"
            lines.append(f"R{number}\t{self._relation_types(relation.type)} {arguments}\n")
            scores.append((f"R{number}", relation.score))
        notes = (f"#{place}\tAnnotatorNotes {key}\t{score}\n" for place, (key, score) in enumerate(scores, 1))
        return [*lines, *notes]

    def _name(self, id: str) -> str:
        wanted = file_name(id) or f"document-{self._documents}"
        name = wanted
        while self._names[name.casefold()]:
            self._names[wanted.casefold()] += 1
            name = f"{wanted}-{self._names[wanted.casefold()]}"
        self._names[name.casefold()] = 1
        if id and name != id:
            self.losses.add("names files after ids", 1, "spelled otherwise, see ids.tsv")
            if self._renamed is None:
                names = (self.path / "ids.tsv").open("w", encoding="utf-8", newline="")
                self._renamed = self.files.enter_context(names)
            self._renamed.write(f"{name}\t{json.dumps(id, ensure_ascii=False)}\n")
        return name

    def _configuration(self) -> str:
        relations = []
        for name, safe in self._relation_types.items():
            symmetric = ", <REL-TYPE>:symmetric" if name in self.schema.symmetric else ""
            relations.append(f"{safe}\tArg1:<ENTITY>, Arg2:<ENTITY>{symmetric}")
        return "\n".join([
            "[entities]", *(safe for _, safe in self._entity_types.items()), "", "[relations]", *relations,
            "# entities may be nested in each other and cross",
            "<OVERLAP>\tArg1:<ENTITY>, Arg2:<ENTITY>, <OVL-TYPE>:<ANY>", "", "[events]", "", "[attributes]", "",
        ])  # fmt: skip


def file_name(id: str) -> str:
    """Return an id in letters, digits, `_`, `.` and `-`, which any file system accepts; empty for an empty id."""
    name = re.sub(r"[^\w.-]", "_", unicodedata.normalize("NFC", id))
    name = name.encode()[:_NAME_BYTES].decode(errors="ignore")
    if name.startswith((".", "-")) or _RESERVED.fullmatch(name):  # hidden, an option, a device
        name = "_" + name
    return name


BRAT = Format(
    "brat", "a folder of .txt and .ann for brat", (".brat",), write=BratWriter,
    cannot_hold="entities of line breaks alone, words and sentences",
    folder=("annotation.conf", "ids.tsv", "*.ann", "*.txt"),
)  # fmt: skip

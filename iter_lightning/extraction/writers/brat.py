"""brat: a folder of texts and standoff annotation, for the annotation tool and whatever else reads it."""

from __future__ import annotations

import json
import re
import unicodedata
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from iter_lightning.extraction.documents import Document, TextEntity
from iter_lightning.extraction.writers.files import Occurrences
from iter_lightning.extraction.writers.losses import Losses, SafeNames
from iter_lightning.types import Schema

_FRAGMENT = re.compile(r"[^\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]+")
"""What may stand in a line of an .ann file: no tab, and nothing that some reader ends a line at."""
_NAME_BYTES = 180
"""Of a file name; 255 is the limit, a number and a suffix are to come."""
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""What Windows takes for a device."""


class BratWriter:
    """`NAME.txt`, the text as it is, and `NAME.ann` a document, and `annotation.conf` with the schema's types.

    An entity with line breaks or tabs is written in fragments, `0 5;6 10`, since it has to fit in a line. Scores are
    notes on entities and relations. Names come from ids; where they had to change, `ids.tsv` tells the id (as JSON).
    """

    def __init__(self, path: Path, schema: Schema, context: str) -> None:
        self.notes: list[str] = []
        self._folder = path
        self._losses = Losses("brat")
        path.mkdir()
        self._entity_types = SafeNames("brat", r"[^A-Za-z0-9_-]", schema.entity_types)
        self._relation_types = SafeNames("brat", r"[^A-Za-z0-9_-]", schema.relation_types)
        self._symmetric = schema.symmetric
        self._names = Occurrences(path.parent)
        self._documents = 0
        self._renamed: TextIO | None = None

    def write(self, document: Document) -> None:
        """Add a document's two files."""
        self._documents += 1
        name = self._name(document.id)
        for suffix, content in ((".txt", document.text), (".ann", "".join(self._lines(document)))):
            # `x`: never over another document, whatever the file system takes for the same name
            with (self._folder / f"{name}{suffix}").open("x", encoding="utf-8", newline="") as file:
                file.write(content)

    def close(self) -> None:
        """Write the types."""
        self._close_files()
        (self._folder / "annotation.conf").write_text(self._configuration(), encoding="utf-8")
        self.notes = self._losses.notes() + self._entity_types.notes() + self._relation_types.notes()

    def discard(self) -> None:
        """Close without care for what is left."""
        with suppress(OSError):
            self._close_files()

    def _close_files(self) -> None:
        self._names.close()
        if self._renamed:
            self._renamed.close()

    def _lines(self, document: Document) -> list[str]:
        lines: list[str] = []
        remarks: list[tuple[str, float]] = []
        ids: dict[TextEntity, str] = {}
        for entity in document.entities:
            fragments = list(_FRAGMENT.finditer(document.text, entity.start, entity.end))
            if not fragments:
                self._losses.add("holds no entity of line breaks alone")
                continue
            if (fragments[0].start(), fragments[-1].end()) != (entity.start, entity.end):
                self._losses.add("holds no line break at an entity's border", 1, "trimmed")
            ids[entity] = key = f"T{len(ids) + 1}"
            places = ";".join(f"{m.start()} {m.end()}" for m in fragments)
            text = " ".join(m.group() for m in fragments)
            lines.append(f"{key}\t{self._entity_types(entity.type)} {places}\t{text}\n")
            remarks.append((key, entity.score))
        number = 0
        for relation in document.relations:
            if relation.head not in ids or relation.tail not in ids:
                self._losses.add("holds no relation of an entity it does not hold")
                continue
            number += 1
            arguments = f"Arg1:{ids[relation.head]} Arg2:{ids[relation.tail]}"
            lines.append(f"R{number}\t{self._relation_types(relation.type)} {arguments}\n")
            remarks.append((f"R{number}", relation.score))
        for place, (key, score) in enumerate(remarks, 1):
            lines.append(f"#{place}\tAnnotatorNotes {key}\t{score}\n")
        return lines

    def _name(self, id: str) -> str:
        wanted = file_name(id) or f"document-{self._documents}"
        name = wanted
        while (times := self._names.count(name.casefold())) > 1:
            name = f"{wanted}-{times}"
        if id and name != id:
            self._losses.add("names files after ids", 1, "spelled otherwise, see ids.tsv")
            if self._renamed is None:
                self._renamed = (self._folder / "ids.tsv").open("w", encoding="utf-8", newline="")
            self._renamed.write(f"{name}\t{json.dumps(id, ensure_ascii=False)}\n")
        return name

    def _configuration(self) -> str:
        relations = []
        for name, safe in self._relation_types.items():
            symmetric = ", <REL-TYPE>:symmetric" if name in self._symmetric else ""
            relations.append(f"{safe}\tArg1:<ENTITY>, Arg2:<ENTITY>{symmetric}")
        return "\n".join([
            "[entities]", *(safe for _, safe in self._entity_types.items()), "", "[relations]", *relations,
            "# entities may be nested in each other and cross",
            "<OVERLAP>\tArg1:<ENTITY>, Arg2:<ENTITY>, <OVL-TYPE>:<ANY>", "", "[events]", "", "[attributes]", "",
        ])  # fmt: skip


def file_name(id: str) -> str:
    """An id in letters, digits, `_`, `.` and `-` that any file system takes; empty for an empty one."""
    name = re.sub(r"[^\w.-]", "_", unicodedata.normalize("NFC", id))
    name = name.encode()[:_NAME_BYTES].decode(errors="ignore")
    if name.startswith((".", "-")) or _RESERVED.fullmatch(name):  # hidden, an option, a device
        name = "_" + name
    return name

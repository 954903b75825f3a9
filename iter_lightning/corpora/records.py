"""Parse JSON and check raw records, for all readers.

A reader processes its whole file and then reports all faults at once: file, record, field, the value that was found,
and the value that was expected. Records, entities, and relations are counted from 0.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from iter_lightning.errors import CorpusError, IterError, shown
from iter_lightning.io.streams import GzipReader, regular_file
from iter_lightning.types import Entity, Example, Relation, surrogate_fault

UNPACKED_BYTES = 1 << 30
"""Number of bytes that a gzipped corpus file may unpack to. Other files have no limit."""
RawEntity = tuple[Any, Any, Any]
"""Start, end (exclusive), and type, not yet checked."""
RawRelation = tuple[Any, Any, Any]
"""Head index, tail index, and type, not yet checked."""


class Faults:
    """Collects the faults of one file, which are reported together.

    Args:
        path: the file that messages name; None for records that come from elsewhere.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._name = path.name if path else ""
        self.lines: list[str] = []

    def add(self, where: str, text: str) -> None:
        """Add a fault at `where` (a record, a line, a field)."""
        self.lines.append(": ".join(part for part in (self._name, where, text) if part))

    def finish(self) -> None:
        """Raise `CorpusError` if there are faults."""
        if self.lines:
            raise CorpusError(self.lines)


def read_text(path: Path) -> str:
    """Read a text file in UTF-8, gzipped or not, with or without a byte order mark.

    Raises:
        CorpusError: If the file is missing, cannot be read, is not a regular file, is not UTF-8, or unpacks to more
            than `UNPACKED_BYTES`.
    """
    try:
        return _read_bytes(regular_file(path)).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError([f"{path}: byte {error.start} is not UTF-8; convert the file to UTF-8"]) from error
    except IterError as error:
        raise CorpusError([str(error)]) from error
    except (OSError, EOFError, ValueError) as error:  # ValueError: a null character in the name
        raise CorpusError([f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}"]) from error


def _read_bytes(path: Path) -> bytes:
    if path.suffix != ".gz":
        return path.read_bytes()
    with path.open("rb") as packed, io.BufferedReader(GzipReader(packed)) as stream:
        data = stream.read(UNPACKED_BYTES + 1)
    if len(data) > UNPACKED_BYTES:
        raise IterError(f"{path} unpacks to more than {UNPACKED_BYTES:,} bytes: unpack it and use the unpacked file")
    return data


def read_json(path: Path, expected: type) -> Any:
    """Read a JSON file whose top level must have type `expected`."""
    return parse_json(read_text(path), path, expected)


def parse_json(text: str, path: Path, expected: type, line: int | None = None) -> Any:
    """Parse the JSON of a file (`line` is None), or of one line of it.

    Raises:
        CorpusError: If the text is not JSON, or has another type at the top level.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno if line is None else line} column {error.colno}"
        raise CorpusError([f"{path.name}: {place}: {error.msg}, the file is damaged or cut off"]) from error
    except RecursionError as error:
        raise CorpusError([f"{path.name}: nested too deeply"]) from error
    except ValueError as error:  # an integer of thousands of digits
        place = "" if line is None else f"line {line}: "
        raise CorpusError([f"{path.name}: {place}{str(error).partition(';')[0]}"]) from error
    if not isinstance(value, expected):
        where = "top level" if line is None else f"line {line}"
        raise CorpusError([f"{path.name}: {where}: expected {_name(expected)}, found {_name(type(value))}"])
    return value


def read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON-lines file. Blank lines are skipped."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            yield parse_json(line, path, dict, number)


def record_objects(path: Path) -> list[dict[str, Any]]:
    """Return the records of a JSON list of objects.

    Raises:
        CorpusError: If entries are not objects. The message lists all of them.
    """
    faults = Faults(path)
    records: list[Any] = read_json(path, list)
    for number, record in enumerate(records):
        if not isinstance(record, dict):
            faults.add(f"record {number}", f"expected an object, found {_name(type(record))}")
    faults.finish()
    return records


def check_words(value: Any, where: str, faults: Faults, field: str = "tokens") -> tuple[str, ...] | None:
    """Return a list of strings as words, or add a fault and return None."""
    if not isinstance(value, list):
        faults.add(where, f"{field}: expected a list of words, found {described(value)}")
        return None
    wrong = next((i for i, word in enumerate(value) if not isinstance(word, str)), None)
    if wrong is not None:
        faults.add(where, f"{field}: word {wrong} is {described(value[wrong])}, expected a string")
        return None
    for i, word in enumerate(value):
        if fault := surrogate_fault(word):
            faults.add(where, f"{field}: word {i}: {fault}")
            return None
    return tuple(value)


def check_list(value: Any, where: str, faults: Faults, field: str) -> list[Any]:
    """Return a list, or add a fault. Null, and the empty object in some releases, count as an empty list."""
    if value is None or value == {}:
        return []
    if not isinstance(value, list):
        faults.add(where, f"{field}: expected a list, found {described(value)}")
        return []
    return value


def required_list(record: dict[str, Any], field: str, where: str, faults: Faults) -> list[Any]:
    """Return the list of a required key, so that a misspelled field is not read as missing annotation."""
    if field not in record:
        faults.add(where, f"{field} missing, found {shown(sorted(record))}")
    return check_list(record.get(field), where, faults, field)


def take_keys(items: Iterable[Any], keys: Sequence[str], where: str, what: str, faults: Faults) -> list[Any]:
    """Return the values of `keys` of each object as a tuple. If one is missing, add a fault and return None for it."""
    result: list[Any] = []
    for number, item in enumerate(items):
        if not isinstance(item, dict):
            faults.add(where, f"{what} {number}: expected an object, found {described(item)}")
            result.append(None)
        elif missing := [key for key in keys if key not in item]:
            faults.add(where, f"{what} {number}: {' and '.join(missing)} missing, found {shown(sorted(item))}")
            result.append(None)
        else:
            result.append(tuple(item[key] for key in keys))
    return result


def build_example(
    words: tuple[str, ...], entities: Sequence[RawEntity | None], relations: Sequence[RawRelation | None], id: str,
    where: str, faults: Faults, left_context: tuple[str, ...] = (), right_context: tuple[str, ...] = (),
) -> Example | None:  # fmt: skip
    """Build an example without exact duplicates, or add faults and return None."""
    before = len(faults.lines)
    if fault := surrogate_fault(id):
        faults.add(where, f"id: {fault}")
    checked = [None if raw is None else _entity(raw, len(words), f"{where}: entity {i}", faults)
               for i, raw in enumerate(entities)]  # fmt: skip
    linked: list[Relation] = []
    for number, raw in enumerate(relations):
        if raw is not None:
            relation = _relation(raw, checked, f"{where}: relation {number}", faults)
            if relation is not None:
                linked.append(relation)
    if len(faults.lines) > before or None in checked:
        return None
    return Example(
        words=words, entities=tuple(dict.fromkeys(e for e in checked if e is not None)),
        relations=tuple(dict.fromkeys(linked)), id=id, left_context=left_context, right_context=right_context,
    )  # fmt: skip


def _entity(raw: RawEntity, length: int, where: str, faults: Faults) -> Entity | None:
    start, end, kind = raw
    if not (_is_int(start) and _is_int(end) and isinstance(kind, str)):
        faults.add(where, f"expected whole numbers for start and end and a string for type, found {shown(raw)}")
    elif fault := surrogate_fault(kind):
        faults.add(where, f"type: {fault}")
    elif start < 0:
        faults.add(where, f"start {start} is before the sentence")
    elif end <= start:
        faults.add(where, f"end {end} must be past start {start} (ends are exclusive)")
    elif end > length:
        faults.add(where, f"end {end} is past the sentence ({length} words)")
    else:
        return Entity(start, end, kind)
    return None


def _relation(raw: RawRelation, entities: Sequence[Entity | None], where: str, faults: Faults) -> Relation | None:
    head, tail, kind = raw
    if not (_is_int(head) and _is_int(tail) and isinstance(kind, str)):
        faults.add(where, f"expected whole numbers for head and tail and a string for type, found {shown(raw)}")
        return None
    if fault := surrogate_fault(kind):
        faults.add(where, f"type: {fault}")
        return None
    for role, index in (("head", head), ("tail", tail)):
        if not 0 <= index < len(entities):
            faults.add(where, f"{role} {index} is not an entity (the record has {len(entities)})")
            return None
    first, second = entities[head], entities[tail]
    return None if first is None or second is None else Relation(first, second, kind)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _name(kind: type) -> str:
    return {dict: "an object", list: "a list", str: "a string", int: "a number", float: "a number", bool: "a boolean",
            type(None): "null"}.get(kind, kind.__name__)  # fmt: skip


def described(value: Any) -> str:
    """Describe a value in a message: the kind of a list, an object or null, else the value itself."""
    return _name(type(value)) if isinstance(value, dict | list) or value is None else shown(value)

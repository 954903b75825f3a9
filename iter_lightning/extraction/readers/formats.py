"""The formats by name."""

from __future__ import annotations

from iter_lightning.extraction.readers.conll import read_conll
from iter_lightning.extraction.readers.items import Reader
from iter_lightning.extraction.readers.json_records import read_json, read_jsonl
from iter_lightning.extraction.readers.plain import read_lines, read_text
from iter_lightning.extraction.readers.tables import check_csv, check_parquet, read_csv, read_parquet

FORMATS: dict[str, Reader] = {
    "text": Reader(read_text, (".txt", ".md")),
    "lines": Reader(read_lines, also=(".txt", ".md")),
    "jsonl": Reader(read_jsonl, (".jsonl", ".ndjson"), also=(".json",), gold=True),
    "json": Reader(read_json, (".json",), gold=True),
    "csv": Reader(read_csv, (".csv", ".tsv"), also=(".txt",), check=check_csv),
    "tsv": Reader(read_csv, also=(".tsv", ".txt"), check=check_csv),
    "parquet": Reader(read_parquet, (".parquet",), gold=True, check=check_parquet, seeks=True),
    "conll": Reader(read_conll, (".conll", ".bio", ".iob"), also=(".txt", ".tsv"), gold=True),
}
BY_SUFFIX = {suffix: name for name, reader in FORMATS.items() for suffix in reader.suffixes}
STREAM_FORMAT = "lines"
"""Of standard input."""

"""Document formats: one module per format, with its reader and its writer.

`python -m iter_lightning extract` reads and writes these formats; `Reading` and `open_writer` do so from Python. To add
one, see `docs/add-an-output-format.md`.

| format     | suffixes         | a document is read from                 | written as          | drops               |
| ---------- | ---------------- | --------------------------------------- | ------------------- | ------------------- |
| `text`     | .txt .md         | a file                                  |                     |                     |
| `lines`    |                  | a line (default of standard input)      |                     |                     |
| `jsonl`    | .jsonl .ndjson   | a line with a record, also gold         | everything          | nothing             |
| `json`     | .json            | a record of an array, also gold         |                     |                     |
| `spert`    | .json            | (`json` reads it)                       | SpERT's records     | scores              |
| `csv`      | .csv .tsv        | a row                                   | a relation per row  | other entities      |
| `tsv`      |                  | a row, with tabs between columns        |                     |                     |
| `parquet`  | .parquet         | a row, also gold                        | typed columns       | gold                |
| `conll`    | .conll .bio .iob | `-DOCSTART-`, else a sentence; gold     | words and BIO tags  | relations, scores   |
| `brat`     | .brat            |                                         | .txt and .ann       | words               |
| `docbin`   | .spacy           |                                         | spaCy's DocBin      | nothing             |
| `graphml`  | .graphml         |                                         | one graph           | texts, positions    |
| `ntriples` | .nt              |                                         | RDF                 | words               |
| `html`     | .html .htm       |                                         | a page              | documents past 500  |

Except for Parquet, DocBin, brat and HTML, files may be gzipped (`.gz`). Texts are UTF-8, with or without a byte order
mark, and keep their line endings. Lines end with LF or CR LF only; they count from 1, records and rows from 0. What a
writer drops is counted and reported.
"""

from iter_lightning.extraction.formats.support.base import BadRecord, Format, ReadOptions
from iter_lightning.extraction.formats.support.output import open_writer, output_format
from iter_lightning.extraction.formats.support.reading import Reading
from iter_lightning.extraction.formats.support.registry import formats, register_format
from iter_lightning.extraction.formats.support.writing import Losses, TextWriter, Writer

__all__ = [
    "BadRecord", "Format", "Losses", "ReadOptions", "Reading", "TextWriter", "Writer", "formats", "open_writer",
    "output_format", "register_format",
]  # fmt: skip

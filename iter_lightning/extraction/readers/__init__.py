"""The inputs of an extraction as a stream of documents, however large they are: nothing is read before it is wanted.

| format    | suffixes          | a document is                                             | gold |
| --------- | ----------------- | --------------------------------------------------------- | ---- |
| `text`    | .txt .md          | a file                                                    |      |
| `lines`   |                   | a line, empty ones too; standard input unless told else   |      |
| `jsonl`   | .jsonl .ndjson    | a line with a record, see `records`                       | yes  |
| `json`    | .json             | a record of a list (SpERT's layout), or one after another | yes  |
| `csv`     | .csv .tsv         | a row; between columns are commas, in .tsv tabs           |      |
| `tsv`     |                   | a row; between columns are tabs                           |      |
| `parquet` | .parquet          | a row, see `records`                                      | yes  |
| `conll`   | .conll .bio .iob  | what `-DOCSTART-` begins, else a sentence                 | yes  |

All but Parquet may be gzipped (`.gz`). Texts are UTF-8, with or without a byte order mark, and come out as they are in
the file, line endings included. Lines end with LF or CR LF and with nothing else. Lines count from 1, records and rows
from 0.
"""

from iter_lightning.extraction.readers.formats import FORMATS
from iter_lightning.extraction.readers.items import BadRecord, ReadOptions
from iter_lightning.extraction.readers.reading import Reading

__all__ = ["FORMATS", "BadRecord", "ReadOptions", "Reading"]

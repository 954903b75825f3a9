"""Load the splits of a corpus of the catalog, or of a user's own files, as checked examples.

The files may come from `prepare` or directly from their owners. Every type is checked against the schema.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from iter_lightning.corpora.catalog import CATALOG
from iter_lightning.corpora.corpus import Splits, type_faults
from iter_lightning.corpora.spert import read_spert, read_spert_types
from iter_lightning.errors import CorpusError
from iter_lightning.types import Schema


def data_folder(given: str | Path | None = None) -> Path:
    """Return the data folder: `given`, else the environment variable ITER_DATA, else `data`.

    Args:
        given: Folder that the user has chosen, if any.

    Returns:
        The folder that contains one folder per corpus.

    Example:
        >>> data_folder("corpora").name
        'corpora'
    """
    return Path(given or os.environ.get("ITER_DATA") or "data")


def load_corpus(name: str, data_dir: str | Path, *, fold: int = 0) -> Splits:
    """Load the official splits of a corpus.

    Args:
        name: Key of the catalog.
        data_dir: Data folder, which contains a folder of this name.
        fold: Fold of a corpus that has folds, such as ADE.

    Returns:
        The examples of `train`, `test`, and, if the corpus has one, `dev`.

    Raises:
        ConfigError: If the corpus or the fold is unknown.
        CorpusError: If files are missing (with instructions to obtain them), or if one has faults. The message lists
            all faults of the first such file.

    Example:
        >>> splits = load_corpus("conll04", "data")  # doctest: +SKIP
        >>> len(splits["train"])  # doctest: +SKIP
        922
    """
    return CATALOG.find(name).load(data_dir, fold)


def load_custom(
    train: str | Path, dev: str | Path | None, test: str | Path | None, types: str | Path | None = None,
    symmetric: Sequence[str] = (),
) -> tuple[Schema, Splits]:  # fmt: skip
    """Load a user's files in SpERT's JSON format.

    Args:
        train: File of the training split.
        dev: File of the development split, or None.
        test: File of the test split, or None.
        types: SpERT's types file, or a file with the values of `Schema.to_dict`. None infers the schema from all files.
        symmetric: Symmetric relation types, used if the schema is inferred.

    Returns:
        The schema, and the examples of each given split.

    Raises:
        CorpusError: If a file has faults, or types that are not in the schema. The message lists all of them.

    Example:
        >>> import json, pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     record = {"tokens": ["Ada", "sings"], "entities": [{"start": 0, "end": 1, "type": "Peop"}]}
        ...     file = pathlib.Path(folder, "train.json")
        ...     _ = file.write_text(json.dumps([record]))
        ...     schema, splits = load_custom(file, None, None)
        >>> schema.entity_types, len(splits["train"])
        (('Peop',), 1)
    """
    paths = {"train": train, "dev": dev, "test": test}
    splits = {split: read_spert(path) for split, path in paths.items() if path is not None}
    if types is None:
        try:
            return Schema.infer([e for split in splits.values() for e in split], symmetric), splits
        except ValueError as error:
            raise CorpusError([f"{train}: no schema can be inferred: {error}"]) from error
    schema = read_spert_types(types)
    faults = [f"{Path(str(paths[split])).name}: {fault}"
              for split, examples in splits.items() for fault in type_faults(examples, schema)]  # fmt: skip
    if faults:
        raise CorpusError(faults)
    return schema, splits

"""Load the splits of a corpus of the catalog, or of a user's own files, as checked examples.

The files may come from `prepare` or directly from their owners. Every type is checked against the schema.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from iter_lightning.corpora.asp import OPEN, read_asp
from iter_lightning.corpora.catalog import CATALOG, SCIERC_DOCUMENTS, Corpus
from iter_lightning.corpora.conll import read_conll
from iter_lightning.corpora.dygie import SCIERC_LABELS, read_dygie
from iter_lightning.corpora.genia import TRAIN_DEV, read_genia
from iter_lightning.corpora.jointer import read_jointer
from iter_lightning.corpora.records import read_text
from iter_lightning.corpora.spert import read_spert, read_spert_types
from iter_lightning.errors import ConfigError, CorpusError
from iter_lightning.types import Example, Schema

Splits = dict[str, list[Example]]
"""Map from split (`train`, `dev`, `test`) to its examples."""
DYGIE_NAMES = {"train": "train.json", "dev": "dev.json", "test": "test.json"}
GENIA_PREPARED = {"train": "genia_train_dev.json", "test": "genia_test.json"}


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


def load_corpus(name: str, data_dir: str | Path, *, fold: int | None = None, level: str = "document") -> Splits:
    """Load the official splits of a corpus.

    Args:
        name: Key of the catalog.
        data_dir: Data folder, which contains a folder of this name.
        fold: Fold of ADE, 0 to 9.
        level: Unit of the examples of CoNLL03.

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
    corpus = _corpus(name)
    files = split_files(name, data_dir, fold=fold)
    if name == "genia" and set(files) == {"archive"}:
        examples = read_genia(files["archive"])
        splits = {"train": examples[:TRAIN_DEV], "test": examples[TRAIN_DEV:]}
    else:
        splits = {split: _reader(corpus, path, level)(path) for split, path in files.items()}
    return _checked_types(corpus, splits)


def load_coreference(data_dir: str | Path) -> Splits:
    """Load SciERC with one example per abstract and coreference as a relation (see `read_dygie`).

    Args:
        data_dir: Data folder; see `coreference_files`.

    Returns:
        The examples of `train`, `dev`, and `test`.

    Raises:
        CorpusError: If files are missing (with instructions to obtain them), or if one has faults. The message lists
            all faults of the first such file.

    Example:
        >>> len(load_coreference("data")["train"])  # doctest: +SKIP
        350
    """
    files = coreference_files(data_dir)
    splits = {split: read_dygie(path, SCIERC_LABELS, coreference=True) for split, path in files.items()}
    return _checked_types(SCIERC_DOCUMENTS, splits)


def coreference_files(data_dir: str | Path) -> dict[str, Path]:
    """Find the files of SciERC in DyGIE's layout.

    Args:
        data_dir: Data folder. Its folders `scierc` and `scierc_dygie` are searched.

    Returns:
        A map from split to file.

    Raises:
        CorpusError: If neither folder has all three files, with instructions to obtain them.

    Example:
        >>> coreference_files("data")["dev"]  # doctest: +SKIP
        PosixPath('data/scierc_dygie/dev.json')
    """
    folders = [Path(data_dir) / name for name in ("scierc", "scierc_dygie")]
    for folder in folders:
        files = {split: folder / name for split, name in DYGIE_NAMES.items()}
        if all(path.is_file() for path in files.values()):
            return files
    where = (
        f"{SCIERC_DOCUMENTS.title}: neither {folders[0]} nor {folders[1]} contains train.json, dev.json and test.json"
    )
    raise CorpusError([f"{where}. {SCIERC_DOCUMENTS.obtain}"])


def split_files(name: str, data_dir: str | Path, *, fold: int | None = None) -> dict[str, Path]:
    """Return a map from split to file; for GENIA's archive, the only key is `archive`.

    Raises:
        ConfigError: If the corpus or the fold is unknown.
        CorpusError: If files are missing, with instructions to obtain them.
    """
    corpus, folder = _corpus(name), Path(data_dir) / name
    candidates: list[dict[str, Path]] = []
    if name == "ade":
        if fold is None or not 0 <= fold <= 9:
            raise ConfigError(f"ADE has folds 0 to 9, found {fold}")
        candidates.append({split: folder / f"ade_split_{fold}_{split}.json" for split in ("train", "test")})
    elif name == "genia":
        candidates.append({split: folder / file for split, file in GENIA_PREPARED.items()})
        candidates.append({"archive": folder / "GENIAcorpus3.02.tgz"})
    else:
        candidates.append({f.split: folder / f.name for f in corpus.files if f.split})
        if name in ("scierc", "ace05"):
            candidates.append({split: folder / file for split, file in DYGIE_NAMES.items()})
    for files in candidates:
        if all(path.is_file() for path in files.values()):
            return files
    missing = [str(path) for path in candidates[0].values() if not path.is_file()]
    raise CorpusError(
        [f"{corpus.title} is not in {folder}: {' and '.join(missing)} missing. "
         + (corpus.obtain or f"Get it with: python -m iter_lightning prepare {name}")]
    )  # fmt: skip


def data_files(name: str, data_dir: str | Path, fold: int | None = None) -> list[Path]:
    """List the files that `load_corpus` reads.

    Args:
        name: Key of the catalog.
        data_dir: Data folder.
        fold: Fold of ADE, 0 to 9.

    Returns:
        Paths of existing files.

    Raises:
        ConfigError: If the corpus or the fold is unknown.
        CorpusError: If files are missing, with instructions to obtain them.

    Example:
        >>> len(data_files("conll04", "data"))  # doctest: +SKIP
        3
    """
    return list(split_files(name, data_dir, fold=fold).values())


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


def type_faults(examples: Sequence[Example], schema: Schema, where: str = "") -> list[str]:
    """Return one line for each example with a type that is not in the schema."""
    faults: list[str] = []
    known = {"entity": set(schema.entity_types), "relation": set(schema.relation_types)}
    for number, example in enumerate(examples):
        found = {"entity": [e.type for e in example.entities], "relation": [r.type for r in example.relations]}
        for what, kinds in found.items():
            unknown = sorted(set(kinds) - known[what])
            if unknown:
                expected = ", ".join(sorted(known[what])) or "none"
                place = f"{where}{': ' if where else ''}record {number}"
                faults.append(
                    f"{place}: unknown {what} type {', '.join(map(repr, unknown))}, expected one of {expected}"
                )
    return faults


def _checked_types(corpus: Corpus, splits: Splits) -> Splits:
    """Return the splits, or raise `CorpusError` if a type is not in the schema of the corpus."""
    faults = [f for split, examples in splits.items() for f in type_faults(examples, corpus.schema, split)]
    if faults:
        raise CorpusError([f"{corpus.title}: {fault}" for fault in faults])
    return splits


def _corpus(name: str) -> Corpus:
    if name not in CATALOG:
        raise ConfigError(f"unknown corpus {name!r}; expected one of {', '.join(CATALOG)}")
    return CATALOG[name]


def _reader(corpus: Corpus, path: Path, level: str) -> Callable[[Path], list[Example]]:
    """Return the reader of a file. The content of an ACE05 file decides between ASP's and DyGIE's layout."""
    if corpus.layout == "conll":
        return lambda file: read_conll(file, level=level)
    if corpus.layout == "asp":
        head = read_text(path)[:4096].lstrip()
        return read_asp if head.startswith("[") or OPEN in head else read_dygie
    if corpus.name == "scierc" and path.name in DYGIE_NAMES.values():
        return lambda file: read_dygie(file, SCIERC_LABELS)
    return read_jointer if corpus.layout == "jointer" else read_spert

"""A corpus of the catalogue, or a user's own, as its own splits of checked examples.

Works on folders that `prepare` wrote and on the owners' files as they are. Every type is checked against the schema.
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
DYGIE_NAMES = {"train": "train.json", "dev": "dev.json", "test": "test.json"}
GENIA_PREPARED = {"train": "genia_train_dev.json", "test": "genia_test.json"}


def data_folder(given: str | Path | None = None) -> Path:
    """The folder of corpora: the one given, else the environment's ITER_DATA, else `data`."""
    return Path(given or os.environ.get("ITER_DATA") or "data")


def load_corpus(name: str, data_dir: str | Path, *, fold: int | None = None, level: str = "document") -> Splits:
    """The corpus's own splits: train, test and, where it has one, dev.

    Args:
        name: a key of the catalogue.
        data_dir: the folder that holds a folder of that name.
        fold: of ADE, 0 to 9.
        level: of CoNLL03, `document` or `sentence`.

    Raises:
        ConfigError: no such corpus, or no such fold.
        CorpusError: missing files (with how to get them), or every fault of the first damaged one.
    """
    corpus = _corpus(name)
    files = split_files(name, data_dir, fold=fold)
    if name == "genia" and set(files) == {"archive"}:
        examples = read_genia(files["archive"])
        splits = {"train": examples[:TRAIN_DEV], "test": examples[TRAIN_DEV:]}
    else:
        splits = {split: _reader(corpus, path, level)(path) for split, path in files.items()}
    return _of_known_types(corpus, splits)


def load_coreference(data_dir: str | Path) -> Splits:
    """SciERC's abstracts as whole examples, coreference among the relations (see `read_dygie`).

    Raises:
        CorpusError: missing files (with how to get them), or every fault of the first damaged one.
    """
    files = coreference_files(data_dir)
    splits = {split: read_dygie(path, SCIERC_LABELS, coreference=True) for split, path in files.items()}
    return _of_known_types(SCIERC_DOCUMENTS, splits)


def coreference_files(data_dir: str | Path) -> dict[str, Path]:
    """Split -> file of SciERC in DyGIE's layout, in `scierc/` or `scierc_dygie/` of the data folder.

    Raises:
        CorpusError: neither folder holds all three, with how to get them.
    """
    folders = [Path(data_dir) / name for name in ("scierc", "scierc_dygie")]
    for folder in folders:
        files = {split: folder / name for split, name in DYGIE_NAMES.items()}
        if all(path.is_file() for path in files.values()):
            return files
    where = f"{SCIERC_DOCUMENTS.title}: neither {folders[0]} nor {folders[1]} holds train.json, dev.json and test.json"
    raise CorpusError([f"{where}. {SCIERC_DOCUMENTS.obtain}"])


def split_files(name: str, data_dir: str | Path, *, fold: int | None = None) -> dict[str, Path]:
    """Split -> file; for GENIA's archive the one key `archive`.

    Raises:
        CorpusError: the corpus is not there, with how to get it.
    """
    corpus, folder = _corpus(name), Path(data_dir) / name
    candidates: list[dict[str, Path]] = []
    if name == "ade":
        if fold is None or not 0 <= fold <= 9:
            raise ConfigError(f"ADE has the folds 0 to 9, found {fold}")
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
    """The files `load_corpus` reads."""
    return list(split_files(name, data_dir, fold=fold).values())


def load_custom(
    train: str | Path, dev: str | Path | None, test: str | Path | None, types: str | Path | None = None,
    symmetric: Sequence[str] = (),
) -> tuple[Schema, Splits]:  # fmt: skip
    """A user's SpERT JSON: three files, the schema from `types` or from what occurs in them.

    Args:
        train, dev, test: SpERT JSON; None leaves the split out.
        types: SpERT's types file or the plain form of a `Schema`; None infers it from all files.
        symmetric: symmetric relation types, where the schema is inferred.

    Raises:
        CorpusError: every fault of a file, or a type the given schema does not have.
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
    """One line for each example with a type the schema does not have."""
    faults: list[str] = []
    known = {"entity": set(schema.entity_types), "relation": set(schema.relation_types)}
    for number, example in enumerate(examples):
        found = {"entity": [e.type for e in example.entities], "relation": [r.type for r in example.relations]}
        for what, kinds in found.items():
            unknown = sorted(set(kinds) - known[what])
            if unknown:
                expected = ", ".join(sorted(known[what])) or "none at all"
                place = f"{where}{': ' if where else ''}record {number}"
                faults.append(
                    f"{place}: unknown {what} type {', '.join(map(repr, unknown))}, expected one of {expected}"
                )
    return faults


def _of_known_types(corpus: Corpus, splits: Splits) -> Splits:
    """The splits themselves; `CorpusError` where one has a type that the corpus's schema does not."""
    faults = [f for split, examples in splits.items() for f in type_faults(examples, corpus.schema, split)]
    if faults:
        raise CorpusError([f"{corpus.title}: {fault}" for fault in faults])
    return splits


def _corpus(name: str) -> Corpus:
    if name not in CATALOG:
        raise ConfigError(f"{name!r} is no corpus of the catalogue: {', '.join(CATALOG)}")
    return CATALOG[name]


def _reader(corpus: Corpus, path: Path, level: str) -> Callable[[Path], list[Example]]:
    """The reader for a file; ASP's and DyGIE's ACE05 are told apart by their content."""
    if corpus.layout == "conll":
        return lambda file: read_conll(file, level=level)
    if corpus.layout == "asp":
        head = read_text(path)[:4096].lstrip()
        return read_asp if head.startswith("[") or OPEN in head else read_dygie
    if corpus.name == "scierc" and path.name in DYGIE_NAMES.values():
        return lambda file: read_dygie(file, SCIERC_LABELS)
    return read_jointer if corpus.layout == "jointer" else read_spert

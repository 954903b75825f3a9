"""Prepare a corpus: copy or download its files, convert and verify them, and move them into the data folder."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from iter_lightning.corpora.catalog import CATALOG
from iter_lightning.corpora.corpus import SPLITS, Corpus, CorpusFile, Counts
from iter_lightning.errors import ConfigError, CorpusError
from iter_lightning.types import Example

MARK = "prepared.json"
"""File that marks a folder as prepared, with digests and counts."""


def prepare_corpus(name: str, to: str | Path, source: str | Path | None = None) -> str:
    """Prepare a corpus of the catalog.

    Args:
        name: Key of the catalog.
        to: Data folder. The corpus gets a folder of its name in it.
        source: Folder with the files, which is searched recursively. None downloads them.

    Returns:
        A summary for the user.

    Raises:
        ConfigError: If the corpus is unknown, or if `to` cannot be written.
        CorpusError: If files are missing, do not match their checksum, or do not have the counts of the catalog.

    Example:
        >>> print(prepare_corpus("conll04", "data"))  # doctest: +SKIP
        CoNLL04 prepared in data/conll04: train 922, dev 231, test 288 sentences
        license: none stated; newswire, copyright with its publishers
        cite: Roth and Yih, CoNLL 2004 (W04-2401); split of Gupta et al., COLING 2016 (C16-1239)
    """
    corpus, target = CATALOG.find(name), Path(to) / name
    if (target / MARK).exists():
        return f"{corpus.title} is already prepared in {target}"
    if target.exists():
        raise ConfigError(
            f"{target} exists but was not written by `prepare` (it has no {MARK}); move it away or give another --to"
        )
    if source is None and (corpus.obtain or not all(file.url for file in corpus.files)):
        raise CorpusError([corpus.obtain or f"{corpus.title} cannot be downloaded; give its files with --from FOLDER"])
    new = not Path(to).exists()
    try:
        Path(to).mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=to, prefix=f".{name}."))
    except OSError as error:
        raise ConfigError(f"{to} cannot be written: {error.strerror or error}") from error
    try:
        staged = work / name
        staged.mkdir()
        files = _take(corpus, Path(source), staged) if source is not None else _download(corpus, staged)
        if corpus.convert is not None:
            corpus.convert(staged)
        sizes = _verify(corpus, work)
        digests = {file: _sha256(staged / file) for file in files}
        mark = {"corpus": name, "sha256": digests, corpus.unit: sizes, "license": corpus.license}
        (staged / MARK).write_text(json.dumps(mark, indent=2) + "\n", encoding="utf-8")
        staged.replace(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if new and not any(Path(to).iterdir()):
            Path(to).rmdir()
    numbers = ", ".join(f"{split} {count:,}" for split, count in sizes.items())
    terms = f"license: {corpus.license}\ncite: {corpus.citation}"
    return f"{corpus.title} prepared in {target}: {numbers} {corpus.unit}\n{terms}"


def _take(corpus: Corpus, source: Path, staged: Path) -> list[str]:
    """Copy the files of one layout that are found under `source`."""
    if not source.is_dir():
        raise CorpusError([f"--from {source} is not a folder"])
    wanted = _present_files(corpus, source)
    faults: list[str] = []
    for file in wanted:
        found = sorted(filter(Path.is_file, source.rglob(file.name)), key=lambda path: (len(path.parts), str(path)))
        good = [path for path in found if file.sha256 in (None, _sha256(path))]
        if good:
            shutil.copyfile(good[0], staged / file.name)
        elif found:
            faults.append(f"{found[0]}: sha256 is {_sha256(found[0])}, expected {file.sha256}")
        else:
            faults.append(f"{file.name} was not found in {source}")
    if faults:
        raise CorpusError(faults)
    return [file.name for file in wanted]


def _download(corpus: Corpus, staged: Path) -> list[str]:
    import pooch

    faults: list[str] = []
    hashes = {file.name: f"sha256:{file.sha256}" if file.sha256 else None for file in corpus.files}
    urls = {file.name: file.url for file in corpus.files}
    source = pooch.create(path=staged, base_url="", registry=hashes, urls=urls, retry_if_failed=2)
    for file in corpus.files:
        try:
            source.fetch(file.name, downloader=pooch.HTTPDownloader(progressbar=True, timeout=60))
        except ValueError as error:  # a checksum that does not match
            faults.append(f"{file.url}: {error}")
        except OSError as error:
            raise CorpusError(
                [f"{file.url} cannot be downloaded: {type(error).__name__}. Without a network, get the files elsewhere "
                 f"and run: python -m iter_lightning prepare {corpus.name} --from FOLDER"]
            ) from error  # fmt: skip
    if faults:
        raise CorpusError(faults)
    return [file.name for file in corpus.files]


def _present_files(corpus: Corpus, source: Path) -> list[CorpusFile]:
    """Return the files of the first layout of which some are under `source`; by default those of the owners."""
    forms = [list(corpus.files)]
    if corpus.convert is None:  # otherwise the layouts are made from the files
        forms += [[CorpusFile(name, split) for split, name in layout.files.items()] for layout in corpus.layouts]
    return next((files for files in forms if any(any(source.rglob(file.name)) for file in files)), forms[0])


def _verify(corpus: Corpus, data_dir: Path) -> dict[str, int]:
    """Read all splits as training does, compare them with the expected counts, and return their sizes."""
    found = {
        file.split: corpus.read(data_dir / corpus.name / file.name)
        for file in corpus.files if file.split not in ("", *SPLITS)
    }  # fmt: skip
    sizes = {split: len(examples) for split, examples in found.items()}
    for fold in range(corpus.folds or 1):
        splits = corpus.load(data_dir, fold)
        found |= {f"{split}{fold}" if corpus.folds else split: examples for split, examples in splits.items()}
    faults = [
        fault for split, counts in corpus.counts.items() for fault in _compare(split, counts, found[split], corpus.unit)
    ]
    if faults:
        raise CorpusError([f"{corpus.title}: {fault}" for fault in faults])
    return sizes or {split: len(examples) for split, examples in found.items()}


def _compare(split: str, expected: Counts, examples: list[Example], unit: str) -> Iterable[str]:
    measured = {
        "sentences": len(examples),
        "entities": sum(len(e.entities) for e in examples),
        "relations": sum(len(e.relations) for e in examples),
    }
    for what, number in measured.items():
        wanted = getattr(expected, what)
        if wanted is not None and wanted != number:
            yield f"{split} has {number} {unit if what == 'sentences' else what}, expected {wanted}"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

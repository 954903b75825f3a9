"""The corpora of the paper, one module each, and those of installed packages; see `docs/add-a-corpus.md`.

Counts are those of Table 1. If the files were available, they were measured; items that a record lists twice count
once. Every measured file has a sha256. Corpora that require a license have instructions to obtain them instead of URLs.
"""

from __future__ import annotations

from iter_lightning.corpora.catalog.ace05 import ACE05
from iter_lightning.corpora.catalog.ade import ADE
from iter_lightning.corpora.catalog.conll03 import CONLL03, CONLL03_SENTENCES
from iter_lightning.corpora.catalog.conll04 import CONLL04
from iter_lightning.corpora.catalog.genia import GENIA
from iter_lightning.corpora.catalog.nyt import NYT
from iter_lightning.corpora.catalog.scierc import SCIERC, SCIERC_DOCUMENTS
from iter_lightning.corpora.corpus import Corpus
from iter_lightning.registry import Registry

__all__ = [
    "ACE05", "ADE", "CATALOG", "CONLL03", "CONLL03_SENTENCES", "CONLL04", "GENIA", "NYT", "SCIERC", "SCIERC_DOCUMENTS",
    "Corpus", "register_corpus",
]  # fmt: skip

CATALOG: Registry[Corpus] = Registry(
    Corpus, "corpus", "iter_lightning.corpora", (CONLL04, ADE, SCIERC, GENIA, CONLL03, ACE05, NYT)
)
"""All corpora by name. Installed packages add theirs under the entry point `iter_lightning.corpora`."""


def register_corpus(corpus: Corpus) -> Corpus:
    """Add a corpus to `CATALOG`, for the current process.

    To add a corpus to the command line, name it under the entry point `iter_lightning.corpora` of an installed package.

    Args:
        corpus: The description.

    Returns:
        The same description.

    Raises:
        ConfigError: If another corpus has the name.

    Example:
        >>> from iter_lightning.corpora import CorpusFile
        >>> from iter_lightning.corpora.conll import read_conll
        >>> from iter_lightning.types import Schema
        >>> notes = Corpus(
        ...     name="notes", title="Clinical notes", schema=Schema(("Drug",)), omega=1, read=read_conll,
        ...     files=(CorpusFile("train.conll", "train"), CorpusFile("test.conll", "test")),
        ... )
        >>> register_corpus(notes).class_name  # doctest: +SKIP
        'Notes'
    """
    return CATALOG.register(corpus)

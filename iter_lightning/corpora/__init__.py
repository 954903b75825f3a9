"""Read corpora into examples: one reader per file layout, the catalog of corpora, and their preparation on disk."""

from iter_lightning.corpora.catalog import CATALOG, SCIERC_DOCUMENTS, Corpus
from iter_lightning.corpora.loading import (
    coreference_files,
    data_files,
    data_folder,
    load_coreference,
    load_corpus,
    load_custom,
)
from iter_lightning.corpora.prepare import prepare_corpus

__all__ = [
    "CATALOG", "SCIERC_DOCUMENTS", "Corpus", "coreference_files", "data_files", "data_folder", "load_coreference",
    "load_corpus", "load_custom", "prepare_corpus",
]  # fmt: skip

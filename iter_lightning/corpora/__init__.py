"""Read corpora into examples: one reader per file format, the catalog of corpora, and their preparation on disk."""

from iter_lightning.corpora.catalog import CATALOG, SCIERC_DOCUMENTS, register_corpus
from iter_lightning.corpora.corpus import Corpus, CorpusFile, Counts, Layout
from iter_lightning.corpora.loading import data_folder, load_corpus, load_custom
from iter_lightning.corpora.prepare import prepare_corpus

__all__ = [
    "CATALOG", "SCIERC_DOCUMENTS", "Corpus", "CorpusFile", "Counts", "Layout", "data_folder", "load_corpus",
    "load_custom", "prepare_corpus", "register_corpus",
]  # fmt: skip

"""SciERC: abstracts of AI papers, 6 entity and 7 relation types; and its documents with coreference."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from iter_lightning.corpora.corpus import Corpus, CorpusFile, Counts, Layout
from iter_lightning.corpora.dygie import COREFERENCE, DYGIE_FILES, read_dygie
from iter_lightning.corpora.spert import read_spert, spert_file
from iter_lightning.types import Schema

LABELS = {
    "USED-FOR": "Used-for", "FEATURE-OF": "Feature-of", "HYPONYM-OF": "Hyponym-of", "EVALUATE-FOR": "Evaluate-for",
    "PART-OF": "Part-of", "COMPARE": "Compare", "CONJUNCTION": "Conjunction",
}  # fmt: skip
"""The relation types in DyGIE's files, and their names in the corpus of single sentences."""
SCIERC = Corpus(
    name="scierc", title="SciERC", omega=3, flat=False, overlapping="2.7%",
    read=read_spert, layouts=(Layout(DYGIE_FILES, partial(read_dygie, labels=LABELS)),),
    schema=Schema(
        ("Generic", "Material", "Method", "Metric", "OtherScientificTerm", "Task"),
        ("Compare", "Conjunction", "Evaluate-for", "Feature-of", "Hyponym-of", "Part-of", "Used-for"),
        ("Compare", "Conjunction"),
    ),
    files=(
        spert_file("scierc", "scierc_train.json", "train", "40879beb794a2d947c60f4e7e936c269b5f35ce516e9e155cbff1feea0c3e8da"),
        spert_file("scierc", "scierc_dev.json", "dev", "77506c1a9d9e6a3f596fdce937a1d80679c24df75a8b7cb836737c2a43ff0ec0"),
        spert_file("scierc", "scierc_test.json", "test", "ecc88eca58a88cf2087aaa996dada9edad433c3c2f3f8f5be93625b098c20703"),
    ),
    counts={"train": Counts(1861, 5598, 3215), "dev": Counts(275, 811, 455), "test": Counts(551, 1685, 974)},
    license="none stated; abstracts of AI conference papers",
    citation="Luan et al., EMNLP 2018 (D18-1360)",
)  # fmt: skip
SCIERC_DOCUMENTS = replace(
    SCIERC, title="SciERC documents with coreference", unit="documents",
    read=partial(read_dygie, labels=LABELS, coreference=True), layouts=(), folders=("scierc", "scierc_dygie"),
    schema=Schema(
        SCIERC.schema.entity_types, (*SCIERC.schema.relation_types, COREFERENCE),
        (*SCIERC.schema.symmetric, COREFERENCE),
    ),
    files=(
        CorpusFile("train.json", "train", sha256="04970819bd215fce8c60b3a64fccca15388b49eab2010bdc5f6d322b463568c3"),
        CorpusFile("dev.json", "dev", sha256="61f21b224129e580a654b036ee6fffeeb1a0311f1009a38ea931c13612db040e"),
        CorpusFile("test.json", "test", sha256="7424da64e6214a90e39b09e47a74b3ded57dde86b4a7f848b3625d2c8ecdfbe1"),
    ),
    counts={"train": Counts(350, 5598, 5137), "dev": Counts(50, 811, 749), "test": Counts(100, 1685, 1508)},
    obtain=(
        "Download sciERC_processed.tar.gz from nlp.cs.washington.edu/sciIE and put the three files of its folder "
        "processed_data/json into one of these folders."
    ),
)  # fmt: skip
"""SciERC in DyGIE's layout, with coreference clusters; each example is an abstract. It is not part of `CATALOG`."""

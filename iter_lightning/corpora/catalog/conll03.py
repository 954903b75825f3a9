"""CoNLL03: news, 4 entity types (licensed)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from iter_lightning.corpora.conll import read_conll
from iter_lightning.corpora.corpus import Corpus, CorpusFile, Counts
from iter_lightning.types import Schema

CONLL03 = Corpus(
    name="conll03", title="CoNLL03", omega=1, unit="documents",
    read=partial(read_conll, level="document"),
    schema=Schema(("LOC", "MISC", "ORG", "PER")),
    files=(CorpusFile("eng.train", "train"), CorpusFile("eng.testa", "dev"), CorpusFile("eng.testb", "test")),
    counts={"train": Counts(946), "dev": Counts(216), "test": Counts(231)},
    license="research use; the text is Reuters RCV1, licensed by NIST",
    citation="Tjong Kim Sang and De Meulder, CoNLL 2003 (W03-0419)",
    obtain=(
        "CoNLL03 may not be downloaded: its text is the Reuters corpus RCV1, which NIST licenses for research "
        "(trec.nist.gov/data/reuters/reuters.html); the annotation and the script that combines both come from the shared "
        "task (clips.uantwerpen.be/conll2003/ner). Put eng.train, eng.testa and eng.testb (English, IOB1 or IOB2 "
        "columns) into one folder and give it with --from FOLDER."
    ),
)  # fmt: skip
CONLL03_SENTENCES = replace(CONLL03, read=partial(read_conll, level="sentence"), unit="sentences", counts={})
"""CoNLL03 with one example per sentence. It is not part of `CATALOG`."""

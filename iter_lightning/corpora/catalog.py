"""Describe the corpora of the paper: files and their sources, counts, schema, nesting, license, citation.

Counts are those of Table 1. If the files were available, they were measured; items that a record lists twice count
once. Every measured file has a sha256. Corpora that require a license have instructions to obtain them instead of URLs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from iter_lightning.corpora.dygie import COREFERENCE
from iter_lightning.types import Schema

Layout = Literal["spert", "dygie", "conll", "asp", "jointer", "genia"]
"""Name of the reader of a corpus."""
SPERT_URL = "http://lavis.cs.hs-rm.de/storage/spert/public/datasets"
NYT_URL = "https://raw.githubusercontent.com/yubowen-ph/JointER/master/dataset/NYT-multi/data"
GENIA_URL = "http://www.nactem.ac.uk/GENIA/current/GENIA-corpus/Term/GENIAcorpus3.02.tgz"


@dataclass(frozen=True)
class CorpusFile:
    """Describe one file as its owners distribute it."""

    name: str
    """File name in the folder of the corpus."""
    split: str = ""
    """`train`, `dev`, or `test`; empty for other files, such as type lists and archives."""
    url: str | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Counts:
    """Hold the expected counts of a split. None means not measured."""

    sentences: int
    entities: int | None = None
    relations: int | None = None


@dataclass(frozen=True)
class Corpus:
    """Describe one corpus of the catalog.

    Example:
        >>> corpus = CATALOG["conll04"]
        >>> corpus.title, corpus.omega, corpus.flat
        ('CoNLL04', 1, True)
    """

    name: str
    """Key in the catalog, and name of the folder of the corpus."""
    title: str
    layout: Layout
    schema: Schema
    omega: int
    """Value of the paper's Table 1."""
    files: tuple[CorpusFile, ...]
    counts: dict[str, Counts]
    """Expected counts of each split."""
    license: str
    citation: str
    obtain: str | None = None
    """Instructions to obtain the files, for corpora that may not be downloaded."""
    unit: Literal["sentences", "documents"] = "sentences"
    """Kind of the examples."""
    flat: bool = True
    """Whether entities never overlap."""
    overlapping: str = "0"
    """Share of overlapping entities as Table 1 prints it."""


_NEWS_4 = ("Loc", "Org", "Other", "Peop")
_ADE_TRAIN = (6155, 6097, 6133, 6164, 6173, 6089, 6155, 6117, 6133, 6173)
_ADE_TEST_SHA = (
    "6d6a3584d3876a35854ef703f7a7059363599ad7ed3ab9c3e6e449ae8a252e9a",
    "532fa740c11466c54d06dfe4e2989bd800c046cb31c409f074b7b3d49cf99b23",
    "69c4844907809f4e76516d7e9b7f8f2fa5eab2bdf27ee0dc02bdb367e673f994",
    "07e188e39118bd9644d4bb74ad841099853a5dfbecb035e5af2dc83a7d927495",
    "937eff5f8982fff83655872fcf150876145e75a381dcedfc45e2411f47146edc",
    "d01d706574d4921304d3b53a0b013fbe41d2f97439245cf768c503df1e70a9f3",
    "3e35e7278060f16103665a47db1480e305346f255872ced202617c6d8025bb01",
    "6c4f25fffd1ce4fb1bf67bc54713b44f6e1abb9ca744d06a38ed88731a8d1371",
    "69fb620cc4f9fe4d35533dba74b7234ebb2c2e69a988a8945219563ad12feb3c",
    "a02776d17963ada8aad5e1d4370e96d2478a8e44fd0944274ac0c44f4499b0ed",
)
_ADE_TRAIN_SHA = (
    "6624ac4d015c75f551aa15a43bd05e268082d98297d18269662737f7df358365",
    "811befd6d23d2aeb7cff3469d4b22d0c58fa61557b03257986ea1559042d42fe",
    "c13ff04545537879e1d2fa41ed25c4e5831bbd75d2c07a4d7c0e60d2691b5b25",
    "1d65b2aab0da37d3125cb0a90f6c66ad05af4ebb6f4685c4ede242cfb587cb1e",
    "de8cdb999563697d330d97b9ac95a5ae1c83106eb812f25b12d807c6628f28a4",
    "474668717b0fbcb4cf6fda984b8897b2e66f2550c9a052187c6ece012960a6cf",
    "c3e41dea7c11c34da7f32be45ced3a162fff30abeb0939698937fe7a83446dca",
    "3839c5f7cfd5c9e260a3a60a9c79f6ed54d21d66288413c8a2c2d8e985e9081c",
    "9c5c698bb7d5a72e11685a63de4a6b525e073eede445eaae0d44ce42166fffcc",
    "e863f0b8a717364fd553e55e041ea89e2a52d116e5b047cbaa1882410ab0813f",
)
_NYT_RELATIONS = (
    "/business/company/advisors", "/business/company/founders", "/business/company/industry",
    "/business/company/major_shareholders", "/business/company/place_founded",
    "/business/company_shareholder/major_shareholder_of", "/business/person/company",
    "/location/administrative_division/country", "/location/country/administrative_divisions",
    "/location/country/capital", "/location/location/contains", "/location/neighborhood/neighborhood_of",
    "/people/deceased_person/place_of_death", "/people/ethnicity/geographic_distribution", "/people/ethnicity/people",
    "/people/person/children", "/people/person/ethnicity", "/people/person/nationality", "/people/person/place_lived",
    "/people/person/place_of_birth", "/people/person/profession", "/people/person/religion",
    "/sports/sports_team/location", "/sports/sports_team_location/teams",
)  # fmt: skip


def _spert(corpus: str, name: str, split: str, sha256: str) -> CorpusFile:
    return CorpusFile(name, split, f"{SPERT_URL}/{corpus}/{name}", sha256)


CONLL03 = Corpus(
    name="conll03", title="CoNLL03", layout="conll", omega=1, unit="documents",
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
CONLL04 = Corpus(
    name="conll04", title="CoNLL04", layout="spert", omega=1,
    schema=Schema(_NEWS_4, ("Kill", "Live_In", "Located_In", "OrgBased_In", "Work_For")),
    files=(
        _spert("conll04", "conll04_train.json", "train", "65c52d5b6134c72c44277c74c5ecb354bf33aa352fc7b856edf6bda0bb436eea"),
        _spert("conll04", "conll04_dev.json", "dev", "3965a5110a79671fb74a78c0fd0113c4da6583c3833bd418c1ca414bb491e010"),
        _spert("conll04", "conll04_test.json", "test", "347f45cf181b5641d2373248a1af0592954415234f72536835dde1df1b504556"),
    ),
    counts={"train": Counts(922, 3377, 1283), "dev": Counts(231, 893, 343), "test": Counts(288, 1079, 422)},
    license="none stated; newswire, copyright with its publishers",
    citation="Roth and Yih, CoNLL 2004 (W04-2401); split of Gupta et al., COLING 2016 (C16-1239)",
)  # fmt: skip
ACE05 = Corpus(
    name="ace05", title="ACE05", layout="asp", omega=1,
    schema=Schema(
        ("FAC", "GPE", "LOC", "ORG", "PER", "VEH", "WEA"),
        ("ART", "GEN-AFF", "ORG-AFF", "PART-WHOLE", "PER-SOC", "PHYS"), ("PER-SOC",),
    ),
    files=(CorpusFile("ace05_train.json", "train"), CorpusFile("ace05_dev.json", "dev"),
           CorpusFile("ace05_test.json", "test")),
    counts={},
    license="LDC license, catalog number LDC2006T06",
    citation="Walker et al., ACE 2005 Multilingual Training Corpus, LDC2006T06",
    obtain=(
        "ACE05 may not be downloaded: the Linguistic Data Consortium licenses it as LDC2006T06 "
        "(catalog.ldc.upenn.edu/LDC2006T06). Convert it with DyGIE's ACE05 preprocessing, then, for context as in the "
        "paper, with ASP's ace05_to_json.py. Put either ace05_train.json, ace05_dev.json, ace05_test.json (ASP) or "
        "train.json, dev.json, test.json (DyGIE) into one folder and give it with --from FOLDER."
    ),
)  # fmt: skip
ADE = Corpus(
    name="ade", title="ADE", layout="spert", omega=2, flat=False, overlapping="1.6 - 4.4%",
    schema=Schema(("Adverse-Effect", "Drug"), ("Adverse-Effect",)),
    files=(
        _spert("ade", "ade_full.json", "", "5bc2355bcb3fa326d0749af0368e7b428b44a63fb8a1fb76ffeef14825e51384"),
        *(_spert("ade", f"ade_split_{i}_train.json", "train", sha) for i, sha in enumerate(_ADE_TRAIN_SHA)),
        *(_spert("ade", f"ade_split_{i}_test.json", "test", sha) for i, sha in enumerate(_ADE_TEST_SHA)),
    ),
    counts={
        "full": Counts(4272, 10839, 6821),
        **{f"train{i}": Counts(3845 if i < 9 else 3843, None, n) for i, n in enumerate(_ADE_TRAIN)},
        **{f"test{i}": Counts(427 if i < 9 else 429, None, 6821 - n) for i, n in enumerate(_ADE_TRAIN)},
    },
    license="none stated; PubMed abstracts",
    citation="Gurulingappa et al., J. Biomed. Inform. 45(5), 2012; folds of Eberts and Ulges, ECAI 2020",
)  # fmt: skip
SCIERC = Corpus(
    name="scierc", title="SciERC", layout="spert", omega=3, flat=False, overlapping="2.7%",
    schema=Schema(
        ("Generic", "Material", "Method", "Metric", "OtherScientificTerm", "Task"),
        ("Compare", "Conjunction", "Evaluate-for", "Feature-of", "Hyponym-of", "Part-of", "Used-for"),
        ("Compare", "Conjunction"),
    ),
    files=(
        _spert("scierc", "scierc_train.json", "train", "40879beb794a2d947c60f4e7e936c269b5f35ce516e9e155cbff1feea0c3e8da"),
        _spert("scierc", "scierc_dev.json", "dev", "77506c1a9d9e6a3f596fdce937a1d80679c24df75a8b7cb836737c2a43ff0ec0"),
        _spert("scierc", "scierc_test.json", "test", "ecc88eca58a88cf2087aaa996dada9edad433c3c2f3f8f5be93625b098c20703"),
    ),
    counts={"train": Counts(1861, 5598, 3215), "dev": Counts(275, 811, 455), "test": Counts(551, 1685, 974)},
    license="none stated; abstracts of AI conference papers",
    citation="Luan et al., EMNLP 2018 (D18-1360)",
)  # fmt: skip
SCIERC_DOCUMENTS = replace(
    SCIERC, title="SciERC documents with coreference", layout="dygie", unit="documents",
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
GENIA = Corpus(
    name="genia", title="GENIA", layout="genia", omega=4, flat=False, overlapping="21.6%",
    schema=Schema(("DNA", "RNA", "cell_line", "cell_type", "protein")),
    files=(
        CorpusFile("GENIAcorpus3.02.tgz", "", GENIA_URL, "85b2aede313308c33783ba508d054d0af0ff9c7e48490f0db5168a9f88d74d1c"),
    ),
    counts={"train": Counts(16692, 50509, 0), "test": Counts(1854, 5506, 0)},
    license='annotation CC BY 3.0, attribution "Corpus annotations (c) GENIA Project"; abstracts under NLM terms',
    citation="Kim et al., Bioinformatics 19 (Suppl. 1), 2003; sentences and types as in Tan et al., IJCAI 2021",
)  # fmt: skip
NYT = Corpus(
    name="nyt", title="NYT", layout="jointer", omega=2, flat=False, overlapping="1.1%",
    schema=Schema(("LOCATION", "ORGANIZATION", "PERSON"), _NYT_RELATIONS),
    files=tuple(CorpusFile(f"{split}.json", split, f"{NYT_URL}/{split}.json") for split in ("train", "dev", "test")),
    counts={"train": Counts(56196), "dev": Counts(5000), "test": Counts(5000)},
    license="none stated; New York Times text, labeled by distant supervision",
    citation="Riedel et al., ECML PKDD 2010; JSON form of Yu et al. (JointER), ECAI 2020",
)  # fmt: skip

CATALOG: dict[str, Corpus] = {c.name: c for c in (CONLL03, CONLL04, ACE05, ADE, SCIERC, GENIA, NYT)}
"""All corpora of the paper by name."""

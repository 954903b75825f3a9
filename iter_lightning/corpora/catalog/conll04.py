"""CoNLL04: news, 4 entity and 5 relation types."""

from __future__ import annotations

from iter_lightning.corpora.corpus import Corpus, Counts, SplitProtocol, Splits
from iter_lightning.corpora.spert import read_spert, spert_file
from iter_lightning.types import Schema


def _protocol(splits: Splits, protocol: SplitProtocol) -> Splits:
    """Under `paper`, add dev to train, as published; dev is then part of train."""
    if protocol == "paper" and "dev" in splits:
        return {**splits, "train": splits["train"] + splits["dev"]}
    return splits


CONLL04 = Corpus(
    name="conll04", title="CoNLL04", omega=1,
    summary="News, 4 entity and 5 relation types; `paper` trains on train + dev (1,153 sentences).",
    read=read_spert, protocol=_protocol,
    schema=Schema(("Loc", "Org", "Other", "Peop"), ("Kill", "Live_In", "Located_In", "OrgBased_In", "Work_For")),
    files=(
        spert_file("conll04", "conll04_train.json", "train", "65c52d5b6134c72c44277c74c5ecb354bf33aa352fc7b856edf6bda0bb436eea"),
        spert_file("conll04", "conll04_dev.json", "dev", "3965a5110a79671fb74a78c0fd0113c4da6583c3833bd418c1ca414bb491e010"),
        spert_file("conll04", "conll04_test.json", "test", "347f45cf181b5641d2373248a1af0592954415234f72536835dde1df1b504556"),
    ),
    counts={"train": Counts(922, 3377, 1283), "dev": Counts(231, 893, 343), "test": Counts(288, 1079, 422)},
    license="none stated; newswire, copyright with its publishers",
    citation="Roth and Yih, CoNLL 2004 (W04-2401); split of Gupta et al., COLING 2016 (C16-1239)",
)  # fmt: skip

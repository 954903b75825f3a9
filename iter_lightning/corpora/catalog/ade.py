"""ADE: adverse drug effects, 2 entity types and 1 relation type, ten folds."""

from __future__ import annotations

from iter_lightning.corpora.corpus import Corpus, Counts
from iter_lightning.corpora.spert import read_spert, spert_file
from iter_lightning.types import Schema

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
ADE = Corpus(
    name="ade", title="ADE", omega=2, flat=False, overlapping="1.6 - 4.4%",
    summary="Adverse drug effects, one of ten folds; `paper` selects on the fold's test part.",
    read=read_spert, folds=10,
    schema=Schema(("Adverse-Effect", "Drug"), ("Adverse-Effect",)),
    files=(
        spert_file("ade", "ade_full.json", "full", "5bc2355bcb3fa326d0749af0368e7b428b44a63fb8a1fb76ffeef14825e51384"),
        *(spert_file("ade", f"ade_split_{i}_train.json", "train", sha, i) for i, sha in enumerate(_ADE_TRAIN_SHA)),
        *(spert_file("ade", f"ade_split_{i}_test.json", "test", sha, i) for i, sha in enumerate(_ADE_TEST_SHA)),
    ),
    counts={
        "full": Counts(4272, 10839, 6821),
        **{f"train{i}": Counts(3845 if i < 9 else 3843, None, n) for i, n in enumerate(_ADE_TRAIN)},
        **{f"test{i}": Counts(427 if i < 9 else 429, None, 6821 - n) for i, n in enumerate(_ADE_TRAIN)},
    },
    license="none stated; PubMed abstracts",
    citation="Gurulingappa et al., J. Biomed. Inform. 45(5), 2012; folds of Eberts and Ulges, ECAI 2020",
)  # fmt: skip

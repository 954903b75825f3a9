"""Which sentences train, select and test under either protocol, and how they become batches."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iter_lightning.corpora.catalog import genia
from iter_lightning.corpora.spert import write_spert
from iter_lightning.errors import ConfigError, CorpusError
from iter_lightning.features.batching import LengthBatchSampler
from iter_lightning.metrics import EvaluationDefinition, ExtractionMetric
from iter_lightning.training.data import CorpusDataModule, Splits, carve
from iter_lightning.training.datamodules import ACE05, ADE, GENIA, NYT, CoNLL03, CoNLL04, Custom, SciERC, Synthetic
from iter_lightning.training.module import IterModule
from iter_lightning.types import Entity, Example, Prediction, Relation, Schema
from tests.builders import tiny_model
from tests.corpora.test_loading import scierc_documents


def sentences(name: str, count: int) -> list[Example]:
    return [Example((f"{name}{i}",)) for i in range(count)]


def splits_of(module: CorpusDataModule, monkeypatch: pytest.MonkeyPatch, loaded: Splits) -> dict[str, list[str]]:
    monkeypatch.setattr(type(module), "load", lambda self: loaded)
    return {name: [e.words[0] for e in split] for name, split in module.splits().items()}


@given(st.integers(2, 60), st.floats(0.01, 0.9), st.integers(0, 5))
def test_carve_takes_a_share_once_and_keeps_the_order(count: int, fraction: float, seed: int) -> None:
    examples = sentences("s", count)
    train, dev = carve(examples, fraction, seed)
    assert len(dev) == min(max(1, round(count * fraction)), count - 1)
    assert sorted([*train, *dev], key=examples.index) == examples
    assert train == [e for e in examples if e in train]
    assert dev == [e for e in examples if e in dev]
    assert (train, dev) == carve(examples, fraction, seed)


def test_another_split_seed_carves_another_dev() -> None:
    examples = sentences("s", 100)
    assert carve(examples, 0.1, 0)[1] != carve(examples, 0.1, 1)[1]


@pytest.mark.parametrize("kind", [ADE, CoNLL04, SciERC, GENIA, CoNLL03, ACE05, NYT])
@pytest.mark.parametrize("has_dev", [True, False])
def test_clean_never_selects_on_test(
    kind: type[CorpusDataModule], has_dev: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = {"train": sentences("train", 20), "test": sentences("test", 5)}
    if has_dev:
        loaded["dev"] = sentences("dev", 5)
    if kind is GENIA and not has_dev:
        monkeypatch.setattr(genia, "TRAIN", 18)  # sentences of the usual training part
    found = splits_of(kind(), monkeypatch, loaded)
    assert found["test"] == [f"test{i}" for i in range(5)]
    assert not {*found["train"], *found["dev"]} & {*found["test"]}
    assert not {*found["train"]} & {*found["dev"]}
    if has_dev:
        assert found["train"] == [f"train{i}" for i in range(20)]
        assert found["dev"] == [f"dev{i}" for i in range(5)]
    else:
        assert len(found["dev"]) == 2
        assert len(found["train"]) == 18


def test_paper_trains_conll04_on_train_and_dev(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = {"train": sentences("train", 3), "dev": sentences("dev", 2), "test": sentences("test", 1)}
    found = splits_of(CoNLL04(split_protocol="paper"), monkeypatch, loaded)
    assert found == {
        "train": ["train0", "train1", "train2", "dev0", "dev1"],
        "dev": ["dev0", "dev1"],
        "test": ["test0"],
    }


@pytest.mark.parametrize("kind", [ADE, GENIA])
def test_paper_selects_ade_and_genia_on_test(kind: type[CorpusDataModule], monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = {"train": sentences("train", 9), "test": sentences("test", 2)}
    found = splits_of(kind(split_protocol="paper"), monkeypatch, loaded)
    assert found["dev"] == found["test"] == ["test0", "test1"]
    assert len(found["train"]) == 9


def test_paper_leaves_out_ace05_sentences_with_entities_but_no_relation(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = Entity(0, 1, "PER"), Entity(1, 2, "ORG")
    related = Example(("related", "x"), (a, b), (Relation(a, b, "ORG-AFF"),))
    alone, empty = Example(("alone", "x"), (a,)), Example(("empty", "x"))
    loaded = {name: [related, alone, empty] for name in ("train", "dev", "test")}
    paper = splits_of(ACE05(split_protocol="paper"), monkeypatch, loaded)
    assert paper == {name: ["related", "empty"] for name in ("train", "dev", "test")}
    clean = splits_of(ACE05(), monkeypatch, loaded)
    assert clean == {name: ["related", "alone", "empty"] for name in ("train", "dev", "test")}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"split_protocol": "published"}, "split_protocol: expected one of clean, paper, found 'published'"),
        ({"batch_size": 0}, "batch sizes must be at least 1, found 0 and 32"),
        ({"eval_batch_size": 0}, "batch sizes must be at least 1, found 8 and 0"),
        ({"max_tokens": 0}, "max_tokens must be at least 1, found 0"),
        ({"batch_size": None}, "a batch has no limit: set batch_size or max_tokens"),
        ({"bucket_batches": 0}, "bucket_batches must be at least 1, found 0"),
        ({"mention_swap": 1.5}, "mention_swap must lie between 0 and 1, found 1.5"),
        ({"dev_fraction": 1.0}, "dev_fraction must lie between 0 and 1, found 1.0"),
    ],
)
def test_values_outside_their_range_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        CoNLL04(**options)


@pytest.mark.parametrize("language", ["english", "", "EN", "zh-Hant", "none", "../en", 7])
def test_a_language_that_is_no_code_is_refused(language: Any) -> None:
    with pytest.raises(ConfigError, match="language: expected a spaCy code such as en"):
        Custom(train="train.json", language=language)


def test_every_corpus_of_the_catalog_is_english_and_a_users_own_is_what_they_say() -> None:
    assert {kind().language for kind in (ADE, CoNLL04, SciERC, GENIA, CoNLL03, ACE05, NYT, Synthetic)} == {"en"}
    assert Custom(train="train.json").language is None
    assert Custom(train="train.json", language="de").language == "de"
    assert IterModule(Schema(("Per",)), language="de").config.language == "de"


def test_a_fold_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="found 10"):
        ADE(fold=10)


def test_scierc_takes_coreference_on_request(tmp_path: Path) -> None:
    plain, module = (SciERC(coreference=on, data_dir=str(tmp_path)) for on in (False, True))
    assert "Coreference" not in plain.schema.relation_types
    assert module.schema.relation_types == (*plain.schema.relation_types, "Coreference")
    assert module.schema.symmetric == (*plain.schema.symmetric, "Coreference")
    assert (plain.title(), module.title()) == ("SciERC", "SciERC documents with coreference")
    assert (module.omega, module.flat) == (plain.omega, plain.flat) == (3, False)
    with pytest.raises(CorpusError, match=r"sciERC_processed.tar.gz"):
        module.setup()
    scierc_documents(tmp_path / "scierc_dygie")
    module.setup()
    assert [path.name for path in module.files()] == ["train.json", "dev.json", "test.json"]
    assert {name: len(split) for name, split in module.splits().items()} == {"train": 1, "dev": 1, "test": 1}
    with pytest.raises(CorpusError, match="prepare scierc"):
        plain.files()
    with pytest.raises(ConfigError, match=r"mention_swap 0.2 would replace coreferent mentions"):
        SciERC(coreference=True, mention_swap=0.2)


def test_coreference_is_trained_in_both_directions_and_scored_once(tmp_path: Path) -> None:
    module = SciERC(coreference=True, data_dir=str(scierc_documents(tmp_path / "scierc")))
    model = tiny_model("bert", schema=module.schema, omega=module.omega)
    module.connect(model.aligner(), model.collate)
    (batch,) = module.train_dataloader()
    kind = module.schema.relation_types.index("Coreference")
    links = {(head, tail) for head, tail, k in batch.gold_links_K3.tolist() if k == kind}
    assert len(links) == 2
    assert {(tail, head) for head, tail in links} == links
    assert model(batch).link.requires_grad
    (document,) = module.splits()["dev"]
    metric = ExtractionMetric(module.schema, EvaluationDefinition())
    found = Prediction(document.entities, document.relations, (1.0,) * 3, (1.0,) * 2)
    metric.update([found], [document])
    assert metric.report()["RE+"]["per_type"]["Coreference"]["tp"] == 1


def connected(**options: Any) -> Synthetic:
    module = Synthetic(sentences=64, depth=2, **options)
    model = tiny_model("bert", schema=module.schema, omega=module.omega)
    module.connect(model.aligner(), model.collate)
    return module


@pytest.mark.parametrize("bucket_batches", [1, 4])
def test_training_batches_are_drawn_from_buckets(bucket_batches: int) -> None:
    module = connected(batch_size=4, bucket_batches=bucket_batches)
    sampler = module.train_dataloader().batch_sampler
    assert isinstance(sampler, LengthBatchSampler)
    seen = [item for batch in sampler for item in batch]
    assert sorted(seen) == list(range(len(sampler.lengths)))
    ranges = [max(lengths) - min(lengths) for lengths in ([sampler.lengths[i] for i in batch] for batch in sampler)]
    whole = max(sampler.lengths) - min(sampler.lengths)
    assert (sum(ranges) / len(ranges) < whole / 4) == (bucket_batches > 1)


def test_a_token_budget_may_be_the_only_bound() -> None:
    module = connected(batch_size=None, max_tokens=2000, bucket_batches=4)
    batches = list(module.train_dataloader())
    assert sum(map(len, batches)) == len(module.splits()["train"])
    assert all(batch.input_ids_BN.numel() <= 2000 for batch in batches)
    assert max(map(len, batches)) > 8
    (held,) = module.val_dataloader()
    assert len(held) == len(module.splits()["dev"])


def test_mentions_are_swapped_in_training_alone_and_anew_in_each_epoch() -> None:
    module = connected(mention_swap=0.5)
    words: dict[int, list[tuple[str, ...]]] = {}
    for epoch in (0, 1):
        trainer = SimpleNamespace(
            current_epoch=epoch, global_rank=0, world_size=1, strategy=SimpleNamespace(root_device=torch.device("cpu"))
        )
        module.trainer = trainer  # type: ignore[assignment]
        module.setup()
        assert trainer.reload_dataloaders_every_n_epochs == 1
        words[epoch] = sorted(e.example.words for batch in module.train_dataloader() for e in batch.examples)
    plain = sorted(example.words for example in module.splits()["train"])
    assert len(words[0]) == len(plain)
    assert words[0] != words[1] != plain != words[0]
    for split, loader in (("dev", module.val_dataloader()), ("test", module.test_dataloader())):
        assert {e.example for batch in loader for e in batch.examples} == set(module.splits()[split])


def test_each_dev_and_test_sentence_is_in_one_batch() -> None:
    module = connected(eval_batch_size=5)
    for split, loader in (("dev", module.val_dataloader()), ("test", module.test_dataloader())):
        words = [encoded.example.words for batch in loader for encoded in batch.examples]
        assert sorted(words) == sorted(example.words for example in module.splits()[split])


def test_encoding_needs_a_connected_model() -> None:
    with pytest.raises(RuntimeError, match="connect"):
        Synthetic(sentences=4).encoded("train")


def test_which_corpora_are_flat(tmp_path: Path) -> None:
    assert [kind.corpus.name for kind in (ADE, CoNLL04, SciERC, GENIA, CoNLL03, ACE05, NYT) if kind().flat] == [
        "conll04", "conll03", "ace05",
    ]  # fmt: skip
    assert not Synthetic(sentences=20, depth=3).flat
    university = Example(("New", "York", "University"), (Entity(0, 2, "Loc"), Entity(0, 3, "Org")))
    for number, example in enumerate((university, replace(university, entities=university.entities[:1]))):
        write_spert([example], tmp_path / f"{number}.json")
    nested, flat = (Custom(train=str(tmp_path / f"{number}.json")) for number in (0, 1))
    assert (nested.omega, nested.flat) == (1, False)  # omega 1 does not say that nothing overlaps
    assert (flat.omega, flat.flat) == (1, True)


def test_self_links_are_learned_from_the_training_split(tmp_path: Path) -> None:
    assert not Synthetic(sentences=20).self_links
    ada, london = Entity(0, 1, "Per"), Entity(1, 2, "Loc")
    plain = Example(("Ada", "London"), (ada, london), (Relation(ada, london, "LiveIn"),))
    itself = replace(plain, relations=(Relation(ada, ada, "Likes"),))
    same_words = Example(("Paris",), (Entity(0, 1, "Per"), Entity(0, 1, "Loc")), ())
    same_words = replace(same_words, relations=(Relation(*same_words.entities, "LiveIn"),))
    found = {}
    for name, train, dev in (
        ("plain", [plain], [itself]), ("itself", [plain, itself], [plain]), ("same words", [same_words], [plain]),
    ):  # fmt: skip
        for split, examples in (("train", train), ("dev", dev)):
            write_spert(examples, tmp_path / f"{name}.{split}.json")
        types = tmp_path / "types.json"
        types.write_text('{"entity_types": ["Loc", "Per"], "relation_types": ["Likes", "LiveIn"]}')
        paths = {split: str(tmp_path / f"{name}.{split}.json") for split in ("train", "dev")}
        found[name] = Custom(**paths, types=str(types)).self_links
    assert found == {"plain": False, "itself": True, "same words": True}


def test_a_corpus_that_is_not_there_has_no_self_links_and_is_reported_when_it_is_read(tmp_path: Path) -> None:
    for kind in (CoNLL04, NYT, ACE05, SciERC):
        data = kind(data_dir=str(tmp_path))
        assert not data.self_links
        with pytest.raises(CorpusError, match=r"is not in"):
            data.setup()


def test_self_links_reach_the_model() -> None:
    assert IterModule(Schema(("Per",))).config.self_links is False
    assert IterModule(Schema(("Per",)), self_links=True).config.self_links is True


def test_overlaps_are_resolved_in_flat_corpora_alone_and_can_be_left() -> None:
    options = [IterModule(Schema(("Per",)), flat=flat, resolve_overlaps=on).config.flat
               for flat, on in product((False, True), repeat=2)]  # fmt: skip
    assert options == [False, False, False, True]


def test_a_bound_on_subwords_rebuilds_the_loader_each_epoch() -> None:
    """Epochs differ in their number of batches, which Lightning reads from the loader once."""
    cases: list[tuple[dict[str, Any], int]] = [({}, 0), ({"max_tokens": 200}, 1), ({"mention_swap": 0.5}, 1)]
    for options, every in cases:
        data = connected(**options)
        trainer: Any = SimpleNamespace(reload_dataloaders_every_n_epochs=0)
        data.trainer = trainer
        data.setup("fit")
        assert trainer.reload_dataloaders_every_n_epochs == every


def test_every_rank_gets_a_batch_of_a_small_split() -> None:
    data = connected()
    shares = []
    for rank in range(4):
        strategy = SimpleNamespace(root_device=SimpleNamespace(type="cpu"))
        trainer: Any = SimpleNamespace(global_rank=rank, world_size=4, strategy=strategy, current_epoch=0)
        data.trainer = trainer
        shares.append([len(batch) for batch in data.val_dataloader()])
    assert all(shares)
    assert sum(map(sum, shares)) == len(data.splits()["dev"])
    crowd: Any = SimpleNamespace(global_rank=0, world_size=10**4)
    data.trainer = crowd
    with pytest.raises(ConfigError, match="cannot be shared by 10000 processes"):
        data.val_dataloader()


def test_a_dev_split_needs_two_sentences() -> None:
    with pytest.raises(ConfigError, match="no dev split can be taken from 1 training sentences"):
        carve(sentences("s", 1), 0.1, 0)

"""Checkpoints of the published code against their equations, written as loops over their own tensors."""

import itertools
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModel, T5EncoderModel

from iter_lightning.errors import EncoderError
from iter_lightning.model import IterModel, stored
from iter_lightning.model.brackets import ordered_pairs, span_candidates
from iter_lightning.model.iter import ModelHeads
from tests.builders import FAMILIES, TOKENIZERS, build_example, tiny_config

TYPES, LINKS = ["Loc", "Org", "Peop"], ["Kill", "Live_In"]
NESTED, NER_ONLY, INVERSE = 1 << 5 | 1 << 9, 1 << 11, 1 << 18
TEXTS = [
    build_example(["Ada", "lives", "in", "London", "and", "works", "for", "the", "Bank", "of", "University"], []),
    build_example(["her", "brother", "works", "in", "xyzzy"], []),
    build_example(["London"], []),
]
ACTIVATIONS = {"relu": torch.relu, "gelu": torch.nn.functional.gelu, "tanh": torch.tanh}


def _their_encoder(family: str) -> Any:
    """With poolers and decoders."""
    config = tiny_config(family)
    return T5EncoderModel(config) if config.model_type == "t5" else AutoModel.from_config(config)


def publish(
    folder: Path, family: str = "bert", omega: int = 1, links: bool = True, flat: bool = False, inverse: bool = False,
    activation: str = "relu", seed: int = 0, tokenizer: bool = True, **values: Any,
) -> Path:  # fmt: skip
    """Write a random checkpoint as the published code would; `flat` names its encoder instead of describing it."""
    torch.manual_seed(seed)
    config = tiny_config(family)
    theirs = _their_encoder(family)
    tensors = {f"model.{name}": value for name, value in theirs.state_dict().items()}
    hidden, width = 32, 24
    types = len(TYPES) + (omega > 1)
    link_rows = len(LINKS) * (1 + inverse)
    for head, vectors, inner, rows in (
        ("is_l", 1, width, 1), ("lr_score", 2, 2 * width, types), ("rr_score", 2, 2 * width, link_rows),
    ):  # fmt: skip
        if head != "rr_score" or links:
            for part in ("gate", "wi"):
                tensors[f"{head}.{part}.weight"] = torch.randn(inner, vectors * hidden) / 3
            # span logits near 0, where the log-sum-exp over types and the best of them differ in sign
            tensors[f"{head}.wo.weight"] = torch.randn(rows, inner) / (200 if head == "lr_score" else 3)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(stored.without_shared({k: v.contiguous() for k, v in tensors.items()}), folder / "model.safetensors")
    base = folder.parent / f"{folder.name}_base"
    described = {k: v for k, v in config.to_dict().items() if k not in {"transformers_version"}}
    written: dict[str, Any] = {
        "architectures": ["ITER"], "model_type": "iter", "activation_fn": activation, "d_ff": width, "d_model": hidden,
        "dataset": "conll04", "dropout": 0.3, "entity_types": TYPES, "link_types": LINKS if links else [],
        "features": (NESTED if omega > 1 else 0) | (0 if links else NER_ONLY) | (INVERSE if inverse else 0),
        "max_length": 128, "max_nest_depth": omega, "num_types": types, "num_links": len(LINKS) if links else 0,
        "threshold": 0.4, "use_bias": False, "use_gate": True, "use_mlp": True, "use_scale": True,
        "torch_dtype": "float32", "transformers_version": "4.37.0",
        "transformer_config": {**described, "_name_or_path": str(base), "max_length": 128, "torch_dtype": "float16"},
    }  # fmt: skip
    if flat:
        config.save_pretrained(base)
        del written["transformer_config"]
        written["transformer_name"] = str(base)
    if tokenizer:
        TOKENIZERS[FAMILIES[family][1]]().save_pretrained(base if flat else folder)
    (folder / "config.json").write_text(json.dumps({**written, **values}))
    return folder


class Twin:
    """The published equations, one decision at a time."""

    def __init__(self, folder: Path, family: str) -> None:
        self.tensors = load_file(folder / "model.safetensors")
        self.values = json.loads((folder / "config.json").read_text())
        self.nested = bool(self.values["features"] & 1 << 9)
        self.readings: tuple[set[Any], set[Any]] = (set(), set())
        """Links found from head to tail, and from tail to head."""
        self.encoder = _their_encoder(family).eval()
        own = {k.removeprefix("model."): v for k, v in self.tensors.items() if k.startswith("model.")}
        missing, unexpected = self.encoder.load_state_dict(own, strict=False)
        assert not unexpected
        assert all("embed_tokens" in name for name in missing)

    def score(self, head: str, *vectors: Tensor) -> Tensor:
        x = torch.cat(vectors)
        gate, wi, wo = (self.tensors[f"{head}.{part}.weight"] for part in ("gate", "wi", "wo"))
        return wo @ (ACTIVATIONS[self.values["activation_fn"]](gate @ x) * (wi @ x))

    def span_vector(self, h: Tensor, left: int, right: int) -> Tensor:
        return h[left] + h[right] if self.nested else h[right]

    def link_score(self, h: Tensor, head: tuple[int, int], tail: tuple[int, int]) -> Tensor:
        return self.score("rr_score", self.span_vector(h, *tail), self.span_vector(h, *head))  # the tail comes first

    def decisions(self, h: Tensor, word: list[int]) -> tuple[dict[tuple[int, int], tuple[int, bool]], set[Any]]:
        """Spans of subwords with their types and whether the best logit alone decides so, too; links."""
        text = [n for n in range(len(word)) if word[n] >= 0]
        lefts = [n for n in text if self.score("is_l", h[n]) > 0]
        spans = {}
        for right in text:
            for left in sorted((n for n in lefts if n <= right), reverse=True)[: self.values["max_nest_depth"]]:
                logits = self.score("lr_score", h[left], h[right])
                if self.nested and logits.argmax() < len(TYPES):
                    spans[left, right] = (int(logits.argmax()), True)
                elif not self.nested and logits.logsumexp(0) > 0:
                    spans[left, right] = (int(logits.argmax()), bool(logits.max() > 0))
        links = set()
        for a, b in itertools.product(spans, repeat=2):  # with a second set of links b holds to a in it
            for row, score in enumerate(self.link_score(h, a, b) if self.values["link_types"] else []):
                if score.sigmoid() > self.values["threshold"]:
                    kind, ends = row % self.values["num_links"], (a, b) if row < self.values["num_links"] else (b, a)
                    links.add((*ends, kind))
                    self.readings[row >= self.values["num_links"]].add((*ends, kind))
        return spans, links


CASES = [
    (family, omega, links, inverse, flat)
    for (family, flat), omega, (links, inverse) in itertools.product(
        [("t5", False), ("deberta_v3", False), ("bert", True), ("flan_t5", True)], [1, 3],
        [(True, False), (True, True), (False, False)],
    )
]  # fmt: skip


@pytest.mark.parametrize(("family", "omega", "links", "inverse", "flat"), CASES)
@torch.no_grad()
def test_logits_and_decisions_are_the_published_ones(
    tmp_path: Path, family: str, omega: int, links: bool, inverse: bool, flat: bool
) -> None:
    seed = 0 if family in {"bert", "flan_t5"} else 1  # with which the two flat rules part, see the last line
    activation = "gelu" if omega > 1 else "relu"
    folder = publish(tmp_path / "model", family, omega, links, flat, inverse, activation, seed)
    model, twin = IterModel.from_pretrained(folder), Twin(folder, family)
    config = model.config
    assert (config.omega, config.left_width, config.pair_width) == (omega, 24, 48)
    assert (config.max_subwords, config.link_threshold) == (128, 0.4)
    assert config.schema.relation_types == (tuple(LINKS) if links else ())
    assert config.inverse_links == inverse
    assert config.self_links  # their rule
    assert config.language is None
    batch = model.collate([(e, 0) for e in model.aligner().encode(TEXTS)])
    width = batch.input_ids_BN.shape[1]
    hidden = twin.encoder(batch.input_ids_BN, batch.mask_BN.long()).last_hidden_state
    torch.testing.assert_close(model.encode(batch).view_as(hidden)[batch.mask_BN], hidden[batch.mask_BN])
    h = hidden.flatten(0, 1)
    heads = ModelHeads(model, batch, h)
    expected = torch.stack([twin.score("is_l", h[slot])[0] for slot in batch.left_slots_L])
    torch.testing.assert_close(heads.left_logits(), expected, rtol=1e-4, atol=1e-4)

    is_left = torch.zeros(batch.input_ids_BN.numel(), dtype=torch.bool)
    is_left[batch.left_slots_L[expected > 0]] = True
    candidates = span_candidates(
        is_left.view_as(batch.input_ids_BN), batch.left_slots_L, batch.right_slots_M, omega, "paired"
    )
    pairs = list(zip(candidates.left_slot_C.tolist(), candidates.right_slot_C.tolist(), strict=True))
    rows = [twin.score("lr_score", h[left], h[right]) for left, right in pairs]
    expected = torch.stack([row[:-1] - row[-1] if omega > 1 else row for row in rows])
    torch.testing.assert_close(heads.span_logits(candidates), expected, rtol=1e-4, atol=1e-4)
    if links:
        left_E, right_E = (torch.tensor([pair[side] for pair in pairs[:6]]) for side in (0, 1))
        head_P, tail_P, _ = ordered_pairs(right_E // width, right_E // width, len(batch))
        expected = torch.stack(
            [
                twin.link_score(h, pairs[head], pairs[tail])
                for head, tail in zip(head_P.tolist(), tail_P.tolist(), strict=True)
            ]
        )
        torch.testing.assert_close(heads.link_logits(left_E, right_E, head_P, tail_P), expected, rtol=1e-4, atol=1e-4)

    found = apart = 0
    for row, prediction in enumerate(model.decode(batch)):
        word = batch.word_BN[row].tolist()
        spans, theirs = twin.decisions(hidden[row], word)
        kept = {span: kind for span, (kind, _) in spans.items()}
        named = {span: (word[span[0]], word[span[1]] + 1, TYPES[kind]) for span, kind in kept.items()}
        assert {(e.start, e.end, e.type) for e in prediction.entities} == set(named.values())
        assert {
            ((r.head.start, r.head.end, r.head.type), (r.tail.start, r.tail.end, r.tail.type), r.type)
            for r in prediction.relations
        } == {(named[a], named[b], LINKS[kind]) for a, b, kind in theirs if a in kept and b in kept}
        found += len(kept) + len(theirs)
        apart += len(spans) - sum(alone for _, alone in spans.values())
    assert found > 5
    forth, back = twin.readings
    assert not inverse or (forth - back and back - forth and forth & back)
    assert (apart > 0) == (omega == 1)


def test_the_encoders_own_extra_tensors_are_left_out(tmp_path: Path) -> None:
    folder = publish(tmp_path / "model", "bart")  # a decoder and a second name of the embeddings
    assert any(name.startswith("model.decoder.") for name in load_file(folder / "model.safetensors"))
    model = IterModel.from_pretrained(folder)
    theirs = load_file(folder / "model.safetensors")
    assert torch.equal(model.encoder.get_parameter("embed_tokens.weight"), theirs["model.shared.weight"])
    folder = publish(tmp_path / "bert", "bert")
    tensors = load_file(folder / "model.safetensors")
    assert "model.pooler.dense.weight" in tensors
    save_file({**tensors, "model.embeddings.position_ids": torch.arange(9)}, folder / "model.safetensors")
    assert len(IterModel.from_pretrained(folder).predict(TEXTS)) == 3


@pytest.mark.parametrize("inverse", [False, True])
def test_it_is_saved_as_ours(tmp_path: Path, inverse: bool) -> None:
    model = IterModel.from_pretrained(publish(tmp_path / "model", omega=2, inverse=inverse))
    before = model.predict(TEXTS)
    model.save_pretrained(tmp_path / "ours")
    again = IterModel.from_pretrained(tmp_path / "ours")
    assert again.config == model.config
    assert again.predict(TEXTS) == before
    assert any(prediction.relations for prediction in before)


@pytest.mark.parametrize("features", [NER_ONLY, NER_ONLY | INVERSE])
def test_an_idle_link_head_of_entities_alone_is_left_out(tmp_path: Path, features: int) -> None:
    folder = publish(tmp_path / "model", features=features)
    model = IterModel.from_pretrained(folder)
    assert model.is_link is None
    assert model.config.schema.relation_types == ()
    assert not model.config.inverse_links


def test_a_link_row_none_is_left_out(tmp_path: Path) -> None:
    folder = publish(tmp_path / "model", features=1 << 7, num_links=3)
    tensors = load_file(folder / "model.safetensors")
    wo = tensors["rr_score.wo.weight"]
    save_file({**tensors, "rr_score.wo.weight": torch.cat([wo, wo[:1]])}, folder / "model.safetensors")
    model = IterModel.from_pretrained(folder)
    assert model.is_link is not None
    assert torch.equal(model.is_link.w_out.weight, wo)


def test_training_settings_are_taken_over(tmp_path: Path) -> None:
    features = [8, 20, 13, 16]  # a list of bits is read, too
    config = IterModel.from_pretrained(publish(tmp_path / "model", features=features, dropout=0)).config
    assert (config.loss_reduction, config.link_pairs, config.dropout) == ("batch_mean", "entities", 0.0)
    assert config.schema.symmetric == ()
    assert not config.respect_word_boundaries
    assert IterModel.from_pretrained(publish(tmp_path / "long", max_length=4096)).config.max_subwords == 514  # BERT's


# files ---------------------------------------------------------------------------------------------------------------


def _shard(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    names = {name: f"model-0000{1 + n % 2}-of-00002.safetensors" for n, name in enumerate(tensors)}
    for file in set(names.values()):
        save_file({k: v for k, v in tensors.items() if names[k] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    (folder / "model.safetensors").unlink()


def _pickle(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize("rewrite", [_shard, _pickle])
def test_shards_and_pickled_tensors_are_read(tmp_path: Path, rewrite: Callable[[Path], None]) -> None:
    folder = publish(tmp_path / "model")
    before = IterModel.from_pretrained(folder).predict(TEXTS)
    rewrite(folder)
    assert IterModel.from_pretrained(folder).predict(TEXTS) == before


class _Code:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return Path.write_text, (self.trace, "executed")


def test_pickled_code_is_refused(tmp_path: Path) -> None:
    folder, trace = publish(tmp_path / "model"), tmp_path / "trace"
    (folder / "model.safetensors").unlink()
    torch.save({"is_l.wo.weight": _Code(trace)}, folder / "pytorch_model.bin")
    with pytest.raises(EncoderError, match=r"pytorch_model\.bin: cannot be read as tensors"):
        IterModel.from_pretrained(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Code(trace), protocol=2))
    with pytest.raises(EncoderError, match=r"pytorch_model\.bin: cannot be read as tensors"):
        IterModel.from_pretrained(folder)
    torch.save({"a": 3}, folder / "pytorch_model.bin")
    with pytest.raises(EncoderError, match=r"pytorch_model\.bin: found dict, expected named tensors"):
        IterModel.from_pretrained(folder)
    assert not trace.exists()


def test_files_that_are_none_are_told(tmp_path: Path) -> None:
    folder = publish(tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(EncoderError, match=r"model\.safetensors: cannot be read as tensors"):
        IterModel.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(EncoderError, match=r"no model weights in .*expected one of model\.safetensors, .*json"):
        IterModel.from_pretrained(folder)
    for weight_map in ({"a": "../../elsewhere.safetensors"}, None, [1]):
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
        with pytest.raises(EncoderError, match=r"index\.json: weight_map: found .*, expected names of files"):
            IterModel.from_pretrained(folder)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "b.safetensors"}}))
    with pytest.raises(EncoderError, match=r"b\.safetensors: cannot be read"):
        IterModel.from_pretrained(folder)


@pytest.mark.parametrize(("name", "value", "message"), [
    ("lr_score.gate.weight", None, r"no such tensor; expected one of shape \[48, 64\]"),
    ("lr_score.wo.weight", None, "found no such tensor, expected a matrix"),
    ("is_l.wo.weight", torch.zeros(3), r"found shape \[3\], expected a matrix"),
    ("is_l.wi.weight", torch.zeros(24, 31), r"found shape \[24, 31\], expected \[24, 32\]"),
    ("rr_score.wo.weight", torch.zeros(5, 48), r"found shape \[5, 48\], expected \[2, 48\]"),
    ("lr_score.wo.weight", torch.zeros(4, 48), r"found shape \[4, 48\], expected \[3, 48\]"),
    ("model.embeddings.word_embeddings.weight", None, "no such tensor"),
    ("sum.hi.weight", torch.zeros(2), r"unexpected \['sum\.hi\.weight'\]"),
    ("rr_score.wo.bias", torch.zeros(2), r"unexpected \['rr_score\.wo\.bias'\]"),
])  # fmt: skip
def test_tensors_that_do_not_fit_are_told(tmp_path: Path, name: str, value: Tensor | None, message: str) -> None:
    folder = publish(tmp_path / "model")
    tensors = {k: v for k, v in load_file(folder / "model.safetensors").items() if k != name}
    save_file(tensors if value is None else {**tensors, name: value}, folder / "model.safetensors")
    with pytest.raises(EncoderError, match=rf"model\.safetensors: .*{message}") as told:
        IterModel.from_pretrained(folder)
    assert name in str(told.value)


@pytest.mark.parametrize(("values", "message"), [
    ({"activation_fn": "swish"}, "activation_fn: found 'swish', expected one of relu, gelu, tanh"),
    ({"use_gate": False}, "use_gate: found False"),
    ({"use_mlp": False}, "use_mlp: found False"),
    ({"use_bias": True}, "use_bias: found True"),
    ({"features": 1}, r"features: found bit 0 \(entities from an earlier layer\)"),
    ({"features": 1 << 12}, r"bit 12 \(a T5 decoder\)"),
    ({"features": 1 << 15}, r"bit 15 \(one link a pair\)"),
    ({"features": 1 << 9}, "one of the bits 9 and 5"),
    ({"features": 1 << 7 | INVERSE, "num_links": 3}, "the bits 7 and 18"),
    ({"features": NESTED, "max_nest_depth": 1}, "max_nest_depth: found 1"),
    ({"features": "all"}, "features: found 'all', expected int"),
    ({"features": [5, "9"]}, r"features: found \[5, '9'\], expected numbers of bits"),
    ({"entity_types": []}, "entity_types: found 0 names, expected 3 by num_types"),
    ({"link_types": ["a"]}, "link_types: found 1 names, expected 2 by num_links"),
    ({"entity_types": ["a", "a", "b"]}, "more than once"),
    ({"threshold": 3}, "link_threshold 3.0 is outside"),
    ({"dropout": "much"}, "dropout: found 'much', expected float"),
    ({"max_length": 2}, "max_subwords 2 is outside"),
    ({"transformer_config": {}}, "found neither model_type nor _name_or_path"),
    ({"transformer_config": 3}, "transformer_config: found 3, expected dict"),
    ({"transformer_config": {"model_type": "nonsense"}}, r"transformer_config\.model_type: found 'nonsense', expected"),
    ({"transformer_config": {"_name_or_path": "/nowhere"}}, "encoder '/nowhere' cannot be loaded"),
])  # fmt: skip
def test_a_config_that_cannot_work_is_told(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    folder = publish(tmp_path / "model", **values)
    with pytest.raises(EncoderError, match=rf"config\.json: .*{message}"):
        IterModel.from_pretrained(folder)


def test_a_missing_tokenizer_is_told(tmp_path: Path) -> None:
    folder = publish(tmp_path / "model", tokenizer=False)
    with pytest.raises(
        EncoderError, match=r"model contains no tokenizer, and that of its encoder .*_base cannot be loaded; save the"
    ):
        IterModel.from_pretrained(folder)
    values = json.loads((folder / "config.json").read_text())
    del values["transformer_config"]["_name_or_path"]
    (folder / "config.json").write_text(json.dumps(values))
    with pytest.raises(EncoderError, match=r"contains no tokenizer, and its config\.json does not name"):
        IterModel.from_pretrained(folder)


# the hub -------------------------------------------------------------------------------------------------------------


def test_a_hub_id_without_network_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(EncoderError) as told:
        IterModel.from_pretrained("fleonce/iter-none-deberta-large", revision="main")
    assert str(told.value).startswith(
        "no ITER model fleonce/iter-none-deberta-large at main: tried fleonce/iter-none-deberta-large/model and "
        "fleonce/iter-none-deberta-large, which do not exist, and the hub, which returned an error: "
    )
    assert "\n" not in str(told.value)


def test_a_hub_id_is_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder, asked = publish(tmp_path / "model"), []

    def snapshot_download(repo_id: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((repo_id, revision))
        assert not any(pattern in allow_patterns for pattern in ("*", "*.bin", "*.py", "*.pt"))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    model = IterModel.from_pretrained("fleonce/iter-conll04-deberta-large", revision="v1")
    assert model.predict(TEXTS) == IterModel.from_pretrained(folder).predict(TEXTS)
    IterModel.from_pretrained(str(folder))
    assert asked == [("fleonce/iter-conll04-deberta-large", "v1")]
    (folder / "config.json").unlink()
    with pytest.raises(EncoderError, match=r"the hub, whose repository has no config\.json"):
        IterModel.from_pretrained("fleonce/iter-conll04-deberta-large")


@pytest.mark.parametrize("name", ["nowhere", "./no/where", "/no/where", "a/b/c", Path("no/where")])
def test_what_is_no_hub_id_is_a_folder(monkeypatch: pytest.MonkeyPatch, name: str | Path) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", None)
    with pytest.raises(EncoderError, match=r"no ITER model .*model and .*, which do not exist; expected a run folder"):
        IterModel.from_pretrained(name)

"""Every encoder family: trains, decodes, saves and loads; and what is said where one cannot be loaded."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

import iter_lightning.model.iter as iter_module
from iter_lightning.errors import ConfigError, EncoderError
from iter_lightning.model import IterConfig, IterModel
from iter_lightning.model import encoder as encoders
from iter_lightning.types import Example
from tests.builders import (
    COMMON,
    FAMILIES,
    SCHEMA,
    TOKENIZERS,
    assert_close,
    byte_level_tokenizer,
    encode,
    random_example,
    tiny_config,
    tiny_model,
)

ALL = sorted(FAMILIES)
TEXTS = [Example(COMMON[:n], id=str(n)) for n in (5, 13, 1, 0)]


def write_checkpoint(folder: Path, family: str, dtype: torch.dtype = torch.float32) -> Path:
    """A checkpoint as the hub has it: decoder and pooler included, with its tokenizer."""
    torch.manual_seed(7)
    AutoModel.from_config(tiny_config(family)).to(dtype).save_pretrained(folder)
    TOKENIZERS[FAMILIES[family][1]]().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A family's checkpoint folder, written once."""
    root = tmp_path_factory.mktemp("checkpoints")

    def folder(family: str) -> Path:
        return root / family if (root / family).exists() else write_checkpoint(root / family, family)

    return folder


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A saved ITER model on a tiny BERT."""
    tiny_model("bert", omega=2).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


# every family --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ALL)
def test_trains_decodes_saves_and_loads(family: str, checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = IterModel.from_encoder(str(checkpoint(family)), SCHEMA, omega=2)
    encoded = model.aligner().encode([random_example(random.Random(i), words=9, id=str(i)) for i in range(3)])
    batch = model.collate([(e, 0) for e in encoded])
    model.train()
    loss = model(batch)
    loss.total.backward()
    assert all(part.isfinite() and part > 0 for part in (loss.left, loss.span, loss.link))
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert [name for name in dead if not _never_moves(name)] == []

    model.eval()
    predictions = model.predict(TEXTS)
    assert any(p.entities for p in predictions)
    model.save_pretrained(tmp_path / "model")
    loaded = IterModel.from_pretrained(tmp_path / "model")
    assert not loaded.training
    assert loaded.predict(TEXTS) == predictions
    assert loaded.config == model.config
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
        assert loaded.state_dict()[name].dtype == value.dtype
    assert {p.name for p in (tmp_path / "model").iterdir()} >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert not list((tmp_path / "model").glob("*.part"))


def test_a_model_that_cannot_be_written_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_model("bert").save_pretrained(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(tensors: Any, path: Path, **_: Any) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("iter_lightning.model.iter.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        tiny_model("bert", seed=1).save_pretrained(tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def _never_moves(name: str) -> bool:
    """Parameters whose gradient is 0 by construction: a bias on keys shifts all attention scores alike."""
    return name.endswith(("key.bias", "k_proj.bias", "key_proj.bias"))


@pytest.mark.parametrize("family", ALL)
def test_loads_the_checkpoints_own_encoder(family: str, checkpoint: Callable[[str], Path]) -> None:
    """The stack has the checkpoint's weights, and neither decoder nor pooler."""
    encoder = encoders.load_encoder(str(checkpoint(family)))
    stored = load_file(checkpoint(family) / "model.safetensors")
    assert not [name for name, _ in encoder.named_parameters() if "decoder" in name or "pooler" in name]
    values = {tuple(v.shape): [] for v in stored.values()}  # type: ignore[var-annotated]
    for value in stored.values():
        values[tuple(value.shape)].append(value)
    for name, p in encoder.named_parameters():
        assert any(torch.equal(p, value) for value in values.get(tuple(p.shape), [])), name


@pytest.mark.parametrize("family", ALL)
def test_company_in_a_batch_does_not_matter(family: str) -> None:
    model = tiny_model(family)
    encoded = model.aligner().encode(TEXTS)
    with torch.no_grad():
        batch = model.collate([(e, 0) for e in encoded])
        together = model.encode(batch).view(*batch.input_ids_BN.shape, -1)
        for row, one in enumerate(encoded):
            alone = model.encode(model.collate([(one, 0)]))
            torch.testing.assert_close(together[row, : len(alone)], alone, rtol=0, atol=1e-5)
    assert_close(model.predict(TEXTS, batch_size=4), model.predict(TEXTS, batch_size=1))


@pytest.mark.parametrize("family", ALL)
def test_sizes(family: str) -> None:
    config = tiny_config(family)
    assert encoders.hidden_size(config) == 32
    assert encoders.feed_forward_size(config) == 48
    limit = {"t5": 1024, "flan_t5": 1024, "deberta_v3": 1024, "roberta": 512}.get(family, 514)
    assert encoders.position_limit(config) == limit
    again = encoders.config_from_dict(json.loads(json.dumps(config.to_dict())))
    assert again.to_dict() == config.to_dict()
    model = tiny_model(family)
    assert model.is_left.w_out.in_features == 48
    assert model.is_span.w_out.in_features == 96


@pytest.mark.parametrize("family", ALL)
def test_the_longest_window_fits(family: str) -> None:
    model = tiny_model(family)
    (encoded,) = model.aligner().encode([Example(("the",) * 1500)])
    assert max(len(w) for w in encoded.windows) == model.max_subwords
    with torch.no_grad():
        assert model.encode(model.collate([(encoded, 0)])).isfinite().all()


@pytest.mark.slow
def test_all_families_load_in_a_fresh_process_without_a_network(tmp_path: Path) -> None:
    expected = {}
    for family in ALL:
        model = tiny_model(family, omega=2)
        model.save_pretrained(tmp_path / family)
        expected[family] = [[[*e.span, e.type] for e in p.entities] for p in model.predict(TEXTS)]
    script = (
        "import json, sys, torch; from iter_lightning.model import IterModel\n"
        "from iter_lightning.types import Example\n"
        "torch.set_num_threads(1); texts = [Example(tuple(words)) for words in json.loads(sys.argv[2])]\n"
        "print(json.dumps({f: [[[*e.span, e.type] for e in p.entities]"
        " for p in IterModel.from_pretrained(f'{sys.argv[1]}/{f}').predict(texts)] for f in sys.argv[3:]}))"
    )
    root = str(Path(iter_module.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), json.dumps([e.words for e in TEXTS]), *ALL],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": root, "HF_HOME": str(tmp_path / "cache")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == expected


@pytest.mark.parametrize("kind", ["wordpiece", "byte_level", "metaspace"])
def test_a_saved_tokenizer_splits_words_as_before(kind: str, tmp_path: Path) -> None:
    family = next(f for f in ALL if FAMILIES[f][1] == kind)
    tokenizer = TOKENIZERS[kind]()
    write_checkpoint(tmp_path, family)
    loaded = encoders.load_tokenizer(str(tmp_path))
    words = ["London", "Ada", "naïve", "☕", "of"]
    mine, theirs = (t(words, is_split_into_words=True)["input_ids"] for t in (loaded, tokenizer))
    assert mine == theirs


@pytest.mark.parametrize("tokenizer_class", ["RobertaTokenizer", "TokenizersBackend"])
def test_a_byte_level_tokenizer_is_made_to_read_words(tokenizer_class: str, tmp_path: Path) -> None:
    """RoBERTa's and ModernBERT's are stored without the space before a word, which pre-split words need."""
    write_checkpoint(tmp_path, "modernbert")
    for name, key in (("tokenizer.json", "pre_tokenizer"), ("tokenizer_config.json", None)):
        values = json.loads((tmp_path / name).read_text())
        (values[key] if key else values)["add_prefix_space"] = False
        values |= {} if key else {"tokenizer_class": tokenizer_class}
        (tmp_path / name).write_text(json.dumps(values))
    tokenizer = encoders.load_tokenizer(str(tmp_path))
    words = ["London", "of"]
    expected = byte_level_tokenizer()(words, is_split_into_words=True)["input_ids"]
    assert tokenizer(words, is_split_into_words=True)["input_ids"] == expected
    assert tokenizer.convert_ids_to_tokens(expected) == ["<s>", "ĠLondon", "Ġof", "</s>"]


# precision and saving ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["deberta_v3", "t5", "bart"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_half_precision_checkpoint_becomes_float32(family: str, dtype: torch.dtype, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "half", family, dtype)
    assert dtype in {value.dtype for value in load_file(tmp_path / "half" / "model.safetensors").values()}
    model = IterModel.from_encoder(str(tmp_path / "half"), SCHEMA).eval()
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    predictions = model.predict(TEXTS)
    model.save_pretrained(tmp_path / "model")
    loaded = IterModel.from_pretrained(tmp_path / "model")
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    assert loaded.predict(TEXTS) == predictions


def test_tensors_can_be_given(tmp_path: Path) -> None:
    model = tiny_model("bert")
    tensors = {name: torch.full_like(value, 0.25) for name, value in model.state_dict().items()}
    model.save_pretrained(tmp_path, tensors)
    assert all((p == 0.25).all() for p in IterModel.from_pretrained(tmp_path).parameters())


def test_tied_tensors_are_stored_once_and_come_back(tmp_path: Path) -> None:
    model = tiny_model("t5")
    model.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert len(stored) == len(list(model.parameters())) < len(model.state_dict())


def test_a_failed_save_leaves_the_old_model(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = IterModel.from_pretrained(saved).predict(TEXTS)

    def full_disk(tensors: object, path: Path, **_: object) -> None:
        path.write_bytes(b"half a fi")
        raise OSError("No space left on device")

    monkeypatch.setattr(iter_module, "save_file", full_disk)
    with pytest.raises(OSError, match="No space"):
        tiny_model("bert", omega=2, seed=1).save_pretrained(saved)
    assert IterModel.from_pretrained(saved).predict(TEXTS) == before
    new = saved.parent / "new"
    with pytest.raises(OSError, match="No space"):
        tiny_model("bert").save_pretrained(new)
    assert not (new / "model.safetensors").exists()
    with pytest.raises(EncoderError, match=r"no ITER model .*: tried .*, which have no config\.json"):
        IterModel.from_pretrained(new)


# what cannot be loaded -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("load", [encoders.load_config, encoders.load_encoder, encoders.load_tokenizer])
def test_a_missing_folder_is_told(load: Callable[[str], object], tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"encoder '.*nowhere' cannot be loaded: .+\n.*expected: a folder"):
        load(str(tmp_path / "nowhere"))


def test_a_missing_package_is_told() -> None:
    for name in ("no_such_package_here", "no-such", "", "a.b"):
        with pytest.raises(EncoderError, match=r"the package '.*' is not installed"):
            encoders.resolve(f"package:{name}")
    with pytest.raises(EncoderError, match=r"contains no model\.safetensors"):
        encoders.resolve("package:safetensors")


def test_a_config_without_model_type_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"hidden_size": 3}')
    with pytest.raises(EncoderError, match=r"config\.json: model_type: found None, expected one of albert, bart"):
        encoders.load_encoder(str(tmp_path))
    for values in ({"hidden_size": 3}, {"model_type": "nonsense"}):
        with pytest.raises(EncoderError, match=r"encoder\.model_type: found .*, expected one of albert, bart"):
            encoders.config_from_dict(values)


def test_no_feed_forward_width_is_told() -> None:
    class Bare:
        model_type = "bare"

    with pytest.raises(EncoderError, match="bare has none of d_ff"):
        encoders.feed_forward_size(Bare())  # type: ignore[arg-type]


def test_a_folder_of_something_else_is_told(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"no ITER model .*: tried .*, which have no config\.json"):
        IterModel.from_pretrained(tmp_path)
    with pytest.raises(EncoderError, match=r"config\.json: not an ITER configuration: model_type 'bert'"):
        IterModel.from_pretrained(checkpoint("bert"))


def _edit(folder: Path, **values: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **values}))


@pytest.mark.parametrize(("values", "message"), [
    ({"omega": 0}, r"omega 0 is outside \[1, 64\]"),
    ({"omega": "three"}, r"omega three is outside"),
    ({"colour": 1}, r"unknown keys \['colour'\]"),
    ({"schema": {"entity_types": []}}, "at least one entity type"),
    ({"schema": 3}, r"config\.json"),
    ({"encoder": {"hidden_size": 3}}, "encoder.model_type: found None"),
    ({"encoder": 3}, r"config\.json"),
    ({"activation": "swish"}, "activation: expected one of relu, gelu, tanh, found 'swish'"),
])  # fmt: skip
def test_a_config_that_cannot_work_is_told(saved: Path, values: dict[str, object], message: str) -> None:
    _edit(saved, **values)
    with pytest.raises(EncoderError, match=message):
        IterModel.from_pretrained(saved)


@pytest.mark.parametrize("text", ["{", "[]", "3", "null"])
def test_a_config_that_is_no_object_is_told(saved: Path, text: str) -> None:
    (saved / "config.json").write_text(text)
    with pytest.raises(EncoderError, match=r"config\.json"):
        IterModel.from_pretrained(saved)


def test_tensors_that_do_not_fit_are_told(saved: Path) -> None:
    whole = load_file(saved / "model.safetensors")

    def broken(tensors: dict[str, torch.Tensor], message: str) -> None:
        save_file(tensors, saved / "model.safetensors")
        with pytest.raises(EncoderError, match=rf"(?s)model\.safetensors.*{message}"):
            IterModel.from_pretrained(saved)

    broken({k: v for k, v in whole.items() if k != "is_left.w_in.weight"}, "missing .'is_left.w_in.weight'")
    broken({**whole, "extra": torch.zeros(1)}, "unexpected .'extra'")
    broken({**whole, "is_left.w_out.weight": torch.zeros(1, 3)}, "is_left.w_out.weight")
    (saved / "model.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(EncoderError, match=r"model\.safetensors"):
        IterModel.from_pretrained(saved)


def test_a_model_without_tokenizer_says_so() -> None:
    config = tiny_config("bert")
    model = IterModel(IterConfig(schema=SCHEMA, encoder=config.to_dict()), encoders.build_encoder(config))
    with pytest.raises(EncoderError, match="without a tokenizer"):
        model.predict([Example(("a",))])
    assert model(model.collate([(e, 0) for e in encode([Example(("a",))])])).total.isfinite()


def test_a_model_without_tokenizer_is_saved_and_loaded(tmp_path: Path) -> None:
    config = tiny_config("bert")
    IterModel(IterConfig(schema=SCHEMA, encoder=config.to_dict()), encoders.build_encoder(config)).save_pretrained(
        tmp_path
    )
    assert IterModel.from_pretrained(tmp_path).tokenizer is None


def test_windows_past_absolute_positions_are_refused() -> None:
    config = tiny_config("bert")
    options = {"schema": SCHEMA, "encoder": config.to_dict(), "max_subwords": config.max_position_embeddings + 1}
    with pytest.raises(ConfigError, match="exceeds the encoder's limit"):
        IterModel(IterConfig(**options), encoders.build_encoder(config))
    relative = tiny_config("t5")
    model = IterModel(
        IterConfig(**{**options, "encoder": relative.to_dict(), "max_subwords": 4096}), encoders.build_encoder(relative)
    )
    assert model.max_subwords == 4096


def test_many_windows_are_encoded_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("bert").eval()
    at_once = model.predict(TEXTS)
    sizes: list[int] = []
    model.encoder.register_forward_pre_hook(
        lambda module, args, kwargs: sizes.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    monkeypatch.setattr("iter_lightning.model.base._ENCODED_AT_ONCE", {"cpu": 12})
    in_parts = model.predict(TEXTS)
    assert [(p.entities, p.relations) for p in in_parts] == [(p.entities, p.relations) for p in at_once]
    assert len(sizes) > 1


@pytest.mark.parametrize("values", [
    {"omega": 0}, {"dropout": 1.0}, {"link_threshold": -0.1}, {"type_decision": "some"}, {"link_pairs": "none"},
    {"loss_reduction": "mean"}, {"activation": "swish"},
    {"inverse_links": "both"}, {"omega": 1.5}, {"max_subwords": 3}, {"pair_memory_mb": 0}, {"left_width": 0},
    {"window_overlap": -1}, {"self_links": None}, {"self_links": 1}, {"language": "english"}, {"language": 3},
])  # fmt: skip
def test_configs_refuse_what_cannot_work(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        IterConfig(schema=SCHEMA, encoder={}, **values)  # type: ignore[arg-type]


def test_config_round_trip() -> None:
    config = IterConfig(schema=SCHEMA, encoder=tiny_config("t5").to_dict(), omega=3, pair_width=7, link_threshold=0.4)
    assert IterConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    both = replace(config, inverse_links=True)
    assert IterConfig.from_dict(json.loads(json.dumps(both.to_dict()))) == both
    new = replace(config, self_links=False, language="de")
    assert IterConfig.from_dict(json.loads(json.dumps(new.to_dict()))) == new
    later = ("inverse_links", "self_links", "language")
    older = {key: value for key, value in config.to_dict().items() if key not in later}
    assert IterConfig.from_dict(older) == config
    assert IterConfig.from_dict(older).self_links  # as before there was the option

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import PretrainedConfig

from iter_lightning.benchmark.architectures import architecture, architectures, bare_encoder, lengthened
from iter_lightning.benchmark.floor import Floor, attention_of
from iter_lightning.benchmark.subjects import SubjectSpec, label_of, load_subject, samples_of_length, variant
from iter_lightning.errors import ConfigError, CorpusError, EncoderError
from iter_lightning.model.encoder import build_encoder, position_limit
from iter_lightning.types import Example
from tests.builders import TOKENIZERS, random_example, tiny_config, tiny_model

PARAMETERS = {
    "minilm": 22.6, "t5-small": 35.3, "t5-base": 109.6, "t5-large": 334.9, "flan-t5-large": 341.2, "bert-base": 108.9,
    "bert-large": 334.1, "roberta-base": 124.1, "deberta-v3-large": 434.0, "modernbert-base": 149.0,
}  # fmt: skip


def meta(config: PretrainedConfig) -> nn.Module:
    with torch.device("meta"):
        return build_encoder(config)


@pytest.mark.parametrize("name", architectures())
def test_architectures_are_the_real_ones(name: str) -> None:
    """Millions of parameters of the published encoders, without pooler or decoder."""
    count = sum(p.numel() for p in meta(architecture(name)).parameters())
    assert count / 1e6 == pytest.approx(PARAMETERS[name], abs=0.06)


def test_unknown_architecture() -> None:
    with pytest.raises(ConfigError, match="no architecture 't5-tiny': one of minilm, t5-small"):
        architecture("t5-tiny")


@pytest.mark.parametrize("family", ["bert", "roberta", "t5", "deberta_v3"])
def test_a_longer_position_table_repeats_the_encoders_own(family: str) -> None:
    config = tiny_config(family)
    source = build_encoder(config).eval()
    longer = lengthened(config, 700)
    copy = bare_encoder(longer, source)
    assert position_limit(longer) >= 700
    short, long = torch.randint(7, 90, (2, 12)), torch.randint(7, 90, (1, 700))
    with torch.inference_mode():
        assert torch.allclose(copy(short).last_hidden_state, source(short).last_hidden_state, atol=1e-5)
        assert copy(long).last_hidden_state.isfinite().all()


def test_variant_keeps_the_encoder_and_renews_the_heads() -> None:
    model = tiny_model("bert", omega=1)
    changed = variant(model, 600, omega=3, flat=False)
    assert (changed.config.omega, changed.max_subwords, changed.sides) == (3, 600, 2)
    for name, weight in changed.encoder.named_parameters():
        if "position" not in name:
            assert torch.equal(weight, model.encoder.get_parameter(name)), name


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_samples_have_the_length_asked_for(kind: str) -> None:
    family = {"wordpiece": "bert", "byte_level": "roberta", "metaspace": "t5"}[kind]
    model = tiny_model(family)
    examples = [random_example(random.Random(seed), words=40) for seed in range(3)]
    longest = max(len(e) for e in model.aligner().encode([Example((w,)) for x in examples for w in x.words]))
    for length, count in itertools.product((16, 100), (1, 3)):
        samples = samples_of_length(model, examples, length, count)
        lengths = [sum(map(len, encoded.windows)) for encoded in model.aligner().encode(samples)]
        assert len(samples) == count
        assert all(length - longest < n <= length for n in lengths)


def test_floor_runs_every_window_once_sorted() -> None:
    model = tiny_model("bert")
    examples = [random_example(random.Random(seed), words=3 + seed) for seed in range(9)]
    floor = Floor(model, examples, 4)
    assert [len(ids) for ids, _ in floor.batches] == [4, 4, 1]
    assert [int(mask.sum()) for _, mask in floor.batches] == [
        sum(sorted(floor.lengths, reverse=True)[a : a + 4]) for a in (0, 4, 8)
    ]
    assert attention_of(floor.encoder) == "sdpa"
    assert max(ids.numel() for ids, _ in Floor(model, examples, None, 40).batches) <= 40
    floor()


def test_a_run_folder_and_its_model_are_the_same_subject(model_dir: Path) -> None:
    run = load_subject(SubjectSpec("model", str(model_dir), sentences=5))
    exported = load_subject(SubjectSpec("model", str(model_dir / "model"), sentences=5))
    assert run.describe() == exported.describe()
    assert run.describe()["label"] == "mine/seed1"
    assert (run.describe()["sentences"], run.describe()["encoder"], run.trained) == (5, "bert 2 x 32", True)
    bounded = load_subject(SubjectSpec("model", str(model_dir), sentences=5, pair_memory_mb=3))
    assert bounded.describe()["pair_memory_mb"] == 3
    assert torch.equal(bounded.model.is_span.w_out.weight, run.model.is_span.w_out.weight)


def test_labels_hold_no_folders_above_the_run(encoder_dir: Path) -> None:
    assert label_of(SubjectSpec("model", "/a/b/runs/c/seed1/model")) == "c/seed1"
    assert label_of(SubjectSpec("architecture", "t5-small")) == "t5-small, random weights"
    assert label_of(SubjectSpec("encoder", "package:some_package")) == "some_package, untrained heads"
    assert str(encoder_dir) not in label_of(SubjectSpec("encoder", str(encoder_dir)))


@pytest.mark.parametrize(("changes", "error", "said"), [
    ({"kind": "model", "name": "nowhere"}, EncoderError, "no ITER model in nowhere: config.json and model.safetensors"),
    ({"kind": "architecture", "name": "t5"}, ConfigError, "no architecture 't5'"),
    ({"corpus": "conll4"}, ConfigError, "conll4"),
    ({"corpus": "conll04", "data": "nowhere"}, CorpusError, "CoNLL04 is not in nowhere"),
    ({"split": "valid"}, ConfigError, "synthetic has no split 'valid': one of train, dev, test"),
    ({"sentences": 0}, ConfigError, "sentences must be at least 1, found 0"),
    ({"device": "gpu"}, ConfigError, "no device 'gpu'"),
    ({"kind": "model", "left_width": 9}, ConfigError, "a trained model has its own widths"),
])  # fmt: skip
def test_errors(changes: dict[str, object], error: type[Exception], said: str, model_dir: Path) -> None:
    values: dict[str, object] = {"kind": "model", "name": str(model_dir), **changes}
    with pytest.raises(error, match=said):
        load_subject(SubjectSpec(**values))  # type: ignore[arg-type]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu(model_dir: Path) -> None:
    with pytest.raises(ConfigError, match="torch finds no GPU here"):
        load_subject(SubjectSpec("model", str(model_dir), device="cuda"))


@pytest.mark.corpora
def test_a_model_of_other_types(model_dir: Path, corpora_dir: Path) -> None:
    with pytest.raises(ConfigError, match="choose its own corpus with --corpus"):
        load_subject(SubjectSpec("model", str(model_dir), corpus="conll04", data=str(corpora_dir)))

"""What a new model takes from a trained one: everything that fits, and nothing from another encoder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from iter_lightning.errors import ConfigError
from iter_lightning.model.transfer import Transfer, start_from, transferable
from iter_lightning.types import Schema
from tests.builders import FAMILIES, SCHEMA, tiny_model

PEOPLE = Schema(("Person",), ("Kin", "Near"), ("Kin",))


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> set[str]:
    return {name for name in a if a[name].shape == b[name].shape and torch.equal(a[name], b[name])}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_schema_takes_everything(family: str, tmp_path: Path) -> None:
    trained, fresh = tiny_model(family, seed=1), tiny_model(family, seed=2)
    trained.save_pretrained(tmp_path / "model")
    assert same(trained.state_dict(), fresh.state_dict()) != set(trained.state_dict())
    transfer = start_from(fresh, tmp_path)  # a run's folder
    assert same(trained.state_dict(), fresh.state_dict()) == set(trained.state_dict())
    assert not transfer.fresh
    assert fresh.state_dict().keys() >= set(transfer.taken)
    assert str(transfer).endswith("fresh: nothing")


def test_another_schema_takes_the_encoder_and_the_inner_layers(tmp_path: Path) -> None:
    trained, fresh = tiny_model(seed=1), tiny_model(schema=PEOPLE, seed=2)
    before = {name: tensor.clone() for name, tensor in fresh.state_dict().items()}
    trained.save_pretrained(tmp_path)
    transfer = start_from(fresh, tmp_path)
    outputs = {"is_span.w_out.weight", "is_link.w_out.weight"}
    assert set(transfer.fresh) == outputs
    assert same(trained.state_dict(), fresh.state_dict()) == set(before) - outputs
    assert all(torch.equal(fresh.state_dict()[name], before[name]) for name in outputs)
    heads = ["is_left.w_in.weight", "is_left.w_out.weight", "is_span.w_in.weight", "is_link.w_in.weight"]
    encoder = sum(name.startswith("encoder.") for name in before)
    assert transfer.to_dict() == {"encoder_tensors": encoder, "taken": heads, "fresh": sorted(outputs, reverse=True)}


def test_omega_and_missing_relations_leave_is_link_fresh(tmp_path: Path) -> None:
    """Eq. 7 pairs both ends of spans where Eq. 6 pairs last subwords; NER alone has no IsLink (CoNLL03)."""
    tiny_model(schema=Schema(SCHEMA.entity_types)).save_pretrained(tmp_path / "ner")
    tiny_model(omega=2).save_pretrained(tmp_path / "nested")
    assert set(start_from(tiny_model(seed=1), tmp_path / "ner").fresh) == {
        "is_link.w_in.weight",
        "is_link.w_out.weight",
    }
    assert set(start_from(tiny_model(seed=1), tmp_path / "nested").fresh) == {"is_link.w_in.weight"}


@pytest.mark.parametrize("family", ["t5", "roberta"])
def test_another_encoder_is_refused_and_nothing_is_taken(family: str, tmp_path: Path) -> None:
    tiny_model(family, seed=1).save_pretrained(tmp_path)
    fresh = tiny_model(seed=2)
    before = {name: tensor.clone() for name, tensor in fresh.state_dict().items()}
    with pytest.raises(ConfigError, match=r"the encoders differ: encoder\.\S+ is .* there, .* here; set --model.enc"):
        start_from(fresh, tmp_path)
    assert same(before, fresh.state_dict()) == set(before)


def test_another_vocabulary_is_refused(tmp_path: Path) -> None:
    trained = tiny_model()
    trained.save_pretrained(tmp_path)
    file = tmp_path / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["Ada"], vocabulary["the"] = vocabulary["the"], vocabulary["Ada"]
    file.write_text(json.dumps(tokenizer))
    with pytest.raises(ConfigError, match="the vocabularies differ"):
        start_from(tiny_model(), tmp_path)


def test_layers_too_many_or_too_few_are_another_encoder() -> None:
    one = {"encoder.a": torch.zeros(2), "is_left.w": torch.zeros(3)}
    assert transferable(one, {**one, "is_link.w": torch.zeros(1)}) == Transfer(("encoder.a", "is_left.w"), ())
    assert transferable(one, {"encoder.a": torch.ones(2)}) == Transfer(("encoder.a",), ("is_left.w",))
    with pytest.raises(ConfigError, match=r"encoder.b is \[4\] there, missing here"):
        transferable(one, {**one, "encoder.b": torch.zeros(4)})
    with pytest.raises(ConfigError, match=r"encoder.a is missing there, \[2\] here"):
        transferable(one, {"is_left.w": torch.zeros(3)})
    with pytest.raises(ConfigError, match=r"encoder.a is \[3\] there, \[2\] here"):
        transferable(one, {**one, "encoder.a": torch.zeros(3)})


def test_folders_without_a_model(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ConfigError, match=r"init_from .*: no ITER model .*: tried"):
            start_from(tiny_model(), path)
    tiny_model().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(ConfigError, match=r"init_from .*model.safetensors: cannot be read as tensors"):
        start_from(tiny_model(), tmp_path)

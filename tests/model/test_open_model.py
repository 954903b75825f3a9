"""Open models: types by the text of labels, bound to a schema, stored, and started from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from iter_lightning.errors import ConfigError
from iter_lightning.features import Batch
from iter_lightning.model import IterConfig, IterModel
from iter_lightning.model.iter import ModelHeads
from iter_lightning.model.label_layers import LabelLinear, label_vectors
from iter_lightning.model.supervision import gold_lefts
from iter_lightning.model.transfer import required_options, start_from
from iter_lightning.types import Entity, Example, LabelSet, Relation, Schema
from tests.builders import FAMILIES, SCHEMA, tiny_model

WORDS = ("Ada", "works", "for", "the", "Bank", "of", "London", "and", "her", "brother", "lives", "in", "London")


@pytest.fixture(params=["bert", "deberta", "t5"])
def open_model(request: pytest.FixtureRequest) -> IterModel:
    """A small open model with random weights; biases and label weights are not zero."""
    family = next(name for name in FAMILIES if name.startswith(request.param))
    model = tiny_model(family, heads="open", omega=2, self_links=False, seed=3)
    torch.manual_seed(0)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, LabelLinear):
                module.offset.weight.normal_()
                module.column.weight.mul_(20)
    return model.eval()


@pytest.fixture
def batch(open_model: IterModel) -> Batch:
    person, bank, city = Entity(0, 1, "Per"), Entity(4, 7, "Org"), Entity(6, 7, "Loc")
    example = Example(WORDS, (person, bank, city), (Relation(person, bank, "WorkFor"), Relation(bank, city, "LiveIn")))
    (encoded,) = open_model.aligner().encode([example])
    return open_model.collate([(encoded, 0)])


def logits(model: IterModel, batch: Batch) -> list[torch.Tensor]:
    """All logits of a batch, with every position a left."""
    from iter_lightning.model.brackets import span_candidates

    heads = ModelHeads(model, batch, model.encode(batch))
    candidates = span_candidates(torch.ones_like(batch.mask_BN), batch.left_slots_L, batch.right_slots_M, 2)
    slots = batch.left_slots_L[:3]
    pairs = torch.tensor([0, 0, 1]), torch.tensor([1, 2, 0])
    return [heads.typed_left_logits(), heads.span_logits(candidates), heads.link_logits(slots, slots, *pairs)]


@torch.no_grad()
def test_bind_equals_the_open_model_asked_for_the_same_labels(open_model: IterModel, batch: Batch) -> None:
    bound = open_model.bind(SCHEMA)
    open_model.ask(LabelSet.of(SCHEMA))
    for own, found in zip(logits(open_model, batch), logits(bound, batch), strict=True):
        torch.testing.assert_close(own, found)
    assert bound.config.heads == "bound"
    assert bound.config.schema == SCHEMA
    assert bound.encoder is open_model.encoder


@torch.no_grad()
def test_bind_permuted_labels_permutes_columns_only(open_model: IterModel, batch: Batch) -> None:
    turned = Schema(SCHEMA.entity_types[::-1], SCHEMA.relation_types[::-1], SCHEMA.symmetric)
    for a, b in zip(logits(open_model.bind(SCHEMA), batch), logits(open_model.bind(turned), batch), strict=True):
        torch.testing.assert_close(a, b.flip(1))


@torch.no_grad()
@pytest.mark.parametrize("count", [1, 500])
def test_bind_any_number_of_labels_predicts(open_model: IterModel, count: int) -> None:
    schema = Schema(tuple(f"type {n}" for n in range(count)), tuple(f"relation {n}" for n in range(count)))
    (found,) = open_model.bind(schema, nested=True).predict([Example(WORDS)])
    assert {entity.type for entity in found.entities} <= set(schema.entity_types)


@torch.no_grad()
def test_bind_without_relations_has_no_link_head(open_model: IterModel) -> None:
    assert open_model.bind(Schema(("person",))).is_link is None


@torch.no_grad()
def test_bind_texts_replace_names(open_model: IterModel, batch: Batch) -> None:
    other = open_model.bind(Schema(("x", "y")), {"x": "Loc", "y": "Org"})
    torch.testing.assert_close(
        logits(other, batch)[0] if other.is_link else other.is_left(other.encode(batch)[batch.left_slots_L]),
        open_model.bind(Schema(("Loc", "Org"))).is_left(open_model.encode(batch)[batch.left_slots_L]),
    )


def test_bind_fixed_model_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"only an open model.*Loc, Org, Per"):
        tiny_model().bind(SCHEMA)


def test_forward_gradients_reach_the_label_encoder(open_model: IterModel, batch: Batch) -> None:
    labels = LabelSet.of(SCHEMA)
    loss = open_model(replace(batch, labels=labels)).total
    loss.backward()
    for head in (open_model.is_left, open_model.is_span, open_model.is_link):
        assert head is not None
        assert isinstance(head.w_out, LabelLinear)
        assert head.w_out.column.weight.grad is not None
        assert head.w_out.column.weight.grad.abs().sum() > 0
    # only label reading depends on the ids of these labels
    assert open_model.tokenizer is not None
    vectors = label_vectors(open_model.encoder, open_model.tokenizer, labels.entities)
    grad = torch.autograd.grad(vectors.square().sum() + vectors.sum(), next(open_model.encoder.parameters()))[0]
    assert grad.abs().sum() > 0


def test_label_vectors_do_not_depend_on_the_other_labels(open_model: IterModel) -> None:
    assert open_model.tokenizer is not None
    with torch.no_grad():
        together = label_vectors(open_model.encoder, open_model.tokenizer, ("Bank", "the brother of Ada lives", "in"))
        alone = label_vectors(open_model.encoder, open_model.tokenizer, ("Bank",))
    torch.testing.assert_close(together[:1], alone)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(3))


def test_forward_left_loss_equals_a_loop_over_positions_and_types(open_model: IterModel, batch: Batch) -> None:
    batch = replace(batch, labels=LabelSet.of(SCHEMA))
    found = open_model(batch).left
    logits_LT = ModelHeads(open_model, batch, open_model.encode(batch)).typed_left_logits()
    gold = {(0, "Per"), (4, "Org"), (6, "Loc")}  # words at which an entity of the type starts
    expected = 0.0
    for row, slot in enumerate(batch.left_slots_L.tolist()):
        for column, kind in enumerate(SCHEMA.entity_types):
            probability = logits_LT[row, column].sigmoid()
            is_gold = (int(batch.word_BN.flatten()[slot]), kind) in gold
            expected = expected - torch.log(probability if is_gold else 1 - probability)
    torch.testing.assert_close(found, torch.as_tensor(expected))


def test_forward_incomplete_annotation_trains_only_marked_spans(open_model: IterModel, batch: Batch) -> None:
    labels = replace(LabelSet.of(SCHEMA), entities_exhaustive=False, relations_exhaustive=False)
    partial = replace(batch, labels=labels)
    open_model.ask(labels)
    heads = ModelHeads(open_model, partial, open_model.encode(partial))
    logits_LT = heads.typed_left_logits()
    inside = [0, 4, 5, 6]  # the words of gold spans
    words = [int(batch.word_BN.flatten()[slot]) for slot in batch.left_slots_L.tolist()]
    gold = gold_lefts(partial, 3, typed=True)[partial.left_slots_L]
    rows = torch.tensor([word in inside for word in words])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits_LT[rows], gold[rows].float(), reduction="sum"
    )
    torch.testing.assert_close(open_model(partial).left, expected)
    assert open_model(partial).link < open_model(replace(batch, labels=LabelSet.of(SCHEMA))).link  # fewer pairs


def test_forward_predicted_lefts_add_candidates(open_model: IterModel, batch: Batch) -> None:
    batch = replace(batch, labels=LabelSet.of(SCHEMA))
    with torch.no_grad():
        open_model.is_left.w_out.offset.bias.fill_(50.0)  # type: ignore[union-attr]
        plain = open_model(batch)
        open_model.config = replace(open_model.config, predicted_lefts=True)
        more = open_model(batch)
    torch.testing.assert_close(plain.left, more.left)
    assert not torch.equal(plain.span, more.span)


@torch.no_grad()
@pytest.mark.parametrize("compact", [False, True])
def test_save_pretrained_open_model_loads_equal(
    open_model: IterModel, batch: Batch, compact: bool, tmp_path: Path
) -> None:
    open_model.save_pretrained(tmp_path, compact=compact)
    loaded = IterModel.from_pretrained(tmp_path)
    tolerance = {"rtol": 0.2, "atol": 0.3} if compact else {}
    for a, b in zip(logits(open_model.bind(SCHEMA), batch), logits(loaded.bind(SCHEMA), batch), strict=True):
        torch.testing.assert_close(a, b, **tolerance)
    loaded.predict([Example(WORDS)])  # bound to its own schema


@torch.no_grad()
def test_save_pretrained_bound_model_loads_equal(open_model: IterModel, batch: Batch, tmp_path: Path) -> None:
    bound = open_model.bind(SCHEMA)
    bound.save_pretrained(tmp_path)
    for a, b in zip(logits(bound, batch), logits(IterModel.from_pretrained(tmp_path), batch), strict=True):
        torch.testing.assert_close(a, b)


@torch.no_grad()
def test_start_from_open_model_takes_everything(open_model: IterModel, batch: Batch, tmp_path: Path) -> None:
    open_model.save_pretrained(tmp_path)
    options = required_options(tmp_path)
    assert options["heads"] == "bound"
    assert options["omega"] == 2
    config = replace(open_model.config, schema=SCHEMA, **options)
    fresh = IterModel(config, tiny_model("bert", seed=8).encoder, open_model.tokenizer).eval()
    if open_model.config.encoder["model_type"] != "bert":
        return  # the encoders differ, which test_transfer covers
    assert not start_from(fresh, tmp_path).fresh
    for a, b in zip(logits(open_model.bind(SCHEMA), batch), logits(fresh, batch), strict=True):
        torch.testing.assert_close(a, b)


def test_required_options_of_a_fixed_model_are_none(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path)
    assert required_options(tmp_path) == {}


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"heads": "open", "inverse_links": True}, "inverse_links"),
        ({"predicted_lefts": True, "link_pairs": "positions"}, "predicted_lefts"),
        ({"heads": "free"}, "expected one of fixed, bound, open"),
    ],
)
def test_config_contradictory_options_are_refused(options: dict[str, object], part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        IterConfig(SCHEMA, {}, **options)  # type: ignore[arg-type]


@torch.no_grad()
def test_predict_argument_types_are_enforced(open_model: IterModel) -> None:
    every = Schema(("Per", "Org"), ("WorkFor",))
    only = Schema(("Per", "Org"), ("WorkFor",), arguments={"WorkFor": ("Per", "Org")})  # type: ignore[arg-type]
    (free,) = open_model.bind(every).predict([Example(WORDS)], link_threshold=0.0)
    (bounded,) = open_model.bind(only).predict([Example(WORDS)], link_threshold=0.0)
    assert bounded.entities == free.entities
    kept = {r for r in free.relations if (r.head.type, r.tail.type) == ("Per", "Org")}
    assert set(bounded.relations) == kept


@torch.no_grad()
def test_bind_flat_entities_do_not_overlap(open_model: IterModel) -> None:
    (flat,) = open_model.bind(SCHEMA).predict([Example(WORDS)])
    (nested,) = open_model.bind(SCHEMA, nested=True).predict([Example(WORDS)])
    assert all(a.end <= b.start or a.span == b.span for a, b in zip(flat.entities, flat.entities[1:], strict=False))
    assert set(flat.entities) <= set(nested.entities)

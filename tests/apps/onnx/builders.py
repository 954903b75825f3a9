"""Models and sentences for the tests of ONNX exports."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch

from iter_lightning.apps.onnx import OnnxBackend
from iter_lightning.extraction.backends import TorchBackend
from iter_lightning.model import IterConfig, IterModel
from iter_lightning.model import encoder as encoders
from iter_lightning.model.label_layers import LabelLinear
from iter_lightning.types import Example, Prediction, Schema
from tests import builders
from tests.builders import COMMON, SCHEMA, random_example, tiny_model, wordpiece_tokenizer

SENTENCES = [list(COMMON[:n]) for n in (1, 4, 13)]


def spread_model(family: str = "bert", **options: Any) -> IterModel:
    return spread(tiny_model(family, **options))


def spread(model: IterModel) -> IterModel:
    """Move logits away from zero, so that rounding decides nothing."""
    with torch.no_grad():
        for head in (model.is_left, model.is_span, model.is_link):
            if head is not None:
                head.w_out.weight *= 20
    return model


def small_model(seed: int = 0) -> IterModel:
    """Build the model of the fixture `exported`: of one layer, because tracing takes long."""
    torch.manual_seed(seed)
    config = builders.tiny_config("bert")
    config.num_hidden_layers = 1
    options = IterConfig(schema=SCHEMA, encoder=config.to_dict(), omega=3, link_threshold=0.8)
    return spread(IterModel(options, encoders.build_encoder(config), wordpiece_tokenizer()).eval())


def bound_model(schema: Schema) -> IterModel:
    """Build an open model of one layer and bind it; many lefts, spans and links are decided."""
    torch.manual_seed(1)
    config = builders.tiny_config("bert")
    config.num_hidden_layers = 1
    options = IterConfig(schema=SCHEMA, encoder=config.to_dict(), omega=3, heads="open", self_links=False)
    model = IterModel(options, encoders.build_encoder(config), wordpiece_tokenizer()).eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, LabelLinear):
                module.offset.weight.normal_()
                module.column.weight.mul_(30)
    return model.bind(schema)


def sentences(count: int = 40, longest: int = 30) -> list[Example]:
    """Make examples of mixed lengths, one without words."""
    rng = random.Random(0)
    return [Example(()), *(random_example(rng, words=rng.randint(1, longest), id=str(n)) for n in range(count))]


def predictions(
    backend: OnnxBackend | TorchBackend, examples: Sequence[Example], tokens: int = 200
) -> list[Prediction]:
    return list(backend.predict(iter(examples), backend.link_threshold, tokens))

"""The paper's parameter counts, on the meta device: no weights are needed to count them."""

from __future__ import annotations

import pytest
import torch
from transformers import T5Config

from iter_lightning.model import IterConfig, IterModel
from iter_lightning.model.encoder import build_encoder
from iter_lightning.types import Schema

T5_SMALL = T5Config(vocab_size=32128, d_model=512, d_kv=64, d_ff=2048, num_layers=6, num_heads=8)
T5_LARGE = T5Config(vocab_size=32128, d_model=1024, d_kv=64, d_ff=4096, num_layers=24, num_heads=16)
FLAN_T5_LARGE = T5Config(
    vocab_size=32128, d_model=1024, d_kv=64, d_ff=2816, num_layers=24, num_heads=16,
    feed_forward_proj="gated-gelu", tie_word_embeddings=False,
)  # fmt: skip

ENTITIES = ("Loc", "Org", "Other", "Peop")
RELATIONS = ("Kill", "Live_In", "Located_In", "OrgBased_In", "Work_For")


@pytest.mark.parametrize(("encoder", "relations", "millions"), [
    pytest.param(T5_SMALL, (), 45.8, id="T5-small, entities alone: 46 M"),
    pytest.param(T5_SMALL, RELATIONS, 54.2, id="T5-small: 54 M"),
    pytest.param(T5_LARGE, RELATIONS, 410.5, id="T5-large: 410 M"),
    pytest.param(FLAN_T5_LARGE, RELATIONS, 393.2, id="FLAN-T5-large: 393 M"),
    pytest.param(FLAN_T5_LARGE, (), 370.1, id="FLAN-T5-large, entities alone: 370 M"),
])  # fmt: skip
def test_parameter_counts(encoder: T5Config, relations: tuple[str, ...], millions: float) -> None:
    config = IterConfig(schema=Schema(ENTITIES, relations), encoder=encoder.to_dict(), omega=1)
    with torch.device("meta"):
        model = IterModel(config, build_encoder(encoder))
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.05)

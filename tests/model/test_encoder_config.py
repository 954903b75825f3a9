"""What of an encoder's configuration reaches transformers, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from iter_lightning.errors import EncoderError
from iter_lightning.model import encoder as encoders
from iter_lightning.model.encoder_config import architecture_keys, config_from_dict
from iter_lightning.model.families import FAMILIES
from tests.builders import tiny_config

SMALL = {
    **dict.fromkeys(("hidden_size", "d_model"), 32), **dict.fromkeys(("d_kv", "head_dim"), 8),
    **dict.fromkeys(("num_hidden_layers", "encoder_layers", "num_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "encoder_attention_heads", "num_heads", "num_key_value_heads"), 4),
    **dict.fromkeys(("intermediate_size", "d_ff", "encoder_ffn_dim"), 48),
    **dict.fromkeys(("embedding_size", "input_embedding_size"), 16),
    "vocab_size": 200, "pad_token_id": 1, "max_position_embeddings": 100,
}  # fmt: skip


@pytest.mark.parametrize("model_type", sorted(FAMILIES))
def test_every_family_builds_and_reads(model_type: str) -> None:
    values = {key: value for key, value in SMALL.items() if key in architecture_keys(model_type)}
    config = config_from_dict({"model_type": model_type, **values})
    assert config_from_dict(config.to_dict()).to_dict() == config.to_dict()
    ids = torch.arange(2, 10)[None]
    encoder = encoders.build_encoder(config).eval()
    assert encoder(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state.shape == (1, 8, 32)


def test_config_from_dict_with_other_keys_ignores_them() -> None:
    values = tiny_config("bert").to_dict()
    added = {
        "_attn_implementation": "owner/repo", "attn_implementation": "owner/repo", "auto_map": {"AutoModel": "a.B"},
        "quantization_config": {}, "is_decoder": True, "return_dict": False, "dtype": "os",
    }  # fmt: skip
    config: Any = config_from_dict({**values, **added})
    assert config.to_dict() == config_from_dict(values).to_dict()
    assert config._attn_implementation is None
    assert not hasattr(config, "auto_map")


@pytest.mark.parametrize(("values", "message"), [
    ({"num_hidden_layers": 10**7}, "num_hidden_layers: found 10000000, expected 0 to 256"),
    ({"hidden_size": "x"}, "hidden_size: found 'x', expected int"),
    ({"hidden_size": 0}, "hidden_size: found 0, expected at least 1"),
    ({"hidden_size": 30}, "hidden_size: found 30, expected a multiple of the 4 attention heads"),
    ({"hidden_dropout_prob": -1}, "hidden_dropout_prob: found -1, expected 0 to 1"),
    ({"layer_norm_eps": float("nan")}, "layer_norm_eps: found nan, expected a number of at most"),
    ({"pad_token_id": 10**6}, "pad_token_id: found 1000000, expected null or 0 to"),
    ({"hidden_act": [[[[]]]]}, "expected a shorter value"),
    ({"model_type": "yoso"}, "model_type: found 'yoso', expected one of albert"),
])  # fmt: skip
def test_config_from_dict_with_a_wrong_value_raises(values: dict[str, Any], message: str) -> None:
    with pytest.raises(EncoderError, match=rf"transformer_config\..*{message}|transformer_config\.{message}"):
        config_from_dict({**tiny_config("bert").to_dict(), **values}, "transformer_config.")

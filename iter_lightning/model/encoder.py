"""Any Hugging Face encoder stack behind one call: ids and mask in, hidden states out.

Tested: T5 / FLAN-T5 / T5-v1.1, BART, BERT, RoBERTa, ALBERT, DeBERTa(-v2, -v3), ModernBERT. Decoders and pooling
layers are left out. Loading never runs code that comes with a checkpoint.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers import AutoModel, PretrainedConfig

from iter_lightning.model.pretrained import (
    config_from_dict,
    feed_forward_size,
    has_absolute_positions,
    hidden_size,
    load_config,
    load_quietly,
    load_tokenizer,
    position_limit,
    resolve,
)

__all__ = [
    "build_encoder", "config_from_dict", "feed_forward_size", "has_absolute_positions", "hidden_size", "load_config",
    "load_encoder", "load_tokenizer", "position_limit", "resolve", "weights_digest",
]  # fmt: skip


def load_encoder(name: str) -> nn.Module:
    """The pretrained encoder stack in float32 (a checkpoint's own dtype would be kept otherwise)."""
    return _stack(load_quietly(name, _model_class(load_config(name)).from_pretrained, dtype=torch.float32))


def build_encoder(config: PretrainedConfig) -> nn.Module:
    """The encoder stack with random weights in float32, whatever the configuration says of a checkpoint."""
    model_class = _model_class(config)
    build = model_class._from_config if model_class is not AutoModel else AutoModel.from_config
    return _stack(build(config, dtype=torch.float32))


def weights_digest(name: str) -> str | None:
    """SHA-256 over the weight files of an encoder in a folder, the commit of one on the hub; else None.

    Raises:
        EncoderError: the encoder cannot be reached.
    """
    folder = Path(resolve(name))
    if not folder.is_dir():
        commit: str | None = getattr(load_config(name), "_commit_hash", None)
        return commit
    sha = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin")):
        with path.open("rb") as file:
            digest: bytes = hashlib.file_digest(file, "sha256").digest()
            sha.update(digest)
    return sha.hexdigest()


def _model_class(config: PretrainedConfig) -> Any:
    """The class that holds no decoder where the family has one, else AutoModel."""
    names = {"t5": "T5", "mt5": "MT5", "umt5": "UMT5", "longt5": "LongT5"}
    name = names.get(config.model_type)
    return getattr(transformers, f"{name}EncoderModel") if name else AutoModel


def _stack(model: Any) -> nn.Module:
    """The encoder without decoder and pooler, whose parameters no gradient would reach."""
    if model.config.is_encoder_decoder and hasattr(model, "decoder"):
        model = model.get_encoder()
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    stack: nn.Module = model
    return stack

"""Pretrained models by name: their configurations and tokenizers, read without torch."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import Any

import transformers
from safetensors import SafetensorError
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoConfig, AutoTokenizer, PretrainedConfig, PreTrainedTokenizerBase

from iter_lightning.errors import ConfigError, EncoderError
from iter_lightning.features.alignment import Aligner
from iter_lightning.model.config import IterConfig

_UNBOUNDED = 1024
"""Window of encoders with relative positions alone, which set no limit themselves."""


def resolve(name: str) -> str:
    """The folder or hub id behind a name; `package:NAME` is the model folder an installed package carries.

    Raises:
        EncoderError: no such package, or no model in it.
    """
    if not name.startswith("package:"):
        return name
    package = name.removeprefix("package:")
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or spec.origin is None:
        raise EncoderError(
            f"encoder {name!r}: the package {package!r} is not installed (pip install 'iter-lightning[demo]')"
        )
    found = sorted(p.parent for p in Path(spec.origin).parent.rglob("model.safetensors"))
    if not found:
        raise EncoderError(f"encoder {name!r}: the package {package!r} holds no model.safetensors")
    return str(found[0])


def load_config(name: str) -> PretrainedConfig:
    """The configuration of a folder, hub id or `package:NAME`."""
    config: PretrainedConfig = load_quietly(name, AutoConfig.from_pretrained)
    return config


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The fast tokenizer, made to accept pre-split words."""
    tokenizer: Any = load_quietly(name, AutoTokenizer.from_pretrained, use_fast=True, add_prefix_space=True)
    splitter = tokenizer.backend_tokenizer.pre_tokenizer if tokenizer.is_fast else None
    if isinstance(splitter, ByteLevel):
        splitter.add_prefix_space = True  # the option reaches RoBERTa's own class, not the generic one of ModernBERT
        tokenizer.backend_tokenizer.pre_tokenizer = splitter
    checked: PreTrainedTokenizerBase = tokenizer
    return checked


def config_from_dict(values: dict[str, Any]) -> PretrainedConfig:
    """The configuration whose `to_dict()` this is.

    Raises:
        EncoderError: no `model_type`, or one transformers does not know.
    """
    rest = dict(values)
    model_type = rest.pop("model_type", None)
    try:
        return AutoConfig.for_model(model_type, **rest)
    except ValueError as error:
        raise EncoderError(f"encoder model_type {model_type!r} is not one transformers knows") from error


def hidden_size(config: PretrainedConfig) -> int:
    """H, the size of a hidden state."""
    return int(getattr(config, "d_model", None) or config.hidden_size)


def feed_forward_size(config: PretrainedConfig) -> int:
    """d_ff, the inner width of the encoder's own feed-forward layers.

    Raises:
        EncoderError: the configuration names no such width.
    """
    for key in ("d_ff", "encoder_ffn_dim", "intermediate_size"):
        if getattr(config, key, None):
            return int(getattr(config, key))
    raise EncoderError(f"the configuration of {config.model_type} has none of d_ff, encoder_ffn_dim, intermediate_size")


def position_limit(config: PretrainedConfig) -> int:
    """The longest input in subwords, special tokens included."""
    if not has_absolute_positions(config):
        return _UNBOUNDED
    # RoBERTa's positions start after the padding index
    shifted = config.model_type in {"roberta", "xlm-roberta", "camembert", "mpnet"}
    return int(config.max_position_embeddings) - (config.pad_token_id + 1 if shifted else 0)


def has_absolute_positions(config: PretrainedConfig) -> bool:
    """Whether inputs past `position_limit` cannot be read at all, and not just were not trained for."""
    relative = config.model_type in {"t5", "mt5", "umt5", "longt5"} or (
        getattr(config, "relative_attention", False) and not getattr(config, "position_biased_input", True)
    )
    return bool(getattr(config, "max_position_embeddings", None)) and not relative


def longest_window(config: IterConfig) -> int:
    """Subwords of a model's longest window.

    Raises:
        ConfigError: it is set past what the encoder reads.
        EncoderError: the encoder's configuration is none.
    """
    hf_config = config_from_dict(config.encoder)
    limit = position_limit(hf_config)
    if config.max_subwords and config.max_subwords > limit and has_absolute_positions(hf_config):
        raise ConfigError(f"max_subwords {config.max_subwords} is past the encoder's limit of {limit} positions")
    return config.max_subwords or limit


def build_aligner(tokenizer: PreTrainedTokenizerBase, config: IterConfig, max_subwords: int) -> Aligner:
    """The aligner of a model with this tokenizer, its windows `max_subwords` long."""
    overlap = min(config.window_overlap, max(0, max_subwords // 2 - 8))
    return Aligner(tokenizer, config.schema, config.omega, max_subwords, overlap)


def padding_id(tokenizer: PreTrainedTokenizerBase | None) -> int:
    """The token that fills; 0 where the tokenizer names none."""
    pad_id = tokenizer.pad_token_id if tokenizer is not None else None
    return 0 if pad_id is None else int(pad_id)


def load_quietly(name: str, load: Any, **options: Any) -> Any:
    """Call a `from_pretrained`, any failure told in one line."""
    path = resolve(name)
    quiet = transformers.utils.logging.get_verbosity()
    bars = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.set_verbosity(logging.ERROR)
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        return load(path, trust_remote_code=False, **options)
    except (OSError, ValueError, KeyError, TypeError, ImportError, RuntimeError, SafetensorError) as error:
        raise EncoderError(_unreachable(name, error)) from error
    finally:
        transformers.utils.logging.set_verbosity(quiet)
        if bars:
            transformers.utils.logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _unreachable(name: str, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return (
        f"encoder {name!r} cannot be loaded: {reason}\n"
        "  expected: a folder with config.json, model.safetensors and a tokenizer, the id of a model on the hub "
        "(needs a network or a filled cache), or package:NAME of an installed package that carries one"
    )

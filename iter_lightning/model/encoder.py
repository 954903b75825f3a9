"""Any Hugging Face encoder stack behind one call: ids and mask in, hidden states out.

Tested: T5 / FLAN-T5 / T5-v1.1, BART, BERT, RoBERTa, ALBERT, DeBERTa(-v2, -v3), ModernBERT. Decoders and pooling
layers are left out. Loading never runs code that comes with a checkpoint.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers.pre_tokenizers import ByteLevel
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PretrainedConfig, PreTrainedTokenizerBase

from iter_lightning.errors import EncoderError

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
    config: PretrainedConfig = _load(name, AutoConfig.from_pretrained)
    return config


def load_encoder(name: str) -> nn.Module:
    """The pretrained encoder stack in float32 (a checkpoint's own dtype would be kept otherwise)."""
    return _stack(_load(name, _model_class(load_config(name)).from_pretrained, dtype=torch.float32))


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The fast tokenizer, made to accept pre-split words."""
    tokenizer: Any = _load(name, AutoTokenizer.from_pretrained, use_fast=True, add_prefix_space=True)
    splitter = tokenizer.backend_tokenizer.pre_tokenizer if tokenizer.is_fast else None
    if isinstance(splitter, ByteLevel):
        splitter.add_prefix_space = True  # the option reaches RoBERTa's own class, not the generic one of ModernBERT
        tokenizer.backend_tokenizer.pre_tokenizer = splitter
    checked: PreTrainedTokenizerBase = tokenizer
    return checked


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


def _load(name: str, load: Any, **options: Any) -> Any:
    """Call a `from_pretrained`, any failure told in one line."""
    path = resolve(name)
    quiet = transformers.utils.logging.get_verbosity()
    bars = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.set_verbosity(logging.ERROR)
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        return load(path, trust_remote_code=False, **options)
    except (OSError, ValueError, KeyError, TypeError, ImportError, RuntimeError) as error:
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

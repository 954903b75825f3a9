"""The part of an encoder's configuration that is passed to transformers.

A model, including its configuration, is untrusted data. In transformers a configuration can do more than state sizes:
it can name kernels and code to download, a quantization method, or other models to load. Therefore only keys that
describe the architecture are passed on: those that the family's configuration class declares, and a few that it reads
without declaring them. All other keys are ignored. Types and sizes of values are checked.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Mapping
from typing import Any

from transformers import PretrainedConfig

from iter_lightning.errors import EncoderError
from iter_lightning.model.families import FAMILIES

_DENIED = {
    "add_cross_attention", "is_decoder", "use_cache", *inspect.signature(PretrainedConfig).parameters
}  # fmt: skip
"""Declared keys about use, outputs and storage instead of architecture. Defaults apply."""
_SIZES = (
    "d_ff", "d_kv", "d_model", "embedding_size", "encoder_attention_heads", "encoder_ffn_dim", "hidden_size",
    "intermediate_size", "num_attention_heads", "num_heads", "vocab_size",
)  # fmt: skip
_LAYERS = re.compile(r"(.*_)?layers|num_hidden_groups|inner_group_num")
_MOST_LAYERS = 256
"""The largest encoders of these families have 48."""
_LARGEST = 10**7
"""Largest integer; the largest vocabularies of these families have 256,000 entries."""
_LONGEST, _DEEPEST = 1000, 2
"""Most characters of a string or items of a list or object, and most levels of nesting."""


def config_from_dict(values: Mapping[str, Any], at: str = "encoder.") -> PretrainedConfig:
    """Build the configuration of an encoder from the architecture that its dictionary describes.

    Args:
        values: what `PretrainedConfig.to_dict` returns, or a config.json contains. Keys that are not part of
            the architecture are ignored.
        at: prefix of keys in messages: the position of `values` in its file.

    Raises:
        EncoderError: `model_type` is missing or is not one of `FAMILIES`, or a value has a wrong type or size.
    """
    model_type = values.get("model_type")
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise EncoderError(f"{at}model_type: found {cut(model_type)}, expected one of {', '.join(FAMILIES)}")
    config_class = FAMILIES[model_type].configuration
    known = architecture_keys(model_type)
    passed = {key: value for key, value in values.items() if key in known}
    for key, value in passed.items():
        _check_plain(f"{at}{key}", value)
        if "drop" in key and isinstance(value, (int, float)) and not 0 <= value <= 1:
            raise EncoderError(f"{at}{key}: found {cut(value)}, expected 0 to 1")
    for key in _SIZES:
        if (size := passed.get(key)) is not None and isinstance(size, (int, float)) and size < 1:
            raise EncoderError(f"{at}{key}: found {cut(size)}, expected at least 1")
    layers = [key for key in passed if _LAYERS.fullmatch(key) and isinstance(passed[key], int)]
    for key in layers:
        if not 0 <= passed[key] <= _MOST_LAYERS:
            raise EncoderError(f"{at}{key}: found {passed[key]}, expected 0 to {_MOST_LAYERS}")
    try:
        config: PretrainedConfig = config_class(**passed)
    except Exception as error:  # validation errors of transformers have no common class
        raise EncoderError(_validation_fault(error, passed, at)) from error
    _check_together(config, at)
    return config


def architecture_keys(model_type: str) -> set[str]:
    """Return the keys of a family's configuration that are passed on to transformers."""
    family = FAMILIES[model_type]
    config_class = family.configuration
    declared = {*inspect.signature(config_class).parameters, *config_class.attribute_map, *family.config_keys}
    return {key for key in declared - _DENIED if not key.startswith("_")}


def is_fault(error: BaseException) -> bool:
    """Return whether an error comes from a library that read a damaged file, and not from the process.

    Libraries written in Rust raise a `PanicException`, which is not an `Exception`, on unexpected input.
    """
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def reason(error: BaseException) -> str:
    """Return the message of a library's error as one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__


def cut(value: object) -> str:
    """Return a value as shown in messages, shortened."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _check_plain(at: str, value: object, depth: int = 0) -> None:
    """Raise `EncoderError` unless a value is plain, finite and small."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not (math.isfinite(value) and abs(value) <= _LARGEST):
            raise EncoderError(f"{at}: found {cut(value)}, expected a number of at most {_LARGEST:,}")
    elif isinstance(value, (str, list, dict)):
        if len(value) > _LONGEST or (depth == _DEEPEST and not isinstance(value, str)):
            raise EncoderError(f"{at}: found {cut(value)}, expected a shorter value")
        if not isinstance(value, str):
            for key, item in value.items() if isinstance(value, dict) else enumerate(value):
                _check_plain(f"{at}.{cut(key)}", item, depth + 1)


def _check_together(config: Any, at: str) -> None:
    """Check values that depend on each other, which not every family checks itself.

    Raises:
        EncoderError: two values contradict each other.
    """
    heads, size = config.num_attention_heads, config.hidden_size
    for key, value in (("hidden_size", size), ("num_attention_heads", heads), ("vocab_size", config.vocab_size)):
        if not isinstance(value, int):
            raise EncoderError(f"{at}{key}: found {cut(value)}, expected int")
    if size % heads and getattr(config, "head_dim", None) in (None, size // heads):
        raise EncoderError(f"{at}hidden_size: found {size}, expected a multiple of the {heads} attention heads")
    if config.pad_token_id is not None and not 0 <= config.pad_token_id < config.vocab_size:
        raise EncoderError(
            f"{at}pad_token_id: found {config.pad_token_id}, expected null or 0 to {config.vocab_size - 1}"
        )
    groups = getattr(config, "num_hidden_groups", 1) * getattr(config, "inner_group_num", 1)
    if groups > _MOST_LAYERS:
        raise EncoderError(f"{at}inner_group_num: found {groups} layers in all groups, expected at most {_MOST_LAYERS}")


def _validation_fault(error: Exception, passed: Mapping[str, Any], at: str) -> str:
    """Return transformers' message about a value, starting with the key if it names one."""
    text = str(error)
    key = re.search(r"Field '(\w+)'", text)
    if key and (types := dict.fromkeys(re.findall(r"expected (\w+), got", text))):
        return f"{at}{key[1]}: found {cut(passed.get(key[1]))}, expected {' or '.join(types)}"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"{at.rstrip('.') or 'values'}: {lines[-1][:200] if lines else type(error).__name__}"

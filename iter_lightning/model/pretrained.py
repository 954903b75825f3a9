"""Read configurations and tokenizers of pretrained models, without torch."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import Any

import transformers
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoTokenizer, PretrainedConfig, PreTrainedTokenizerBase
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES, get_tokenizer_config

from iter_lightning.errors import ConfigError, EncoderError, IterError
from iter_lightning.features.alignment import Aligner
from iter_lightning.model.config import IterConfig
from iter_lightning.model.encoder_config import config_from_dict, cut, is_fault, reason
from iter_lightning.model.families import FAMILIES, family_of
from iter_lightning.model.stored import check_files, read_json
from iter_lightning.types import Example

PROBE = ("Ada", "of", "a\u0301", "\u2603", "\u5317\u4eac", "don't", "3.14", "Donaudampfschiff") * 2
"""Words that every model reads once when it is loaded, so that unusable files are reported early."""
_UNBOUNDED = 1024
"""Window of encoders with relative positions only, which set no limit themselves."""
_TOKENIZERS = {
    "BartTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "GPT2Tokenizer", "LlamaTokenizer", "MBart50Tokenizer",
    "PreTrainedTokenizer", "TokenizersBackend",
}  # fmt: skip
"""Tokenizer classes that may be loaded besides those of the families, without the suffix Fast."""


def resolve(name: str) -> str:
    """Return the folder or hub id of a name; `package:NAME` is the model folder inside an installed package.

    Raises:
        EncoderError: the package is not installed or contains no model.
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
        raise EncoderError(f"encoder {name!r}: the package {package!r} contains no model.safetensors")
    return str(found[0])


def load_config(name: str) -> PretrainedConfig:
    """Load the configuration of a folder, hub id or `package:NAME`.

    Raises:
        EncoderError: it is missing, or does not describe an encoder; see `encoder_config.config_from_dict`.
    """
    path, values = _read_config(name)
    try:
        config = config_from_dict(values, at="")
    except EncoderError as error:
        raise EncoderError(f"{Path(path) / 'config.json'}: {error}") from error
    config.name_or_path = path
    return config


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Load a fast tokenizer, set up for pre-split words.

    Raises:
        EncoderError: it is missing, a file is damaged, or its class is not allowed.
    """
    config = _tokenizer_config(name)
    tokenizer: Any = load_quietly(
        name, AutoTokenizer.from_pretrained, config=config, use_fast=True, add_prefix_space=True
    )
    splitter = tokenizer.backend_tokenizer.pre_tokenizer if getattr(tokenizer, "is_fast", False) else None
    if isinstance(splitter, ByteLevel):
        splitter.add_prefix_space = True  # the option reaches RoBERTa's own class, not the generic one of ModernBERT
        tokenizer.backend_tokenizer.pre_tokenizer = splitter
    checked: PreTrainedTokenizerBase = tokenizer
    return checked


def _tokenizer_config(name: str) -> PretrainedConfig:
    """Return the configuration by which transformers chooses a tokenizer's class.

    Raises:
        EncoderError: the class is not a tokenizer of an encoder; transformers itself would load any of its classes.
    """
    path, values = _read_config(name)
    known = values.get("model_type") in FAMILIES  # the config.json of an ITER model contains that of its encoder
    config = config_from_dict({"model_type": values["model_type"]}) if known else PretrainedConfig()
    config.name_or_path = path
    file = Path(path) / "tokenizer_config.json"
    own = read_json(file) if file.is_file() else load_quietly(name, _hub_tokenizer_config)
    for source, key in ((values, "config.json"), (own, "tokenizer_config.json")):
        declared = source.get("tokenizer_class")
        if declared is None:
            continue
        allowed = _TOKENIZERS | {TOKENIZER_MAPPING_NAMES.get(family) for family in FAMILIES}
        if not isinstance(declared, str) or declared.removesuffix("Fast") not in allowed:
            raise EncoderError(
                f"{Path(path) / key}: tokenizer_class: found {cut(declared)}, expected a tokenizer of an encoder, such "
                "as PreTrainedTokenizerFast"
            )
        config.tokenizer_class = declared
    return config


def _hub_tokenizer_config(path: str, trust_remote_code: bool) -> dict[str, Any]:
    if Path(path).is_dir():
        return {}
    values: dict[str, Any] = get_tokenizer_config(path)
    return values


def _read_config(name: str) -> tuple[str, dict[str, Any]]:
    """Return the folder or hub id of a name, and its config.json.

    Raises:
        EncoderError: it cannot be found or read.
    """
    path = resolve(name)
    file = Path(path) / "config.json"
    if Path(path).is_dir():
        check_files(Path(path))
        if file.exists():
            return path, read_json(file)
    values, _ = load_quietly(name, PretrainedConfig.get_config_dict)
    if not isinstance(values, dict):
        raise EncoderError(f"{name}: config.json: found {cut(values)}, expected an object")
    return path, values


def hidden_size(config: PretrainedConfig) -> int:
    """Return H, the size of a hidden state."""
    return int(getattr(config, "d_model", None) or config.hidden_size)


def feed_forward_size(config: PretrainedConfig) -> int:
    """Return d_ff, the inner width of the encoder's own feed-forward layers.

    Raises:
        EncoderError: the configuration names no such width.
    """
    for key in ("d_ff", "encoder_ffn_dim", "intermediate_size"):
        if getattr(config, key, None):
            return int(getattr(config, key))
    raise EncoderError(f"the configuration of {config.model_type} has none of d_ff, encoder_ffn_dim, intermediate_size")


def position_limit(config: PretrainedConfig) -> int:
    """Return the longest input in subwords, special tokens included.

    Raises:
        EncoderError: positions are counted from a padding token that is missing.
    """
    if not has_absolute_positions(config):
        return _UNBOUNDED
    shifted = family_of(config).shifted_positions
    if shifted and config.pad_token_id is None:
        raise EncoderError(f"encoder.pad_token_id: found null, from which {config.model_type} counts positions")
    return int(config.max_position_embeddings) - (config.pad_token_id + 1 if shifted else 0)


def has_absolute_positions(config: PretrainedConfig) -> bool:
    """Return whether inputs longer than `position_limit` fail, instead of only being unseen in training."""
    relative = family_of(config).relative_positions or (
        getattr(config, "relative_attention", False) and not getattr(config, "position_biased_input", True)
    )
    return bool(getattr(config, "max_position_embeddings", None)) and not relative


def longest_window(config: IterConfig) -> int:
    """Return the length of a model's longest window, in subwords.

    Raises:
        ConfigError: `max_subwords` exceeds the encoder's limit.
        EncoderError: the encoder's configuration is invalid.
    """
    hf_config = config_from_dict(config.encoder)
    limit = position_limit(hf_config)
    if config.max_subwords and config.max_subwords > limit and has_absolute_positions(hf_config):
        raise ConfigError(f"max_subwords {config.max_subwords} exceeds the encoder's limit of {limit} positions")
    return config.max_subwords or limit


def build_aligner(tokenizer: PreTrainedTokenizerBase, config: IterConfig, max_subwords: int) -> Aligner:
    """Build the aligner of a model with this tokenizer and windows of `max_subwords`."""
    overlap = min(config.window_overlap, max(0, max_subwords // 2 - 8))
    return Aligner(tokenizer, config.schema, config.omega, max_subwords, overlap, config.self_links)


def check_tokenizer(
    tokenizer: PreTrainedTokenizerBase, config: IterConfig, max_subwords: int, place: str | Path
) -> Aligner:
    """Check that the tokenizer reads text and that the encoder has an embedding for every id; return the aligner.

    Args:
        tokenizer: tokenizer of the model.
        config: configuration of the model.
        max_subwords: see `build_aligner`.
        place: file or encoder that errors name.

    Raises:
        EncoderError: a check fails.
    """
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    try:
        aligner = build_aligner(tokenizer, config, max_subwords)
        (encoded,) = aligner.encode([Example(PROBE)])
        ids = {i for window in encoded.windows for i in window.input_ids} | {padding_id(tokenizer)}
        ids.update(backend.get_vocab(with_added_tokens=False).values())
        # special tokens inside a text are read as text
        ids.update(i for i, token in tokenizer.added_tokens_decoder.items() if not token.special)
    except IterError as error:
        raise EncoderError(f"{place}: {error}") from error
    except BaseException as error:  # errors of the tokenizers package have no common class
        if not is_fault(error):
            raise
        raise EncoderError(f"{place}: the tokenizer cannot read text: {reason(error)}") from error
    size = int(config_from_dict(config.encoder).vocab_size)
    if max(ids) >= size:
        raise EncoderError(
            f"{place}: the tokenizer makes ids up to {max(ids)}, but the encoder has embeddings for {size} "
            "(encoder.vocab_size): the files belong to different models"
        )
    return aligner


def padding_id(tokenizer: PreTrainedTokenizerBase | None) -> int:
    """Return the id of the padding token; 0 if the tokenizer has none."""
    pad_id = tokenizer.pad_token_id if tokenizer is not None else None
    return 0 if pad_id is None else int(pad_id)


def read_config(source: Path) -> IterConfig:
    """Read the configuration of an ITER model from its folder.

    Raises:
        EncoderError: it is missing or unreadable, or has a wrong key or value.
    """
    check_files(source)
    path = source / "config.json"
    try:
        config = IterConfig.from_dict(read_json(path))
        longest_window(config)
    except EncoderError as error:
        raise EncoderError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from error
    except (IterError, ValueError, TypeError) as error:
        raise EncoderError(f"{path}: {error}") from error
    return config


def load_quietly(name: str, load: Any, **options: Any) -> Any:
    """Call a `from_pretrained` function; any failure becomes an `EncoderError` with a hint."""
    path = resolve(name)
    quiet = transformers.utils.logging.get_verbosity()
    bars = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.set_verbosity(logging.ERROR)
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        return load(path, trust_remote_code=False, **options)
    except BaseException as error:  # errors for damaged files have no common class
        if not is_fault(error) or isinstance(error, MemoryError):
            raise
        raise EncoderError(_unreachable(name, error)) from error
    finally:
        transformers.utils.logging.set_verbosity(quiet)
        if bars:
            transformers.utils.logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _unreachable(name: str, error: BaseException) -> str:
    return (
        f"encoder {name!r} cannot be loaded: {reason(error)}\n"
        "  expected: a folder with config.json, model.safetensors and a tokenizer, the id of a model on the hub "
        "(needs a network or a filled cache), or package:NAME of an installed package that contains one"
    )

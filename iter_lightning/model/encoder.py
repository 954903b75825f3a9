"""Hugging Face encoders behind one interface: token ids and mask in, hidden states out.

Tested: T5 / FLAN-T5 / T5-v1.1, BART, BERT, RoBERTa, ALBERT, DeBERTa(-v2, -v3), ModernBERT. Decoders and pooling
layers are left out. Loading never runs code from a checkpoint.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers import MODEL_MAPPING, PretrainedConfig
from transformers.utils.hub import cached_file

from iter_lightning.errors import EncoderError
from iter_lightning.model.encoder_config import config_from_dict, reason
from iter_lightning.model.families import family_of
from iter_lightning.model.pretrained import (
    feed_forward_size,
    has_absolute_positions,
    hidden_size,
    load_config,
    load_quietly,
    load_tokenizer,
    position_limit,
    resolve,
)
from iter_lightning.model.stored import WEIGHTS, read_tensors, tensor_files

__all__ = [
    "build_encoder", "config_from_dict", "feed_forward_size", "has_absolute_positions", "hidden_size", "load_config",
    "load_encoder", "load_tokenizer", "planned", "position_limit", "resolve", "weights_digest",
]  # fmt: skip


def load_encoder(name: str) -> nn.Module:
    """Load a pretrained encoder stack, in float32 whatever the type in the checkpoint.

    Files are not read by transformers, which would also follow adapters and other kinds of checkpoints.

    Args:
        name: folder, hub id or `package:NAME`.

    Returns:
        the encoder, in `eval()` mode.

    Raises:
        EncoderError: it is missing, a file is damaged, or weights and configuration do not match.
    """
    config = load_config(name)
    file, tensors = read_tensors(_weights_folder(name))
    _check_size(file, config, tensors)

    def load(path: str, trust_remote_code: bool) -> tuple[Any, dict[str, Any]]:
        found: tuple[Any, dict[str, Any]] = _model_class(config).from_pretrained(
            None, config=config, state_dict=tensors, dtype=torch.float32, output_loading_info=True
        )
        return found

    model, info = load_quietly(name, load)
    stack = _stack(model)
    used = {id(parameter) for parameter in stack.parameters()}
    parameters = dict(model.named_parameters(remove_duplicate=False))
    missing = [key for key in info["missing_keys"] if id(parameters.get(key)) in used]
    if missing:
        raise EncoderError(f"{file}: {sorted(missing)[:3]} missing, which the encoder of config.json has")
    return stack


def build_encoder(config: PretrainedConfig) -> nn.Module:
    """Build an encoder stack with random weights in float32.

    Raises:
        EncoderError: values of the configuration contradict each other.
    """
    config = copy.deepcopy(config)
    for name in ("decoder_layers", "decoder_attention_heads", "decoder_ffn_dim"):
        if hasattr(config, name):
            setattr(config, name, 1)  # a decoder is built and then dropped
    try:
        return _stack(_construct(config))
    except Exception as error:  # transformers raises nearly anything for values that do not fit
        raise EncoderError(f"encoder: transformers cannot build it: {reason(error)}") from error


def planned(build: Callable[[], nn.Module]) -> nn.Module:
    """Build a network without memory for its tensors, to compare their sizes with those of a file."""
    with torch.device("meta"), _NoInitialization():
        return build()


class _NoInitialization(TorchFunctionMode):
    """Skips `torch.nn.init`, and computes ranges on the CPU.

    On the device `meta` both would import torch's compiler or sympy, which takes longer than building the network.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else options["tensor"]
        if func is torch.arange:
            options = {"device": "cpu", **options}
        return func(*args, **options)


def weights_digest(name: str) -> str | None:
    """Return the SHA-256 of an encoder's weight files in a folder, or the commit of one on the hub, or None.

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


def _weights_folder(name: str) -> Path:
    """Return the folder of an encoder's weights; those on the hub are downloaded to the cache.

    Raises:
        EncoderError: there are no weights.
    """
    path = resolve(name)
    if Path(path).is_dir():
        return Path(path)

    def download(path: str, trust_remote_code: bool) -> Path:
        for weights in WEIGHTS:
            found = cached_file(path, weights, _raise_exceptions_for_missing_entries=False)
            if found is None:
                continue
            folder = Path(found).parent
            for shard in tensor_files(folder)[1]:
                cached_file(path, shard.name)
            return folder
        raise EncoderError(f"expected one of the files {', '.join(WEIGHTS)}")

    folder: Path = load_quietly(name, download)
    return folder


def _check_size(file: Path, config: PretrainedConfig, tensors: dict[str, Tensor]) -> None:
    """Check that a file holds about as many numbers as the network needs, before memory is allocated for it.

    Raises:
        EncoderError: the network is more than twice as large: more than a pooler or a decoder is missing.
    """
    try:
        network = planned(lambda: _construct(copy.deepcopy(config)))
    except Exception as error:  # transformers raises nearly anything for values that do not fit
        raise EncoderError(f"{file.parent / 'config.json'}: transformers cannot build it: {reason(error)}") from error
    needed, stored = (sum(t.numel() for t in each) for each in (network.parameters(), tensors.values()))
    if needed > 2 * stored:
        raise EncoderError(f"{file}: found {stored:,} numbers, but the encoder of config.json has {needed:,}")


def _construct(config: PretrainedConfig) -> Any:
    """Construct a family's model in float32, whatever torch's default type is."""
    config.dtype = torch.float32
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        return _model_class(config)(config)
    finally:
        torch.set_default_dtype(usual)


def _model_class(config: PretrainedConfig) -> Any:
    """Return the family's class without a decoder, or the family's model if there is no such class."""
    family = family_of(config)
    if family.encoder_class is not None:
        return getattr(transformers, family.encoder_class)
    return family.model_class or MODEL_MAPPING[type(config)]


def _stack(model: Any) -> nn.Module:
    """Return the encoder without decoder and pooler, whose parameters would not receive gradients."""
    if model.config.is_encoder_decoder and hasattr(model, "decoder"):
        model = model.get_encoder()
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    stack: nn.Module = model
    return stack

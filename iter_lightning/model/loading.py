"""Load models from folders: check files against each other before allocating memory, and try the model afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import torch

from iter_lightning.errors import EncoderError, IterError
from iter_lightning.model import pretrained, stored
from iter_lightning.model.base import IterBase
from iter_lightning.model.config import IterConfig
from iter_lightning.model.encoder import build_encoder, planned
from iter_lightning.model.encoder_config import config_from_dict, reason
from iter_lightning.types import Example, LabelSet

_Model = TypeVar("_Model", bound=IterBase)
_FLOATS = ("F64", "F32", "F16", "BF16")


def load(source: Path, model_class: type[_Model]) -> _Model:
    """Load a folder that `save_pretrained` wrote, in `eval()` mode; nothing in the folder is executed.

    Raises:
        EncoderError: a file is missing or damaged, or files do not match each other.
    """
    missing = [name for name in ("config.json", "model.safetensors") if not (source / name).exists()]
    if missing:
        raise EncoderError(f"no ITER model in {source}: {' and '.join(missing)} missing")
    config = pretrained.read_config(source)
    shapes = stored.tensor_shapes(source / "model.safetensors")
    _check_tensors(source / "model.safetensors", shapes, plan(source, config, model_class))
    model = build(source, config, model_class)
    file, tensors = stored.read_tensors(source)
    try:
        model.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise EncoderError(f"{file} does not fit config.json: {reason(error)}") from error
    if (source / "tokenizer_config.json").exists():  # a model that is only given batches has no tokenizer
        model.tokenizer = pretrained.load_tokenizer(str(source))
    if config.heads == "open":
        with torch.no_grad():
            model.eval().ask(LabelSet.of(config.schema))
    try_out(source, model.eval())
    return model


def plan(source: Path, config: IterConfig, model_class: type[_Model]) -> _Model:
    """Build a model whose tensors have shapes but no memory.

    Raises:
        EncoderError: values of the configuration do not fit each other.
    """
    network = planned(lambda: build(source, config, model_class))
    assert isinstance(network, model_class)
    return network


def build(source: Path, config: IterConfig, model_class: type[_Model]) -> _Model:
    """Build a model with random weights.

    Raises:
        EncoderError: values of the configuration do not fit each other.
    """
    try:
        return model_class(config, build_encoder(config_from_dict(config.encoder)))
    except (IterError, ValueError, TypeError) as error:
        raise EncoderError(f"{source / 'config.json'}: {error}") from error


@torch.no_grad()
def try_out(source: Path | str, model: IterBase) -> None:
    """Read a few words, so that files with matching sizes that do not work together are found on loading.

    Heads are tried in `eval()` mode only: in training their dropout would draw random numbers.

    Raises:
        EncoderError: the tokenizer or the network fails.
    """
    try:
        if model.tokenizer is None:
            ids = torch.ones(1, min(16, model.max_subwords), dtype=torch.long)
            model.encoder(input_ids=ids, attention_mask=torch.ones_like(ids))
            return
        aligner = pretrained.check_tokenizer(model.tokenizer, model.config, model.max_subwords, source)
        (encoded,) = aligner.encode([Example(pretrained.PROBE)])
        batch = model.collate([(encoded, number) for number in range(len(encoded.windows))])
        if model.training:
            model.encode(batch)
        else:
            model.decode(batch, 1.0)  # no link is that probable, so none is built
    except IterError as error:
        raise EncoderError(str(error) if str(source) in str(error) else f"{source}: {error}") from error
    except Exception as error:  # torch and transformers raise many kinds of errors for wrong values
        raise EncoderError(f"{source}: the model cannot read text: {type(error).__name__}: {reason(error)}") from error


def _check_tensors(file: Path, stored: dict[str, tuple[str, list[int]]], model: IterBase) -> None:
    """Compare names, types and shapes of stored tensors with those of a model.

    Raises:
        EncoderError: they differ; names the first differences.
    """
    own = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    alive = {name for name, _ in model.named_parameters()}  # tied tensors are stored once
    missing, unexpected = sorted(alive - set(stored)), sorted(set(stored) - set(own))
    if missing or unexpected:
        raise EncoderError(f"{file} does not fit config.json: missing {missing[:3]}, unexpected {unexpected[:3]}")
    for name, (kind, shape) in stored.items():
        if shape != own[name]:
            raise EncoderError(f"{file} does not fit config.json: {name}: found {shape}, expected {own[name]}")
        if name in alive and kind not in _FLOATS:
            raise EncoderError(f"{file}: {name}: found {kind}, expected one of {', '.join(_FLOATS)}")

"""Initialize a new model from a model that was trained on another corpus (Appendix E).

The whole encoder is copied. Each tensor of the heads is copied if name and shape match, even if its rows stand for
other types. The rest keeps its random initialization: output layers with another number of types, and IsLink's inner
layer if omega is 1 in one model and greater in the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from iter_lightning.errors import ConfigError, EncoderError
from iter_lightning.model.encoder import load_tokenizer
from iter_lightning.model.iter import IterModel
from iter_lightning.model.names import resolve_model
from iter_lightning.model.pretrained import read_config
from iter_lightning.model.stored import check_files, read_json, read_tensors

ENCODER = "encoder."


@dataclass(frozen=True)
class Transfer:
    """Names of a model's tensors, in its order: copied ones and newly initialized ones."""

    taken: tuple[str, ...]
    """Tensors that are copied."""
    fresh: tuple[str, ...]
    """Tensors that keep their random initialization."""

    def to_dict(self) -> dict[str, int | list[str]]:
        """Return a summary for a manifest: the number of the encoder's tensors, and the names of the heads'."""
        heads = [name for name in self.taken if not name.startswith(ENCODER)]
        return {"encoder_tensors": len(self.taken) - len(heads), "taken": heads, "fresh": list(self.fresh)}

    def __str__(self) -> str:
        heads = [name for name in self.taken if not name.startswith(ENCODER)]
        return f"taken: the encoder, {', '.join(heads) or 'no head'}; fresh: {', '.join(self.fresh) or 'nothing'}"


def transferable(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> Transfer:
    """Return which tensors of a new model can be copied from a trained one.

    Args:
        own: tensors of the new model, without second names of tied ones.
        given: tensors of the trained model.

    Raises:
        ConfigError: the encoders differ; names a tensor that is missing or has another shape.
    """
    for name in sorted({*own, *given}):
        mine, other = (list(side[name].shape) if name in side else None for side in (own, given))
        if name.startswith(ENCODER) and mine != other:
            raise ConfigError(f"the encoders differ: {name} is {other or 'missing'} there, {mine or 'missing'} here")
    taken = tuple(name for name in own if name in given and own[name].shape == given[name].shape)
    return Transfer(taken, tuple(name for name in own if name not in taken))


def required_options(path: str | Path) -> dict[str, Any]:
    """Return the options that a model must have to start from an open model: its bound heads, and their sizes.

    Args:
        path: name of the trained model.

    Returns:
        options of `IterConfig`; none if the trained model is not open.

    Raises:
        ConfigError: `path` contains no model.
    """
    try:
        folder = resolve_model(path)
        if read_json(folder / "config.json").get("heads") != "open":
            return {}
        config = read_config(folder)
    except EncoderError as error:
        raise ConfigError(f"init_from {path}: {error}") from error
    names = ("omega", "activation", "left_width", "pair_width", "link_threshold", "max_subwords", "predicted_lefts")
    return {"heads": "bound", **{name: getattr(config, name) for name in names}}


def start_from(model: IterModel, path: str | Path, texts: Mapping[str, str] | None = None) -> Transfer:
    """Copy the weights of a run or an exported model into `model`, as far as they match.

    An open model is bound to the types of `model` first, so that all weights match.

    Args:
        model: a newly built model; it is changed in place.
        path: name of the trained model; see `names.resolve_model`.
        texts: for an open model, what to read instead of the name of a type.

    Returns:
        the names of copied and of newly initialized tensors.

    Raises:
        ConfigError: `path` contains no model, or one that cannot be read or has another encoder or vocabulary.
    """
    try:
        folder = resolve_model(path)
        check_files(folder)
        _, given = read_tensors(folder)
        if model.config.heads == "bound" and any(name.startswith("is_left.w_out.column") for name in given):
            given = IterModel.from_pretrained(folder).bind(model.config.schema, texts).state_dict()
    except EncoderError as error:
        raise ConfigError(f"init_from {path}: {error}") from error
    tied = _tied(model)
    own = {name: tensor for name, tensor in model.state_dict().items() if name not in tied}
    try:
        transfer = transferable(own, {name: tensor for name, tensor in given.items() if name not in tied})
    except ConfigError as error:
        raise ConfigError(
            f"init_from {path}: {error}; set --model.encoder to the encoder that it was trained from"
        ) from error
    if not _same_vocabulary(model, folder):
        raise ConfigError(
            f"init_from {path}: the vocabularies differ; set --model.encoder to the encoder that it was trained from"
        )
    with torch.no_grad():
        for name in transfer.taken:
            own[name].copy_(given[name])
    return transfer


def _tied(model: IterModel) -> set[str]:
    """Return the second names of tied parameters."""
    first = {name for name, _ in model.named_parameters()}
    return {name for name, _ in model.named_parameters(remove_duplicate=False)} - first


def _same_vocabulary(model: IterModel, folder: Path) -> bool:
    """Compare vocabularies, which may differ despite equal shapes; true if one model has no tokenizer."""
    if model.tokenizer is None or not (folder / "tokenizer_config.json").is_file():
        return True
    return load_tokenizer(str(folder)).get_vocab() == model.tokenizer.get_vocab()

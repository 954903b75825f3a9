"""A new model that starts from a trained one of another corpus (Appendix E).

The encoder is taken whole. Of the heads every tensor of equal name and shape is taken, whatever the types are called
that its rows stand for; the others stay as they were drawn: output layers of another number of types, and IsLink's
inner layer between omega 1 and more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from iter_lightning.errors import ConfigError, EncoderError
from iter_lightning.model.encoder import load_tokenizer
from iter_lightning.model.hub import check_files, read_tensors
from iter_lightning.model.iter import IterModel

ENCODER = "encoder."


@dataclass(frozen=True)
class Transfer:
    """Names of a model's tensors, in its order: those it takes and those that stay fresh."""

    taken: tuple[str, ...]
    fresh: tuple[str, ...]

    def to_dict(self) -> dict[str, int | list[str]]:
        """For a manifest: the encoder's tensors are counted, the heads' named."""
        heads = [name for name in self.taken if not name.startswith(ENCODER)]
        return {"encoder_tensors": len(self.taken) - len(heads), "taken": heads, "fresh": list(self.fresh)}

    def __str__(self) -> str:
        heads = [name for name in self.taken if not name.startswith(ENCODER)]
        return f"taken: the encoder, {', '.join(heads) or 'no head'}; fresh: {', '.join(self.fresh) or 'nothing'}"


def transferable(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> Transfer:
    """Which tensors of a model (`own`, tied ones once) a trained one can give.

    Raises:
        ConfigError: the encoders differ: naming a tensor that only one has, or that has another shape.
    """
    for name in sorted({*own, *given}):
        mine, other = (list(side[name].shape) if name in side else None for side in (own, given))
        if name.startswith(ENCODER) and mine != other:
            raise ConfigError(f"another encoder: {name} is {other or 'missing'} there, {mine or 'missing'} here")
    taken = tuple(name for name in own if name in given and own[name].shape == given[name].shape)
    return Transfer(taken, tuple(name for name in own if name not in taken))


def model_folder(path: str | Path) -> Path:
    """The exported model that `path` is, or that the run folder `path` holds.

    Raises:
        ConfigError: neither, with what was expected.
    """
    for folder in (Path(path) / "model", Path(path)):
        if all((folder / name).is_file() for name in ("config.json", "model.safetensors")):
            return folder
    raise ConfigError(
        f"init_from {path}: no model there; expected the folder of a run of `fit` (with model/ in it), or an exported "
        "model's folder with config.json and model.safetensors"
    )


def start_from(model: IterModel, path: str | Path) -> Transfer:
    """Give `model` the weights of a run or an exported model, as far as they fit.

    Raises:
        ConfigError: no model in `path`, one that cannot be read, or one with another encoder or vocabulary.
    """
    folder = model_folder(path)
    try:
        check_files(folder)
        _, given = read_tensors(folder)
    except EncoderError as error:
        raise ConfigError(f"init_from {path}: {error}") from error
    tied = _tied(model)
    own = {name: tensor for name, tensor in model.state_dict().items() if name not in tied}
    try:
        transfer = transferable(own, {name: tensor for name, tensor in given.items() if name not in tied})
    except ConfigError as error:
        raise ConfigError(f"init_from {path}: {error}; give the --model.encoder that it was trained from") from error
    if not _same_vocabulary(model, folder):
        raise ConfigError(f"init_from {path}: another vocabulary; give the --model.encoder that it was trained from")
    with torch.no_grad():
        for name in transfer.taken:
            own[name].copy_(given[name])
    return transfer


def _tied(model: IterModel) -> set[str]:
    """Second names of tied parameters."""
    first = {name for name, _ in model.named_parameters()}
    return {name for name, _ in model.named_parameters(remove_duplicate=False)} - first


def _same_vocabulary(model: IterModel, folder: Path) -> bool:
    """Equal shapes do not say so; where one has no tokenizer, nothing else does."""
    if model.tokenizer is None or not (folder / "tokenizer_config.json").is_file():
        return True
    return load_tokenizer(str(folder)).get_vocab() == model.tokenizer.get_vocab()

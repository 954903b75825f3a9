"""Encoders of real architectures with random weights, and copies of encoders that read longer inputs."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import torch
import yaml
from torch import Tensor, nn
from transformers import PretrainedConfig

from iter_lightning.errors import ConfigError
from iter_lightning.model import encoder as encoders


@cache
def architectures() -> dict[str, dict[str, Any]]:
    """The configurations of `architectures.yaml` by name; shared between callers: not to be changed."""
    text = files("iter_lightning.benchmark").joinpath("architectures.yaml").read_text(encoding="utf-8")
    content: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return content


def architecture(name: str) -> PretrainedConfig:
    """The Hugging Face configuration of an architecture.

    Raises:
        ConfigError: an unknown name, told with those that are known.
    """
    if name not in architectures():
        raise ConfigError(f"no architecture {name!r}: one of {', '.join(architectures())}")
    return encoders.config_from_dict(architectures()[name])


def lengthened(config: PretrainedConfig, subwords: int | None) -> PretrainedConfig:
    """The same configuration for inputs of at least `subwords`: a longer position table where there is one."""
    copy: Any = encoders.config_from_dict(config.to_dict())
    if subwords and encoders.has_absolute_positions(copy):
        copy.max_position_embeddings += max(0, subwords - encoders.position_limit(copy))
    result: PretrainedConfig = copy
    return result


def bare_encoder(config: PretrainedConfig, source: nn.Module) -> nn.Module:
    """A stack as transformers builds it with the weights of `source`, shared where shapes agree, in `eval()` mode.

    Rows of a table that is longer than the source's are the source's again, from the first.
    """
    encoder = encoders.build_encoder(config)
    wanted = encoder.state_dict()
    given = {name: _fitted(tensor, wanted[name]) for name, tensor in source.state_dict().items()}
    encoder.load_state_dict(given, assign=True)
    return encoder.eval()


def _fitted(tensor: Tensor, like: Tensor) -> Tensor:
    if tensor.shape == like.shape:
        return tensor.detach()
    return tensor.detach()[torch.arange(len(like), device=tensor.device) % len(tensor)]

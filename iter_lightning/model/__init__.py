"""The network and its decoding."""

from iter_lightning.model.iter import IterConfig, IterModel

__all__ = ["IterConfig", "IterModel"]

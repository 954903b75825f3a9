"""The network and its decoding."""

from iter_lightning.model.config import IterConfig
from iter_lightning.model.iter import IterModel

__all__ = ["IterConfig", "IterModel"]

"""The network and its decoding: `IterConfig` and `IterModel`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iter_lightning.model.config import IterConfig
    from iter_lightning.model.iter import IterModel

__all__ = ["IterConfig", "IterModel"]


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that `IterConfig` does not import torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"iter_lightning.model.{'config' if name == 'IterConfig' else 'iter'}"), name)

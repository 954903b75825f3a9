"""The network and its decoding: `IterConfig` and `IterModel`; and the families of encoders."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iter_lightning.model.config import IterConfig
    from iter_lightning.model.families import EncoderFamily, register_encoder
    from iter_lightning.model.iter import IterModel

__all__ = ["EncoderFamily", "IterConfig", "IterModel", "register_encoder"]
_MODULES = {"IterConfig": "config", "IterModel": "iter"}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that `IterConfig` does not import torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"iter_lightning.model.{_MODULES.get(name, 'families')}"), name)

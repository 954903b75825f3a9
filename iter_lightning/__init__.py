"""Extract entities and relations from text with one pass of a transformer encoder (ITER).

The names below are loaded when they are first used, so that importing the package does not import torch.

Example:
    >>> import iter_lightning
    >>> iter_lightning.Entity(0, 2, "Peop").span
    (0, 2)
"""

from importlib import import_module
from typing import Any

__all__ = [
    "Document", "Entity", "Example", "Extractor", "IterConfig", "IterModel", "Prediction", "Relation", "Schema",
]  # fmt: skip
_MODULES = {
    "IterConfig": "model", "IterModel": "model", "Extractor": "extraction.extractor", "Document": "extraction.documents"
}  # fmt: skip
"""The module of each name, below the package; `types` holds the others."""


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that the command line starts without torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"iter_lightning.{_MODULES.get(name, 'types')}"), name)

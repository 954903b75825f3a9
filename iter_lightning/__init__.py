"""ITER: entities and relations from one pass of a transformer encoder."""

from importlib import import_module
from typing import Any

__all__ = [
    "Document", "Entity", "Example", "Extractor", "IterConfig", "IterModel", "Prediction", "Relation", "Schema",
]  # fmt: skip
_HOME = {
    "IterConfig": "model", "IterModel": "model", "Extractor": "extraction.extractor", "Document": "extraction.documents"
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Load what is asked for when it is asked for: the command line starts without torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"iter_lightning.{_HOME.get(name, 'types')}"), name)

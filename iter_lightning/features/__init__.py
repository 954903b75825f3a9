"""Convert examples to tensors: alignment of words and subwords, windows over long texts, and batches."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from iter_lightning.features.alignment import Aligner, EncodedExample, Features
from iter_lightning.features.augmentation import swap_mentions

if TYPE_CHECKING:
    from iter_lightning.features.batching import Batch, LengthBatchSampler, collate

__all__ = ["Aligner", "Batch", "EncodedExample", "Features", "LengthBatchSampler", "collate", "swap_mentions"]


def __getattr__(name: str) -> Any:
    """Import names that need torch on first use, so that alignment works without torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("iter_lightning.features.batching"), name)

"""Examples into tensors: alignment of words and subwords, windows, batches."""

from iter_lightning.features.alignment import Aligner, EncodedExample, Features
from iter_lightning.features.augmentation import swap_mentions
from iter_lightning.features.batching import Batch, LengthBatchSampler, collate

__all__ = ["Aligner", "Batch", "EncodedExample", "Features", "LengthBatchSampler", "collate", "swap_mentions"]

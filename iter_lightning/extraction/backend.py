"""The interface of what computes predictions for `Extractor`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from iter_lightning.types import Example, Prediction, Schema


class Backend(Protocol):
    """Compute predictions; implemented by `TorchBackend` and `onnx.OnnxBackend`."""

    @property
    def schema(self) -> Schema:
        """Return the types of the model."""

    @property
    def link_threshold(self) -> float:
        """Return the link threshold (lambda) that is stored in the model."""

    @property
    def kernels(self) -> str:
        """Return a one-line description of the kernels in use, for reports."""

    def predict(self, examples: Iterable[Example], link_threshold: float, max_tokens: int) -> Iterator[Prediction]:
        """Yield one prediction per example, in order. Relations have a score above the threshold."""

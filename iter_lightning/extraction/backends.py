"""What computes predictions for an `Extractor`: torch, or ONNX Runtime."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.labels import Labels
from iter_lightning.types import Example, Prediction, Schema

if TYPE_CHECKING:
    from iter_lightning.model.inference import InferenceOptions
    from iter_lightning.model.iter import IterModel

BackendName = Literal["torch", "onnx"]
BACKENDS: tuple[BackendName, ...] = get_args(BackendName)


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

    @property
    def open(self) -> bool:
        """Return whether `bind` can choose other types."""

    def predict(self, examples: Iterable[Example], link_threshold: float, max_tokens: int) -> Iterator[Prediction]:
        """Yield one prediction per example, in order. Relations have a score above the threshold."""

    def bind(self, labels: Labels) -> Backend:
        """Return a backend that predicts other types.

        Raises:
            ConfigError: If the types of the model are fixed.
        """


@dataclass(frozen=True)
class TorchBackend:
    """Run an `IterModel` on its device, after `model.inference.prepare`."""

    model: IterModel
    kernels: str = "torch"

    @property
    def schema(self) -> Schema:
        """Return the types of the model."""
        return self.model.config.schema

    @property
    def link_threshold(self) -> float:
        """Return the link threshold (lambda) that is stored in the model."""
        return self.model.config.link_threshold

    @property
    def open(self) -> bool:
        """Return whether the types of the model can be chosen."""
        return self.model.config.heads == "open"

    @classmethod
    def load(cls, folder: Path, device: str | None, options: InferenceOptions | None) -> TorchBackend:
        """Load a model onto a device and optimize it for inference.

        Args:
            folder: Model folder.
            device: Device in torch's notation. None means a GPU if one is available, else the CPU.
            options: Precision and compilation.

        Raises:
            ConfigError: If torch or the device is missing, or if the device does not support the precision efficiently.
        """
        check_torch()
        import torch

        from iter_lightning.model import IterModel
        from iter_lightning.model.inference import InferenceOptions, prepare
        from iter_lightning.model.kernels import check_precision, describe

        options = options or InferenceOptions()
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            place = torch.device(device)
            torch.empty(1, device=place)
        except (RuntimeError, AssertionError) as error:  # torch raises these if the device does not exist
            raise ConfigError(f"device {device!r}: {str(error).splitlines()[0]}") from error
        check_precision(options.precision, place, options.allow_slow)
        model = prepare(IterModel.from_pretrained(folder).to(place), options)
        return cls(model, describe(options.precision, place, options.compile))

    def predict(self, examples: Iterable[Example], link_threshold: float, max_tokens: int) -> Iterator[Prediction]:
        """Yield predictions; see `Backend.predict`."""
        from iter_lightning.model.pipeline import stream

        return stream(self.model, examples, None, link_threshold=link_threshold, max_tokens=max_tokens)

    def bind(self, labels: Labels) -> TorchBackend:
        """Choose the types of an open model; see `IterModel.bind`."""
        return replace(self, model=self.model.bind(labels.schema, dict(labels.texts), labels.nested))


def onnx_backend() -> Any:
    """Return the class `OnnxBackend`: a plug-in of a level above this one, found by its name."""
    return pkgutil.resolve_name("iter_lightning.apps.onnx:OnnxBackend")


def check_torch() -> None:
    """Raise `ConfigError` if torch is not installed."""
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError(
            "the torch backend needs torch; --backend onnx runs models written by `export --onnx` without it"
        ) from error

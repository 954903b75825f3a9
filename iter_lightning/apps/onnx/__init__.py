"""A trained model without torch: graphs of its network for onnxruntime, everything else in numpy."""

from iter_lightning.apps.onnx.backend import OnnxBackend

__all__ = ["OnnxBackend"]

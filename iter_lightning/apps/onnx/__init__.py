"""Inference with exported ONNX graphs, which `export.export_onnx` writes; it needs onnxruntime but not torch."""

from iter_lightning.apps.onnx.backend import OnnxBackend

__all__ = ["OnnxBackend"]

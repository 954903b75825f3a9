"""Throughput, memory and cost against the bare encoder: `python -m iter_lightning benchmark`."""

from iter_lightning.benchmark.timing import Measured, measure

__all__ = ["Measured", "measure"]

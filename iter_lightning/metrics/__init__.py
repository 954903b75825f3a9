"""Scores of predictions against gold: one engine, named definitions."""

from iter_lightning.metrics.extraction import ExtractionMetric
from iter_lightning.metrics.functional import EvaluationDefinition
from iter_lightning.metrics.table import format_table

__all__ = ["EvaluationDefinition", "ExtractionMetric", "format_table"]

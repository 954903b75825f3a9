"""Scores of predictions against gold: one engine, named definitions."""

from iter_lightning.metrics.extraction import ExtractionMetric
from iter_lightning.metrics.functional import EvaluationDefinition, count_entities, count_relations, scores
from iter_lightning.metrics.table import format_table

__all__ = ["EvaluationDefinition", "ExtractionMetric", "count_entities", "count_relations", "format_table", "scores"]

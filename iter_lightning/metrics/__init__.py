"""Score predictions against gold annotation, under explicitly named definitions."""

from iter_lightning.metrics.analysis import LINK_THRESHOLDS, best_threshold, confusion, link_curve
from iter_lightning.metrics.extraction import ExtractionMetric
from iter_lightning.metrics.functional import EvaluationDefinition, count_entities, count_relations, scores
from iter_lightning.metrics.table import format_table

__all__ = [
    "LINK_THRESHOLDS", "EvaluationDefinition", "ExtractionMetric", "best_threshold", "confusion", "count_entities",
    "count_relations", "format_table", "link_curve", "scores",
]  # fmt: skip

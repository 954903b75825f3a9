from __future__ import annotations

import numpy as np
import pytest

from iter_lightning.cancellation import Cancelled, cancel_when
from iter_lightning.model.conversion import Spans, most_probable
from iter_lightning.types import Example, WindowLimits
from tests.builders import tiny_model

WORDS = ("Ada", "lives", "in", "London", "and", "works", "for", "the", "Bank", "of", "London")


def test_most_probable_spans_of_each_row_are_kept_in_their_order() -> None:
    scores_E = np.array([0.5, 0.9, 0.7, 0.2, 0.3, 0.1])
    row_E = np.array([0, 0, 0, 1, 2, 2])
    spans = Spans(row_E, np.arange(6), np.arange(6), scores_E[:, None] > 0, scores_E[:, None])
    kept, rows = most_probable(spans, 2)
    assert (kept.left_slot_E.tolist(), rows) == ([1, 2, 3, 4, 5], {0})
    assert most_probable(spans, 3) == (spans, frozenset()) == most_probable(spans, None)


def test_limits_of_a_window_keep_the_most_probable_and_report_truncation() -> None:
    model = tiny_model("bert", omega=3)
    examples = [Example(WORDS), Example(("Ada",))]
    (full, other), threshold = model.predict(examples, link_threshold=0.0), 0.0
    assert len(full.entities) > 3
    assert not full.truncated
    model.limits = WindowLimits(entities=3, relations=2)
    limited, same = model.predict(examples, link_threshold=threshold)
    assert limited.truncated
    assert len({entity.span for entity in limited.entities}) <= 3
    assert len(limited.relations) <= 2
    assert set(limited.entities) < set(full.entities)
    assert min(limited.entity_scores) >= sorted(full.entity_scores)[-3 * len(model.config.schema.entity_types)]
    assert same.entities == other.entities
    model.limits = WindowLimits(entities=1000, relations=100_000)
    assert model.predict(examples, link_threshold=0.0) == [full, other]


def test_cancelled_prediction_stops_between_batches() -> None:
    model = tiny_model("bert", omega=3)
    asked: list[int] = []
    with pytest.raises(Cancelled), cancel_when(lambda: bool(asked.append(1)) or len(asked) > 3):
        model.predict([Example(WORDS)] * 40, batch_size=1)
    assert len(asked) == 4

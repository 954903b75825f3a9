"""Restrict the gold annotation of a batch to the labels that an open model is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from iter_lightning.features.batching import Batch
from iter_lightning.types import LabelSet


def restrict(batch: Batch, entity_types: Sequence[int], relation_types: Sequence[int], labels: LabelSet) -> Batch:
    """Keep the gold annotation of some types, as if no others existed.

    Args:
        batch: A batch on the CPU, with the gold annotation of a corpus.
        entity_types: Index in the corpus of each kept entity type, in the order of their new indices. Labels after
            these have no gold.
        relation_types: The same for relation types. Relations of removed entities are removed.
        labels: The labels of the new batch.

    Returns:
        The batch with new gold and `labels`.
    """
    type_S, span_S = _renumbered(batch.gold_types_T2[:, 1], entity_types), batch.gold_types_T2[:, 0]
    span_S, type_S = span_S[type_S >= 0], type_S[type_S >= 0]
    kept_S = torch.zeros(len(batch.gold_spans_S3), dtype=torch.bool)
    kept_S[span_S] = True
    number_S = kept_S.cumsum(0) - 1
    spans_S3 = batch.gold_spans_S3[kept_S]
    head_K, tail_K, kind_K = batch.gold_links_K3.unbind(dim=1)
    kind_K = _renumbered(kind_K, relation_types)
    linked_K = (kind_K >= 0) & kept_S[head_K] & kept_S[tail_K]
    lefts = spans_S3[:, 0] * batch.input_ids_BN.shape[1] + spans_S3[:, 1]
    return replace(
        batch,
        gold_left_slots_G=torch.unique(lefts),
        gold_spans_S3=spans_S3,
        gold_types_T2=torch.stack([number_S[span_S], type_S], dim=1),
        gold_links_K3=torch.stack([number_S[head_K], number_S[tail_K], kind_K], dim=1)[linked_K],
        labels=labels,
    )


def _renumbered(types: torch.Tensor, kept: Sequence[int]) -> torch.Tensor:
    """Return the new index of each type, -1 for types that are not kept."""
    size = int(max([*kept, *types.tolist()], default=-1)) + 1
    table = torch.full((size,), -1, dtype=torch.long)
    table[torch.tensor(list(kept), dtype=torch.long)] = torch.arange(len(kept))
    return table[types]

"""What the gold annotation of a batch says about lefts and pairs, and what it leaves open.

S slots, L eligible lefts, P pairs of gold spans, R relation types, T entity types.
"""

from __future__ import annotations

import torch
from torch import Tensor

from iter_lightning.features.batching import Batch


def gold_lefts(batch: Batch, columns: int, typed: bool) -> Tensor:
    """Return the gold lefts of all slots, bool [S, columns].

    Args:
        batch: the batch.
        columns: 1, or T if IsLeft scores each type.
        typed: whether column t is about lefts of type t.
    """
    gold = torch.zeros(batch.input_ids_BN.numel(), columns, dtype=torch.bool, device=batch.input_ids_BN.device)
    if not typed:
        gold[batch.gold_left_slots_G] = True
        return gold
    row_S, left_S, _ = batch.gold_spans_S3.unbind(dim=1)
    span_T, type_T = batch.gold_types_T2.unbind(dim=1)
    gold[(row_S * batch.input_ids_BN.shape[1] + left_S)[span_T], type_T] = True
    return gold


def known_lefts(batch: Batch) -> Tensor | slice:
    """Return the eligible lefts that are known: all, or without complete annotation those inside gold spans, bool [L].

    A word inside a marked span that does not start one is taken for a true negative.
    """
    if batch.labels is None or batch.labels.entities_exhaustive:
        return slice(None)
    row_S, left_S, right_S = batch.gold_spans_S3.unbind(dim=1)
    length = batch.input_ids_BN.shape[1]

    # Add 1 where a span begins and subtract 1 after its end; the running sum counts the spans around a slot.
    change = torch.zeros(batch.input_ids_BN.numel() + 1, device=row_S.device)
    ones = torch.ones(len(row_S), device=row_S.device)
    change.index_add_(0, row_S * length + left_S, ones).index_add_(0, row_S * length + right_S + 1, -ones)
    return (change.cumsum(0) > 0.5)[batch.left_slots_L]


def known_pairs(head_P: Tensor, tail_P: Tensor, gold_PR: Tensor, spans: int) -> Tensor:
    """Return the pairs with a gold link in either direction, bool [P].

    Args:
        head_P: head of each pair.
        tail_P: tail of each pair.
        gold_PR: the gold links.
        spans: number of gold spans.
    """
    linked_P = gold_PR.any(dim=1)
    known = torch.zeros(spans, spans, dtype=torch.bool, device=head_P.device)
    known[head_P[linked_P], tail_P[linked_P]] = True
    return (known | known.t())[head_P, tail_P]

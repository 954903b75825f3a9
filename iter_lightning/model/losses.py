"""The training losses, Eq. 9 to 13.

L eligible lefts, C span candidates, T entity types, P pairs, R relation types. Every loss is a sum, as printed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class IterLoss:
    """The three losses of a batch, scalars; `total` is their sum (Eq. 9)."""

    left: Tensor
    span: Tensor
    link: Tensor

    @property
    def total(self) -> Tensor:
        """Return the sum of the three losses (Eq. 9)."""
        return self.left + self.span + self.link

    def scaled(self, factor: float) -> IterLoss:
        """Return all three losses multiplied by `factor`."""
        return IterLoss(self.left * factor, self.span * factor, self.link * factor)


def left_loss(logits_L: Tensor, is_left_L: Tensor) -> Tensor:
    """Compute Eq. 10: the sum of binary cross-entropies over eligible positions.

    Args:
        logits_L: IsLeft's logits.
        is_left_L: bool, the gold lefts.

    Returns:
        a scalar.
    """
    return F.binary_cross_entropy_with_logits(logits_L, is_left_L.to(logits_L.dtype), reduction="sum")


def span_loss(logits_CT: Tensor, gold_CT: Tensor, valid_C: Tensor) -> Tensor:
    """Compute Eq. 11 and 12: the log-sum-exp over all types and "none" minus that over the gold types, summed.

    Args:
        logits_CT: one logit per type for each candidate pair.
        gold_CT: bool, the gold types; a row without a gold type means "none" (logit 0).
        valid_C: bool, False for rows to ignore.

    Returns:
        a scalar.
    """
    everything_C = torch.logaddexp(logits_CT.logsumexp(dim=1), logits_CT.new_zeros(()))
    gold_C = logits_CT.masked_fill(~gold_CT, -torch.inf).logsumexp(dim=1)
    gold_C = torch.where(gold_CT.any(dim=1), gold_C, 0.0)
    return torch.where(valid_C, everything_C - gold_C, 0.0).sum()


def link_loss(logits_PR: Tensor, gold_PR: Tensor) -> Tensor:
    """Compute Eq. 13: the sum of binary cross-entropies over pairs and relation types.

    Args:
        logits_PR: IsLink's logits.
        gold_PR: bool, the gold relations.

    Returns:
        a scalar.
    """
    return F.binary_cross_entropy_with_logits(logits_PR, gold_PR.to(logits_PR.dtype), reduction="sum")

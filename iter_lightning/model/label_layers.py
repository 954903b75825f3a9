"""Output layers that are generated from the text of labels, so that an open model has no types of its own.

T labels, N subwords of a label, H hidden, F inner width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from iter_lightning.model import packing

_LONGEST = 48
"""Subwords of a label that are read, special tokens included."""


class LabelLinear(nn.Module):
    """A linear layer whose weights are a function of label vectors: `W_o[:, t] = P e_t` and `b_t = q e_t`.

    `generate` computes the weights; assigned to `weight` and `bias`, they replace those of the labels before. P and q
    have biases, which every label shares.

    Args:
        hidden: size H of a label vector.
        width: size F of the layer's input.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.column = nn.Linear(hidden, width)
        self.offset = nn.Linear(hidden, 1)
        # label vectors have length 1, so these weights give W_o the scale of a new linear layer
        nn.init.uniform_(self.column.weight, -(width**-0.5), width**-0.5)
        nn.init.zeros_(self.column.bias)
        nn.init.zeros_(self.offset.weight)
        nn.init.zeros_(self.offset.bias)
        self.register_buffer("weight", torch.zeros(1, width), persistent=False)
        self.register_buffer("bias", torch.zeros(1), persistent=False)

    def generate(self, vectors_TH: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights [T, F] and biases [T] of labels."""
        return self.column(vectors_TH), self.offset(vectors_TH).squeeze(1)

    def forward(self, x_XF: Tensor) -> Tensor:
        """Compute logits [X, T]."""
        return F.linear(x_XF, self.weight, self.bias)


def label_vectors(encoder: nn.Module, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> Tensor:
    """Read labels with an encoder: the mean over the hidden states of all subwords, scaled to length 1.

    Args:
        encoder: a Hugging Face encoder after `packing.enable`.
        tokenizer: its tokenizer.
        texts: text of each label.

    Returns:
        [T, H].
    """
    tokens = tokenizer(list(texts), truncation=True, max_length=_LONGEST, padding=True, return_tensors="pt")
    device = next(encoder.parameters()).device
    ids_TN, mask_TN, lengths = tokens["input_ids"].to(device), tokens["attention_mask"], tokens["attention_mask"].sum(1)

    # Labels differ much in length, so padding is left out if the encoder can.
    strategy = packing.packing_strategy(encoder, device)
    if strategy is None:
        hidden_TNH = encoder(input_ids=ids_TN, attention_mask=mask_TN.to(device)).last_hidden_state
        hidden_FH = hidden_TNH[mask_TN.bool().to(device)]
    else:
        hidden_FH = packing.encode_packed(encoder, strategy, ids_TN, lengths.tolist())
    label_F = torch.arange(len(lengths)).repeat_interleave(lengths).to(device)
    sum_TH = hidden_FH.new_zeros(len(lengths), hidden_FH.shape[1]).index_add(0, label_F, hidden_FH)
    return F.normalize(sum_TH, dim=1)
